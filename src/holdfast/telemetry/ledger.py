"""What there is about all errors, under one roof: each is counted, then kept.

Laws:

- Counts are exact, whatever is kept no longer.
- What has become of an error is told by its number, or seen on the recorded `ErrorInfo` while it
  is one of the last `WATCHED`.
- Not safe for concurrent use, but for `recall`: callers guard it with their own lock.
"""

from __future__ import annotations

import heapq

from holdfast.error_info import ErrorInfo
from holdfast.errors import ErrorCategory
from holdfast.ports import ambient
from holdfast.telemetry.groups import ErrorGroup, Group, Groups
from holdfast.telemetry.intake import Draft, Key, flags_of, key_of, name_of
from holdfast.telemetry.kept import ATTEMPTED, SUCCESSFUL, Extra, Kept, KeptErrors, Line
from holdfast.telemetry.rates import Rates

WATCHED = 64
"""So many of the latest `ErrorInfo`s are looked at again, in case their recovery has ended."""
_LINES = 256
_ENDED = ATTEMPTED | SUCCESSFUL
_NO_GROUP = Group("", "", ErrorCategory.UNKNOWN, "")


class Ledger:
    """Groups, rates, the latest errors one by one, and how many recoveries came to what."""

    __slots__ = (
        "_latest",
        "_lines",
        "_watched",
        "attempted",
        "groups",
        "kept",
        "late",
        "rates",
        "successful",
    )

    attempted: int
    """Errors that somebody tried to recover from, ever."""
    successful: int
    """Those of them where it had a verified effect."""
    late: int
    """How often somebody told about an error that was kept no longer."""

    def __init__(self, max_history: int, max_groups: int) -> None:
        self.kept = Kept(max_history)
        self.groups = Groups(max_groups)
        self.rates = Rates()
        self.attempted = self.successful = self.late = 0
        self._lines: dict[Key, Line] = {}
        """Lines of recent errors by what they were made from: spares reading their messages."""
        self._latest = _NO_GROUP
        """The group that was recorded last; it needs not be moved to the end."""
        self._watched: list[ErrorInfo | None] = [None] * min(WATCHED, max_history)

    def recall(self, info: ErrorInfo) -> Line | None:
        """The line of an earlier error that was just like this one; safe without a lock."""
        try:
            return self._lines.get(key_of(info))
        except TypeError:
            return None  # a list for frames, or no text for a message: the draft sets it right

    def count(
        self, line: Line | None, draft: Draft | None, at: float, when: float, flags: int
    ) -> Line:
        """Count one error.

        Args:
            line: what `recall` gave.
            draft: what `draft_of` gave, where that was None.
            at: when it happened, in seconds since 1970.
            when: the same by the clock of `Rates`.
            flags: the yes and no of it, as `flags_of` tells.
        """
        if line is None:
            line = self._drawn(draft)
        elif line.group.gone:
            self._renew(line)
        group = line.group
        if group is not self._latest:
            self.groups.touch(group)
            self._latest = group
        line.strand.count += 1
        rates = self.rates
        if rates.since <= when < rates.until:
            rates.total += 1
        else:
            rates.record(when)
        group.see(at, when)
        if flags & ATTEMPTED:
            self.attempted += 1
            self.successful += flags & _ENDED == _ENDED
        return line

    def keep(
        self, line: Line, at: float, flags: int, extra: Extra | None, watched: ErrorInfo | None
    ) -> int:
        """Keep an error that was counted, and give it a number.

        Args:
            line: what `count` gave.
            at: when it happened, in seconds since 1970.
            flags: the yes and no of it, as `flags_of` tells.
            extra: what it has beside its line, as `extra_of` tells.
            watched: the error itself, to be looked at again, or None.
        """
        kept = self.kept
        number = kept.next
        place = number % len(self._watched)
        earlier = self._watched[place]
        if earlier is not None and (earlier.recovery_attempted or earlier.strategy):
            self._look_again(number - len(self._watched), earlier)
        self._watched[place] = watched
        kept.put(number, line, at, flags, self.shared(line, extra))
        kept.next = number + 1
        return number

    def resolve(self, number: int, strategy: str, *, successful: bool) -> bool:
        """Note how a recovery ended; False if the error is kept no longer."""
        if number < self.kept.first:
            self.late += 1
            return False
        if number >= self.kept.next - len(self._watched):
            self._watched[number % len(self._watched)] = None
        self._end(number, ATTEMPTED | (SUCCESSFUL if successful else 0), strategy)
        return True

    def view(self) -> KeptErrors:
        """The kept errors as they are now."""
        self.look_again()
        return self.kept.view()

    def shared(self, line: Line, extra: Extra | None) -> Extra | None:
        """``extra``, or its like that the group has already."""
        if extra is None:
            return None
        if extra == line.group.extra:
            return line.group.extra
        line.group.extra = extra
        return extra

    def look_again(self) -> None:
        """See what has become of the watched errors."""
        kept = self.kept
        for number in range(max(1, kept.next - len(self._watched)), kept.next):
            info = self._watched[number % len(self._watched)]
            if info is not None:
                self._look_again(number, info)

    def greatest(self, limit: int) -> list[ErrorGroup]:
        """The groups with the most errors, the greatest first."""
        wall, now = ambient.wall(), ambient.now()
        greatest = heapq.nlargest(limit, self.groups, key=lambda group: group.count)
        return [group.told(wall, now) for group in greatest]

    def _drawn(self, draft: Draft | None) -> Line:
        assert draft is not None, "a line is remembered, or drafted"  # noqa: S101 - for the reader
        group = self.groups.find(draft.fingerprint, draft.error_type, draft.category, draft.message)
        facts = draft.facts
        if facts == group.facts:
            facts = group.facts
        else:
            group.facts = facts
        line = Line(group, group.strand(draft.severity, facts[0]), draft.message, facts)
        if draft.key is not None:
            if len(self._lines) >= _LINES:
                self._lines.clear()  # those in use are soon back, at one reading each
            self._lines[draft.key] = line
        return line

    def _renew(self, line: Line) -> None:
        """Let a line whose group had to make room count for that group's successor."""
        old = line.group
        line.group = self.groups.find(old.fingerprint, old.error_type, old.category, line.message)
        line.strand = line.group.strand(line.strand.severity, line.facts[0])

    def _look_again(self, number: int, info: ErrorInfo) -> None:
        slot = number % self.kept.size
        extra = self.kept.extras[slot]
        flags = flags_of(info) & _ENDED
        strategy = name_of(info.strategy)
        if self.kept.flags[slot] & _ENDED != flags or (extra[0] if extra else "") != strategy:
            self._end(number, flags, strategy)

    def _end(self, number: int, flags: int, strategy: str) -> None:
        kept = self.kept
        slot = number % kept.size
        before = kept.flags[slot] & _ENDED
        kept.flags[slot] = kept.flags[slot] & ~_ENDED | flags
        self.attempted += bool(flags & ATTEMPTED) - bool(before & ATTEMPTED)
        self.successful += (flags == _ENDED) - (before == _ENDED)
        line, extra = kept.lines[slot], kept.extras[slot]
        if line is not None and strategy and strategy != (extra[0] if extra else ""):
            _, traceback, context = extra or ("", None, None)
            kept.extras[slot] = self.shared(line, (name_of(strategy), traceback, context))
