"""The script of a server's misfortunes: what happens at this point?

Pure: no clock, no chance, no I/O. Whoever runs a server describes where it is
(`Point`) and is told which faults strike there; the script counts how often
each has struck and keeps a record.

- A fault strikes at most once a job, however many nodes the job has; files
  and requests count one by one.
- Counts of jobs and posts are the script's own, so they outlive a restart.
- Safe to use from any thread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase

from holdfast.comfyui.standin.faults import Fault, Fired

HEAVY = ("Sampler", "VAEDecode", "VAEEncode")
"""Node classes that run out of memory when a fault names no class."""


@dataclass(frozen=True, slots=True)
class Point:
    """Where a server is."""

    place: str
    """``request``, ``node``, ``step``, ``before_save``, ``after_save`` or ``clock``."""
    now: float
    """Seconds since the first start."""
    job: int = 0
    """The n-th job; 0 outside of jobs."""
    post: int = 0
    """The n-th ``POST /prompt``; 0 at anything else."""
    node: str = ""
    """Class of the running node."""
    step: int = 0
    """Steps it has reported."""
    pixels: int = 0
    """How much it works on."""
    path: str = ""
    """Of a request, without ``/api``."""
    file: str = ""
    """Name of the file being saved."""

    def words(self) -> str:
        """Where this is, in words."""
        parts = [f"request {self.path}"] if self.place == "request" else []
        parts += [f"post {self.post}"] if self.post else []
        parts += [f"job {self.job}"] if self.job else []
        parts += [f"node {self.node}"] if self.node else []
        parts += [f"step {self.step}"] if self.step else []
        parts += [f"file {self.file}"] if self.file else []
        return ", ".join(parts) or f"{self.now:.1f} s after the start"


class FaultScript:
    """A list of faults, and what has come of them so far."""

    def __init__(self, faults: tuple[Fault, ...] = ()) -> None:
        self.faults = faults
        self.posts = 0
        self.jobs = 0
        self._left = [fault.limit or None for fault in faults]
        self._last_job = [0] * len(faults)
        self._noted: set[int] = set()
        self._fired: list[Fired] = []
        self._lock = threading.Lock()

    @property
    def fired(self) -> tuple[Fired, ...]:
        """What has happened so far, in order."""
        with self._lock:
            return tuple(self._fired)

    def next_post(self) -> int:
        """Count a ``POST /prompt``; the first is 1."""
        with self._lock:
            self.posts += 1
            return self.posts

    def next_job(self) -> int:
        """Count a job that starts; the first is 1."""
        with self._lock:
            self.jobs += 1
            return self.jobs

    def happens(self, point: Point) -> tuple[Fault, ...]:
        """Return the faults that strike at ``point``, and count them as struck."""
        if not self.faults:
            return ()
        with self._lock:
            struck = []
            for index, fault in enumerate(self.faults):
                left = self._left[index]
                if left == 0 or not _strikes(fault, point):
                    continue
                if point.place in {"node", "step"}:
                    if self._last_job[index] == point.job:
                        continue
                    self._last_job[index] = point.job
                self._left[index] = None if left is None else left - 1
                self._fired.append(Fired(point.now, fault.kind, point.words()))
                struck.append(fault)
            return tuple(struck)

    def standing(self, kind: str, now: float) -> frozenset[str]:
        """Return the models or node classes that a standing fault concerns just now."""
        if not self.faults:
            return frozenset()
        with self._lock:
            names = set()
            for index, fault in enumerate(self.faults):
                if fault.kind != kind or not self._stands(fault, now):
                    continue
                name = fault.node if kind == "missing_node" else fault.model
                names.add(name or "")
                if index not in self._noted:
                    self._noted.add(index)
                    self._fired.append(Fired(now, kind, name or ""))
            return frozenset(names)

    def alarm(self) -> tuple[float, ...]:
        """Return the moments, in seconds since the start, at which the clock should ask."""
        return tuple(sorted(fault.after or 0.0 for fault in self.faults if fault.place == "clock"))

    def weighs_pixels(self) -> bool:
        """Say whether any fault asks how much a node works on."""
        return any(fault.above is not None for fault in self.faults)

    def _stands(self, fault: Fault, now: float) -> bool:
        if fault.after is not None and now < fault.after:
            return False
        for first, count in ((fault.post, self.posts), (fault.job, self.jobs)):
            if first is None:
                continue
            if count < first or (fault.limit and count >= first + fault.limit):
                return False
        return True


def _strikes(fault: Fault, point: Point) -> bool:
    return (
        fault.place == point.place
        and point.job >= (fault.job or 0)
        and point.now >= (fault.after or 0.0)
        and point.step >= (fault.step or 0)
        and fault.node in {None, point.node}
        and (point.place != "request" or _strikes_request(fault, point))
        and (fault.kind != "out_of_memory" or _strikes_memory(fault, point))
    )


def _strikes_request(fault: Fault, point: Point) -> bool:
    if fault.path is not None and not fnmatchcase(point.path, fault.path):
        return False
    if fault.post is not None:
        return point.post >= fault.post
    return point.post > 0 or fault.kind != "lost_response" or fault.path is not None


def _strikes_memory(fault: Fault, point: Point) -> bool:
    if fault.above is not None and point.pixels <= fault.above:
        return False
    return fault.node is not None or any(part in point.node for part in HEAVY)
