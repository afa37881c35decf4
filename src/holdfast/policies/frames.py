"""Exceptions without the frames they hold.

A traceback keeps every frame it passed through alive, and each frame its
buffers. While something else is tried in place of what failed, that memory is
missing, and most of all after a failure for want of memory. So the frames go
first, and where the error came from stays as a text.
"""

from __future__ import annotations

import os

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
        found.__traceback__ = None
        todo += [behind for behind in (found.__cause__, found.__context__) if behind is not None]
        if isinstance(found, BaseExceptionGroup):
            todo += found.exceptions
        elif isinstance(found, FallbackChainExhaustedError):
            todo += found.errors.values()


def note(error: BaseException, mark: str, text: str) -> None:
    """Leave a note on an error, in place of an earlier one with the same mark."""
    try:
        # The same object may be raised many times; its notes must not pile up.
        kept = [n for n in getattr(error, "__notes__", ()) if not n.startswith(mark)]
        error.__notes__ = [*kept, f"{mark}{text}"]
    except (AttributeError, TypeError):
        pass  # some exceptions take no attributes
