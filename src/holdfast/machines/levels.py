"""How far a service is turned down: one level at a time, and back when all has been quiet.

Level 0 is the full service; each level above it is a worse one.

Laws:

- The level never leaves 0 to `worst`. An automatic change is by one level, and never within
  `step_seconds` of the change before it, whoever made that.
- It restores one level after `quiet` seconds without a change, without a strike, and without
  a reading that holds the present level. A reading speaks for `reading_seconds`, or until the
  next one of its source.
- Having to degrade again within `quiet` seconds of a restore doubles `quiet`, once for each
  restore, up to `quiet_maximum`. One that lasted longer sets it back.
- While pinned nothing moves but by hand.
- How often somebody looks changes nothing: a restore takes place at the moment it was due.
- Time is an argument; a `now` earlier than the last one seen counts as no time passed.
- Not safe for concurrent use: callers guard a machine with their own lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from holdfast.errors import BadInputError


@dataclass(frozen=True, slots=True)
class LevelRules:
    """How fast a level may change."""

    worst: int = 4
    """The last level."""
    step_seconds: float = 30.0
    """Seconds after any change in which none comes by itself."""
    cooldown: float = 60.0
    """Seconds after a strike that degraded in which further strikes do not."""
    quiet_seconds: float = 300.0
    """Seconds of quiet before one level is restored."""
    quiet_maximum: float = 3600.0
    """What those seconds are never doubled beyond."""
    reading_seconds: float = 60.0
    """Seconds for which a reading is believed when no newer one comes."""

    def __post_init__(self) -> None:
        """Refuse rules under which a level would flap, or never come back.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        worst: object = self.worst
        if not isinstance(worst, int) or isinstance(worst, bool) or worst < 1:
            raise BadInputError(f"worst must be a whole number of at least 1, got {worst!r}")
        for name in ("step_seconds", "cooldown"):
            _seconds(name, getattr(self, name), zero=True)
        for name in ("quiet_seconds", "quiet_maximum", "reading_seconds"):
            _seconds(name, getattr(self, name), zero=False)
        if self.quiet_seconds < self.step_seconds:
            raise BadInputError(
                f"quiet_seconds must be at least step_seconds, which is {self.step_seconds:g}, "
                f"got {self.quiet_seconds!r}"
            )
        if self.quiet_maximum < self.quiet_seconds:
            raise BadInputError(
                f"quiet_maximum must be at least quiet_seconds, which is {self.quiet_seconds:g}, "
                f"got {self.quiet_maximum!r}"
            )


@dataclass(frozen=True, slots=True)
class Move:
    """One change of the level."""

    at: float
    """Monotonic seconds at which it took place."""
    old: int
    new: int
    quiet: float | None = None
    """Seconds of quiet that brought it about by itself; None for every other move."""


@dataclass(frozen=True, slots=True)
class _Reading:
    held: int
    """The worst level that it does not let go of."""
    until: float


class LevelMachine:
    """The level of one service, moved by readings, strikes, quiet and hands."""

    __slots__ = (
        "_changed",
        "_latest",
        "_quiet_since",
        "_readings",
        "_restored",
        "_rules",
        "_struck",
        "level",
        "pinned",
        "quiet",
    )

    level: int
    """The present level as of the last `look`; 0 is the full service."""
    pinned: bool
    """Whether only a hand may move it."""
    quiet: float
    """Seconds of quiet that the next restore needs."""
    _changed: float
    _quiet_since: float
    _restored: float
    _struck: float

    def __init__(self, rules: LevelRules) -> None:
        self._rules = rules
        self._latest = -inf
        self._clear()

    def look(self, now: float) -> list[Move]:
        """Restore what has been due; the moves bear the moments at which they were."""
        now = self._passed(now)
        moves = []
        while (due := self.due()) <= now:
            moves.append(self._to(self.level - 1, due, self.quiet))
            self._restored = due
        return moves

    def due(self) -> float:
        """When the next restore comes if nothing happens till then; infinite if none will."""
        level = self.level
        if not level or self.pinned:
            return inf
        since = max(self._changed, self._quiet_since)
        for reading in self._readings.values():
            if reading.held >= level:
                since = max(since, reading.until)
        return since + self.quiet

    def read(self, now: float, source: str, wanted: int, held: int) -> list[Move]:
        """Take in what one source of readings says.

        Args:
            now: monotonic seconds.
            source: whose earlier reading this one replaces.
            wanted: the level it calls for.
            held: the worst level that it does not let go of.
        """
        moves = self.look(now)
        now = self._latest
        earlier = self._readings.pop(source, None)
        if earlier is not None and earlier.held >= self.level:
            self._quiet_since = max(self._quiet_since, min(earlier.until, now))
        if held > 0:
            self._readings[source] = _Reading(held, now + self._rules.reading_seconds)
        if wanted > self.level:
            moves += self._worsen(now)
        return moves

    def strike(self, now: float) -> list[Move]:
        """Take in one grave thing: a level down, but once per `cooldown`; and quiet is over."""
        moves = self.look(now)
        now = self._latest
        self._quiet_since = now
        if now - self._struck >= self._rules.cooldown:
            worse = self._worsen(now)
            if worse:
                self._struck = now
            moves += worse
        return moves

    def set(self, now: float, level: int) -> list[Move]:
        """Go to a level by hand, pinned or not; beyond the ends it goes as far as there is."""
        moves = self.look(now)
        now = self._latest
        level = min(max(level, 0), self._rules.worst)
        self._quiet_since = now
        if level != self.level:
            if level < self.level:
                self._restored = now
            moves.append(self._to(level, now))
        return moves

    def pin(self, now: float) -> list[Move]:
        """Let only hands move it from now on."""
        moves = self.look(now)
        self.pinned = True
        return moves

    def unpin(self, now: float) -> None:
        """Let it move by itself again; quiet is counted from now on."""
        now = self._passed(now)
        if self.pinned:
            self.pinned = False
            self._quiet_since = now

    def reset(self, now: float) -> list[Move]:
        """Be as new: the full service, nothing read, nothing pinned."""
        now = self._passed(now)
        old = self.level
        self._clear()
        return [Move(now, old, 0)] if old else []

    def _clear(self) -> None:
        self.level = 0
        self.pinned = False
        self.quiet = self._rules.quiet_seconds
        self._changed = self._quiet_since = self._restored = self._struck = -inf
        self._readings: dict[str, _Reading] = {}

    def _worsen(self, now: float) -> list[Move]:
        rules = self._rules
        if self.pinned or self.level >= rules.worst or now - self._changed < rules.step_seconds:
            return []
        if self._restored != -inf:
            soon = now - self._restored < self.quiet
            self.quiet = min(2 * self.quiet, rules.quiet_maximum) if soon else rules.quiet_seconds
            # One restore that came too early is one mistake, however far down it leads.
            self._restored = -inf
        return [self._to(self.level + 1, now)]

    def _to(self, level: int, at: float, quiet: float | None = None) -> Move:
        move = Move(at, self.level, level, quiet)
        self.level = level
        self._changed = at
        return move

    def _passed(self, now: float) -> float:
        self._latest = max(self._latest, now)
        return self._latest


def _seconds(name: str, value: object, *, zero: bool) -> None:
    right = isinstance(value, int | float) and not isinstance(value, bool) and value < inf
    if not right or not (value >= 0 if zero else value > 0):  # type: ignore[operator]
        least = "at least 0" if zero else "above 0"
        raise BadInputError(f"{name} must be {least} seconds and finite, got {value!r}")
