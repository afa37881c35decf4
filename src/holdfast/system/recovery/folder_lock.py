"""A lock file that keeps other threads and processes out, and that a killed process lets go of.

The system holds the lock and not the file's existence: nothing has to be cleaned up after
``kill -9``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _take(handle: int, *, wait: bool) -> None:
        msvcrt.locking(handle, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)

    def _drop(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _take(handle: int, *, wait: bool) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _drop(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock at ``path`` during the block; False if somebody else does.

    Args:
        path: the lock file; made if need be, and left there.
        wait: until it is free. If not, the block runs without it, and is told so.
    """
    # Each opening is a lock of its own, so threads of one process keep each other out, too.
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        try:
            _take(handle, wait=wait)
        except OSError:
            if wait:
                raise
            yield False
            return
        try:
            yield True
        finally:
            _drop(handle)
    finally:
        os.close(handle)
