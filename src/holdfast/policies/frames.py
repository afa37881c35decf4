"""Exceptions without the frames they hold.

A traceback keeps every frame it passed through alive, and each frame its
buffers. While something else is tried in place of what failed, that memory is
missing, and most of all after a failure for want of memory. So the frames go
first, and where the error came from stays as a text.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from holdfast.errors import FallbackChainExhaustedError


def origin(error: BaseException) -> str:
    """Where an error was raised, as `file.py:12 in fetch`; empty if nobody can tell."""
    trace = error.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    # pathlib would be imported for this alone, at a tenth of the price of the whole package.
    file = code.co_filename.rpartition(os.sep)[2]
    return f"{file}:{trace.tb_lineno} in {code.co_name}"


def release(error: BaseException) -> None:
    """Let go of the frames of an error, of its causes, and of the errors inside it."""
    todo, seen = [error], set[int]()
    while todo:
        found = todo.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        # As Python itself does it: some exceptions refuse to have an attribute set.
        BaseException.with_traceback(found, None)
        todo += [behind for behind in (found.__cause__, found.__context__) if behind is not None]
        if isinstance(found, BaseExceptionGroup):
            todo += found.exceptions
        elif isinstance(found, FallbackChainExhaustedError):
            todo += found.errors.values()


def note(error: BaseException, mark: str, text: str) -> None:
    """Leave a note on an error, in place of an earlier one with the same mark."""
    write_notes(error, mark, [f"{mark}{text}"])


def write_notes(error: BaseException, mark: str, lines: list[str]) -> None:
    """Leave notes on an error in place of those that begin with a mark.

    The same object may be raised many times; its notes must not pile up.
    """
    notes = left_on(error, "__notes__")
    kept = [n for n in notes if not str(n).startswith(mark)] if isinstance(notes, list) else []
    leave_on(error, "__notes__", [*kept, *lines])


def leave_on(error: BaseException, name: str, value: object) -> None:
    """Leave something on an error, if it takes it: some take nothing, and raise what they like."""
    with suppress(Exception):
        setattr(error, name, value)


def left_on(error: BaseException, name: str, otherwise: Any = None) -> Any:
    """What was left on an error, whatever its own code does when it is asked."""
    try:
        return getattr(error, name, otherwise)
    except Exception:  # noqa: BLE001  # a stranger's __getattr__
        return otherwise
