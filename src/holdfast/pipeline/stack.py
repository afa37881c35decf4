"""What sync calls on the hot path are doing, read from the stack.

A sync call on the hot path leaves no mark anywhere, because any mark would cost
as much as all the rest of it. It need not: whatever runs inside it runs on top
of its frame. So a retry that is about to repeat something looks down the stack
of its thread, and a pipeline that is being closed looks at those of all threads.
Both are rare.

A thread to which such a call hands a copy of its context is not on its stack: unless
there is a time limit, whose scope is in the context, a retry in there does not fold
during the first attempt.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

hot_paths: set[CodeType] = set()
"""The code of hot paths. Each has the locals `governs`, set while its first attempt runs and true
if a retry governs it, and `call`, set when it has handed over to the flows; and `rest`."""


def _protecting(frame: FrameType | None) -> Iterator[dict[str, Any]]:
    """The variables of every hot path below that protects a first attempt, from the top down."""
    try:
        while frame is not None:
            if frame.f_code in hot_paths:
                told = frame.f_locals
                if "governs" in told and "call" not in told:
                    yield told
                del told
            frame = frame.f_back
    finally:
        # A frame that holds itself lives until the cyclic collector comes.
        del frame


def governed() -> bool:
    """Whether a hot path with a retry is below on this thread's stack."""
    return any(told["governs"] for told in _protecting(sys._getframe(1)))  # noqa: SLF001


def calls_of(inflight: object) -> int:
    """How many sync calls on hot paths that belong to ``inflight`` run now, in all threads."""
    frames = sys._current_frames()  # noqa: SLF001  # documented, for debuggers and for us
    return sum(
        told["rest"].inflight is inflight
        for frame in frames.values()
        for told in _protecting(frame)
    )
