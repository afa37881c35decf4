"""Whether a retry further out governs what runs here, read from the stack.

A sync call on the hot path leaves no mark in the context, which would cost as
much as all the rest of it. It need not: whatever runs inside it runs on top of
its frame. So a retry that is about to repeat something looks down the stack,
which happens only after a failure.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType

hot_paths: set[CodeType] = set()
"""The code of hot paths; each has a local `governs`, true while it protects a first attempt."""


def governed() -> bool:
    """Whether a hot path with a retry is below on this thread's stack."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # documented, and in every Python that has frames
    try:
        while frame is not None:
            if frame.f_code in hot_paths and frame.f_locals.get("governs"):
                return True
            frame = frame.f_back
        return False
    finally:
        # A frame that holds itself lives until the cyclic collector comes.
        del frame
