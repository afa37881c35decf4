"""How much memory this process holds, and how to give back what it does not need."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_STATM = Path("/proc/self/statm")


def resident_bytes() -> int | None:
    """Bytes of main memory the process holds now; None where nobody can tell."""
    if sys.platform == "win32":
        return _working_set()
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return _asked_ps()


def _asked_ps() -> int | None:
    """Neither macOS nor the BSDs have /proc, and getrusage knows only the highest it ever was."""
    try:
        told = subprocess.run(  # noqa: S603  # nothing in it comes from outside
            ["/bin/ps", "-o", "rss=", "-p", str(os.getpid())],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
        return int(told.stdout) * 1024
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _working_set() -> int | None:
    class Counters(ctypes.Structure):
        _fields_ = (
            ("size", ctypes.c_uint32),
            ("faults", ctypes.c_uint32),
            *((name, ctypes.c_size_t) for name in ("peak", "now", "a", "b", "c", "d", "e", "f")),
        )

    libraries: Any = getattr(ctypes, "windll", None)
    if libraries is None:
        return None
    counters = Counters()
    counters.size = ctypes.sizeof(counters)
    process = libraries.kernel32.GetCurrentProcess
    process.restype = ctypes.c_void_p
    ask = libraries.psapi.GetProcessMemoryInfo
    ask.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32)
    if not ask(process(), ctypes.byref(counters), counters.size):
        return None
    return int(counters.now)


@functools.cache
def _malloc_trim() -> Any:
    """The C library's function, if it is glibc's."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    trim.argtypes, trim.restype = (ctypes.c_size_t,), ctypes.c_int
    return trim


def give_back() -> tuple[int, bool]:
    """Collect garbage and return free memory to the system.

    Returns:
        How many unreachable objects there were, and whether the allocator returned anything.
    """
    found = gc.collect()
    trim = _malloc_trim()
    return found, trim is not None and trim(0) == 1
