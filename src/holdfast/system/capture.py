"""Makes plain data of an exception while it is there: what it was, and what it means.

- Nothing of the exception, its frames or its arguments stays alive in it.
- Secrets are taken out before anything is kept, and what cannot be printed is replaced.
- Frames of Holdfast itself are left out: they say nothing about the error.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from holdfast.error_info import ErrorInfo
from holdfast.ports import ambient
from holdfast.scrub import scrub, scrub_data
from holdfast.system.classification import classify
from holdfast.text import printable

LONGEST_MESSAGE = 2_000
"""Characters kept of a message: its beginning and its end."""
LONGEST_TRACEBACK = 8_000
"""Characters kept of a traceback: its end, where the error is."""
FRAMES = 5
"""Frames kept."""
DEEPEST = 200
"""Frames looked at."""


def capture(
    error: BaseException,
    *,
    dependency: str = "",
    operation: str = "",
    context: Mapping[str, Any] | None = None,
) -> ErrorInfo:
    """An error as plain data, classified.

    Args:
        error: the exception.
        dependency: what was called.
        operation: the function that was called.
        context: whatever else helps to understand it; secrets in it are taken out.
    """
    told = classify(error)
    return ErrorInfo(
        timestamp=datetime.fromtimestamp(ambient.wall(), UTC),
        error_type=type(error).__name__,
        error_message=_message(error),
        category=told.category,
        severity=told.severity,
        traceback=_traceback(error),
        context=None if context is None else scrub_data(dict(context)),
        transient=told.transient,
        suggested_recovery=told.suggested_recovery,
        dependency=dependency,
        operation=operation,
        frames=frames_of(error),
        reason=told.reason,
    )


def frames_of(error: BaseException) -> tuple[str, ...]:
    """Where an error was raised, as ``module:function``, the innermost first."""
    trace = error.__traceback__
    found: list[str] = []
    for _ in range(DEEPEST):
        if trace is None:
            break
        frame = trace.tb_frame
        module = str(frame.f_globals.get("__name__", "?"))
        if not _is_ours(module):
            found.append(f"{module}:{frame.f_code.co_name}")
        trace = trace.tb_next
    # Frames on this list would keep the failed call alive.
    del trace
    return tuple(reversed(found[-FRAMES:]))


def name_of(fn: Any) -> str:
    """A name for a function, bound method, partial or callable object."""
    inner = fn
    while hasattr(inner, "func"):
        inner = inner.func
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    return _shown(str(name)[-400:])


@functools.lru_cache(maxsize=1_000)
def _shown(name: str) -> str:
    return printable(name.rpartition("<locals>.")[2])[:200]


def _is_ours(module: str) -> bool:
    return module == "holdfast" or module.startswith("holdfast.")


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # a broken __str__ of a stranger's exception
        return "(its message cannot be read)"
    if len(text) <= 2 * LONGEST_MESSAGE:
        return _cut(scrub(printable(text)))
    # Cut before it is scrubbed, so that a message of megabytes costs little; and so far from what
    # is kept that no half of a secret is.
    head = scrub(printable(text[: 2 * LONGEST_MESSAGE]))
    tail = scrub(printable(text[-2 * LONGEST_MESSAGE :]))
    return _cut(f"{head}{tail}")


def _traceback(error: BaseException) -> str | None:
    if error.__traceback__ is None:
        return None
    try:
        lines = traceback.format_exception(type(error), error, error.__traceback__, limit=-20)
    except Exception:  # noqa: BLE001  # what a stranger's exception does when it is printed
        return None
    told = printable("".join(lines)[-2 * LONGEST_TRACEBACK :])
    return scrub(told)[-LONGEST_TRACEBACK:]


def _cut(text: str) -> str:
    if len(text) <= LONGEST_MESSAGE:
        return text
    half = LONGEST_MESSAGE // 2 - 3
    return f"{text[:half]} ... {text[-half:]}"
