"""What clients that were away have missed, kept until they are back. Pure and bounded.

For each client id the newest frame of each kind is kept, node by node where that
matters, so what is kept of a job is its present state and not its history. A
client that returns is told

- of a job that runs: all of its state, whether it was told before or not, since
  it may be a page that was loaded anew;
- of a job that has ended: what was never sent to it, and what was sent so shortly
  before its connection broke that it may not have arrived.

Whoever is told a thing twice can see that by the prompt's id; who is never told
that a job has ended waits for ever.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile

from holdfast.comfyui.gateway.saying import KEPT, PASSING, Said, Sort
from holdfast.errors import BadInputError

_Key = tuple[str, Sort, str]
Owner = tuple[str, str]
"""A user and a client id. The id alone belongs to nobody: others may guess it."""

_WORTH = (
    *(Sort.PREVIEW, Sort.TEXT, Sort.PROGRESS_STATE, Sort.PROGRESS, Sort.EXECUTING),
    Sort.PICTURE,
)
"""What is given up first when there is too much, in this order; then the oldest."""


@dataclass(frozen=True, slots=True)
class ReplayLimits:
    """How much is kept, and for how long."""

    clients: int = 10_000
    """Client ids; the one that was heard of least recently is given up."""
    frames: int = 2_000
    """Frames for each client id."""
    client_bytes: int = 4 * 1024 * 1024
    """Bytes for each client id."""
    total_bytes: int = 64 * 1024 * 1024
    """Bytes for all."""
    seconds: float = 3600.0
    """How long what has ended is kept for a client that does not come back."""
    doubt_seconds: float = 45.0
    """How long before a connection broke a frame may have been lost in it."""

    def __post_init__(self) -> None:
        for name in ("clients", "frames", "client_bytes", "total_bytes", "seconds"):
            if getattr(self, name) <= 0:
                raise BadInputError(f"{name} is {getattr(self, name)!r}; it must be more than 0")
        if self.doubt_seconds < 0:
            raise BadInputError(f"doubt_seconds is {self.doubt_seconds!r}; it must be 0 or more")


@dataclass(slots=True)
class Kept:
    """One frame that is kept; `number` says which it is to whoever sends it."""

    said: Said
    number: int
    at: float
    told: float | None = None
    """When it was last given to a socket."""


class _Box:
    """What is kept for one client id."""

    __slots__ = ("broken", "by_job", "by_key", "by_number", "ended", "jobs", "size", "touched")

    def __init__(self) -> None:
        self.by_key: OrderedDict[_Key, Kept] = OrderedDict()
        self.by_job: dict[str, dict[_Key, None]] = {}
        """The keys of each job: what a job costs must not grow with the jobs before it."""
        self.by_number: dict[int, Kept] = {}
        self.jobs: dict[str, int] = {}
        """The number of the first frame of each job, which is their order."""
        self.ended: OrderedDict[str, float] = OrderedDict()
        """When jobs ended, the first to end first."""
        self.size = 0
        self.touched = 0.0
        self.broken: float | None = None

    def add(self, kept: Kept) -> None:
        self.drop(kept.said.key)
        self.by_key[kept.said.key] = kept
        self.by_job.setdefault(kept.said.job, {})[kept.said.key] = None
        self.by_number[kept.number] = kept
        self.jobs.setdefault(kept.said.job, kept.number)
        self.size += kept.said.size

    def drop(self, key: _Key) -> None:
        kept = self.by_key.pop(key, None)
        if kept is None:
            return
        del self.by_number[kept.number]
        self.size -= kept.said.size
        of_job = self.by_job[kept.said.job]
        del of_job[key]
        if not of_job:
            del self.by_job[kept.said.job]

    def of(self, job: str) -> list[Kept]:
        """What is kept of a job."""
        return [self.by_key[key] for key in self.by_job.get(job, ())]

    def drop_job(self, job: str, sorts: frozenset[Sort] | None = None) -> None:
        for kept in self.of(job):
            if sorts is None or kept.said.sort in sorts:
                self.drop(kept.said.key)
        if sorts is None:
            self.jobs.pop(job, None)
            self.ended.pop(job, None)

    def shrink(self, frames: int, size: int) -> None:
        if len(self.by_key) <= frames and self.size <= size:
            return
        order = sorted(
            self.by_key.values(),
            key=lambda k: (
                _WORTH.index(k.said.sort) if k.said.sort in _WORTH else len(_WORTH),
                k.number,
            ),
        )
        for kept in order:  # a tenth more than needed, so that it is not done at every frame
            if len(self.by_key) <= frames - frames // 10 and self.size <= size - size // 10:
                return
            self.drop(kept.said.key)


class Replay:
    """What each client id has missed. Lives on one event loop, or on none."""

    def __init__(self, limits: ReplayLimits | None = None) -> None:
        self.limits = limits or ReplayLimits()
        self._boxes: OrderedDict[Owner, _Box] = OrderedDict()
        self._size = 0
        self._number = 0

    @property
    def size(self) -> int:
        """Bytes kept for all."""
        return self._size

    def __len__(self) -> int:
        return len(self._boxes)

    def keep(self, owner: Owner, said: Said, now: float) -> int | None:
        """Keep a frame in place of the one before it; its number, None if it is not kept."""
        if said.sort not in KEPT or said.size > self.limits.client_bytes // 2:
            return None
        box = self._box(owner, now)
        before = box.size
        self._number += 1
        box.add(Kept(said, self._number, now))
        box.shrink(self.limits.frames, self.limits.client_bytes)
        self._size += box.size - before
        self._bound()
        return self._number

    def restart(self, owner: Owner, job: str) -> None:
        """The job begins, or begins anew: nothing that was kept of it is true any more."""
        box = self._boxes.get(owner)
        if box is not None:
            self._resized(box, lambda: box.drop_job(job))

    def settle(self, owner: Owner, job: str, now: float) -> None:
        """The job has ended: how far it was is of no interest any more."""
        box = self._box(owner, now)
        box.ended[job] = now
        box.ended.move_to_end(job)
        self._resized(box, lambda: box.drop_job(job, PASSING))
        self._tidy(box, now)

    def told(self, owner: Owner, number: int | None, now: float) -> None:
        """A frame was given to the client's socket."""
        box = self._boxes.get(owner)
        kept = box.by_number.get(number) if box is not None and number is not None else None
        if kept is not None:
            kept.told = now

    def left(self, owner: Owner, now: float, *, broken: bool) -> None:
        """The client's socket closed; or broke, or was replaced by another before it closed."""
        box = self._boxes.get(owner)
        if box is not None:
            box.broken = now if broken else None

    def missed(self, owner: Owner, now: float) -> tuple[Kept, ...]:
        """What to tell a client that is here again, in the order in which to say it."""
        box = self._boxes.get(owner)
        if box is None:
            return ()
        box = self._box(owner, now)
        self._tidy(box, now)
        doubt = None if box.broken is None else box.broken - self.limits.doubt_seconds
        return tuple(
            sorted(
                (kept for kept in box.by_key.values() if _is_missed(box, kept, doubt)),
                key=lambda kept: (
                    box.jobs.get(kept.said.job, 0),
                    kept.said.sort,
                    kept.number,
                ),
            )
        )

    def sweep(self, now: float) -> None:
        """Give up what was kept long enough."""
        while self._boxes:
            owner, box = next(iter(self._boxes.items()))
            if now - box.touched <= self.limits.seconds:
                return
            self._size -= box.size
            del self._boxes[owner]

    def _tidy(self, box: _Box, now: float) -> None:
        """Drop jobs that ended long ago, or whose end is certainly known."""

        def tidy() -> None:
            sure = 2 * self.limits.doubt_seconds
            # Nothing that ended just now was told long ago: the others need no look.
            least = min(sure, self.limits.seconds)
            long_ago = takewhile(lambda each: now - each[1] > least, box.ended.items())
            for job, ended in list(long_ago):
                certain = all(k.told is not None and now - k.told > sure for k in box.of(job))
                if certain or now - ended > self.limits.seconds:
                    box.drop_job(job)

        self._resized(box, tidy)

    def _resized(self, box: _Box, change: Callable[[], None]) -> None:
        before = box.size
        change()
        self._size += box.size - before

    def _box(self, owner: Owner, now: float) -> _Box:
        box = self._boxes.get(owner)
        if box is None:
            box = self._boxes[owner] = _Box()
        self._boxes.move_to_end(owner)
        box.touched = now
        self._bound()
        return box

    def _bound(self) -> None:
        """Give up whole clients, least recently heard of first, until what is kept is little."""
        while len(self._boxes) > 1 and (
            len(self._boxes) > self.limits.clients or self._size > self.limits.total_bytes
        ):
            _, box = self._boxes.popitem(last=False)
            self._size -= box.size


def _is_missed(box: _Box, kept: Kept, doubt: float | None) -> bool:
    if kept.said.job not in box.ended or kept.told is None:
        return True
    return doubt is not None and kept.told >= doubt
