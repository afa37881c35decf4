"""How scarce memory is, as Linux tells it: for the machine, and for the container we are in.

- `/proc/meminfo` (Linux 3.14 or newer): what could be given without swapping.
- Control groups, version 2: of our group and all above it, the one nearest to its limit. Page
  cache that has not been used lately counts as free, because the kernel takes it first.
- Pressure stall information (Linux 4.20): the share of the last 10 seconds in which some task
  stood still for want of memory.

Where none of these can be read, as on Windows and macOS, the answer is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class MemoryPressure:
    """How scarce memory is."""

    used: float
    """The share that is in use, from 0 to 1, where it is scarcest."""
    stalled: float | None
    """The share of the last 10 seconds in which some task waited for memory, from 0 to 1; None
    where the kernel does not tell."""
    where: str
    """`machine`, or the control group whose limit is nearest."""


def memory_pressure(root: Path = Path("/")) -> MemoryPressure | None:
    """How scarce memory is now, or None where nobody tells.

    Args:
        root: where `proc` and `sys` are looked for.
    """
    found: list[tuple[float, str]] = []
    machine = _machine(root / "proc/meminfo")
    if machine is not None:
        found.append((machine, "machine"))
    stalled = [_stalled(root / "proc/pressure/memory")]
    for group, folder in _groups(root):
        used = _group(folder)
        if used is not None:
            found.append((used, group))
        stalled.append(_stalled(folder / "memory.pressure"))
    if not found:
        return None
    used, where = max(found, key=lambda each: each[0])
    return MemoryPressure(used, max((s for s in stalled if s is not None), default=None), where)


def _machine(path: Path) -> float | None:
    kilobytes: dict[str, int] = {}
    for line in _read(path).splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()
        if number and number[0].isdecimal():
            kilobytes[name] = int(number[0])
    total, available = kilobytes.get("MemTotal", 0), kilobytes.get("MemAvailable")
    return None if available is None else _share(total - available, total)


def _groups(root: Path) -> list[tuple[str, Path]]:
    """Our control group and those above it, the innermost first."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        if line.startswith("0::/"):
            group = PurePosixPath(line[3:].strip())
            # A process outside our namespace's root is shown with dots; that leads nowhere here.
            if ".." not in group.parts:
                mounted = root / "sys/fs/cgroup"
                each = (group, *group.parents)
                return [(str(one), mounted / one.relative_to("/")) for one in each]
    return []


def _group(folder: Path) -> float | None:
    now, limit = _read(folder / "memory.current").strip(), _read(folder / "memory.max").strip()
    if not now.isdecimal() or not limit.isdecimal():
        return None
    idle = 0
    for line in _read(folder / "memory.stat").splitlines():
        name, _, number = line.partition(" ")
        if name == "inactive_file" and number.isdecimal():
            idle = int(number)
    return _share(int(now) - idle, int(limit))


def _stalled(path: Path) -> float | None:
    for line in _read(path).splitlines():
        if line.startswith("some "):
            for field in line.split():
                name, _, number = field.partition("=")
                if name == "avg10":
                    try:
                        return min(max(float(number) / 100, 0.0), 1.0)
                    except ValueError:
                        return None
    return None


def _share(part: int, whole: int) -> float | None:
    return min(max(part / whole, 0.0), 1.0) if whole > 0 else None


def _read(path: Path) -> str:
    """The beginning of a small text file; nothing if it cannot be read."""
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            return file.read(1 << 16)
    except OSError:
        return ""
