"""What waits to be sent to one client. Pure and bounded: who reads slowly delays only itself.

A client that keeps up is sent every frame, in order, as ComfyUI does. Once more
than a few wait, frames of which only the newest matters give way to it, and of
previews one is left. If it still grows, or the oldest frame waits too long, the
client is cut off: it has a copy of what it missed waiting in `replay`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from holdfast.comfyui.gateway.saying import COLLAPSIBLE, Said, Sort
from holdfast.errors import BadInputError

_KEEPS_UP = 64
"""Frames that may wait before any gives way; one step of a node makes three or four."""


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """What one client may have waiting."""

    frames: int = 2_000
    """Frames, after the stale ones have given way."""
    size: int = 8 * 1024 * 1024
    """Bytes, after the stale ones have given way. One frame alone may be larger."""
    seconds: float = 15.0
    """How long the oldest frame may wait."""

    def __post_init__(self) -> None:
        for name in ("frames", "size", "seconds"):
            if getattr(self, name) <= 0:
                raise BadInputError(f"{name} is {getattr(self, name)!r}; it must be more than 0")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A frame that waits: since when, and its number in `replay`."""

    said: Said
    since: float
    number: int | None = None


class Outbox:
    """What waits for one client. `put` fills it, `take` and `sent` empty it."""

    def __init__(self, limits: OutboxLimits | None = None) -> None:
        self.limits = limits or OutboxLimits()
        self.size = 0
        """Bytes that wait."""
        self.full = False
        """Whether something did not fit: the client is to be cut off."""
        self._waiting: OrderedDict[int, Waiting] = OrderedDict()
        self._newest: dict[tuple[str, Sort, str], int] = {}
        """Where the newest of each kind that may give way waits."""
        self._count = 0
        self._taken: Waiting | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, said: Said, now: float, number: int | None = None) -> bool:
        """Have a frame wait; False if it does not fit, now or ever again."""
        if self.full:
            return False
        if len(self._waiting) >= _KEEPS_UP or self.size > self.limits.size // 8:
            self._give_way(said)
        self._count += 1
        self._waiting[self._count] = Waiting(said, now, number)
        self.size += said.size
        if said.sort in COLLAPSIBLE:
            self._newest[said.key] = self._count
        if self._over():
            self._drop_stale()
        if self._over():
            self.full = True
            self.clear()
        return not self.full

    def take(self) -> Waiting | None:
        """The next frame to send; it counts as waiting until it is `sent`."""
        if not self._waiting:
            return None
        place, self._taken = self._waiting.popitem(last=False)
        self._forget(place, self._taken)
        return self._taken

    def sent(self) -> None:
        """What was taken is out."""
        self._taken = None

    def clear(self) -> None:
        """Nothing waits any more, but for what was taken."""
        self._waiting.clear()
        self._newest.clear()
        self.size = 0

    def behind(self, now: float) -> float:
        """Seconds that the oldest frame has waited."""
        if self._taken is not None:
            return now - self._taken.since
        oldest = next(iter(self._waiting.values()), None)
        return 0.0 if oldest is None else now - oldest.since

    def too_slow(self, now: float) -> bool:
        """Whether the client is to be cut off for not reading."""
        return self.behind(now) > self.limits.seconds

    def _over(self) -> bool:
        if len(self._waiting) > self.limits.frames:
            return True
        return self.size > self.limits.size and len(self._waiting) > 1

    def _give_way(self, said: Said) -> None:
        """Drop what the frame makes stale."""
        if said.sort is Sort.PREVIEW:
            for place in [p for p, w in self._waiting.items() if w.said.sort is Sort.PREVIEW]:
                self._drop(place)
        elif said.key in self._newest:
            self._drop(self._newest[said.key])

    def _drop_stale(self) -> None:
        """Leave one of each kind that may give way, and of the previews the last."""
        seen: set[object] = set()
        for place, waiting in reversed(list(self._waiting.items())):
            said = waiting.said
            if said.sort not in COLLAPSIBLE:
                continue
            kind: object = Sort.PREVIEW if said.sort is Sort.PREVIEW else said.key
            if kind in seen or (said.sort is Sort.PREVIEW and self._over()):
                self._drop(place)
            seen.add(kind)

    def _drop(self, place: int) -> None:
        self._forget(place, self._waiting.pop(place))

    def _forget(self, place: int, waiting: Waiting) -> None:
        self.size -= waiting.said.size
        if self._newest.get(waiting.said.key) == place:
            del self._newest[waiting.said.key]
