"""What waits to be written: bounded, and cheap to add to.

Laws:

- Never more than ``limit`` errors wait, and never more than ``limit`` notes beside them. The
  oldest of the least severe errors makes room, then the oldest note.
- An error that made room is still counted, in `Lost`: the counters of the history stay exact.
- Nothing here does I/O or blocks; the lock is held for a few instructions.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.errors import ErrorSeverity
from holdfast.stores.counting import Counts
from holdfast.stores.rows import Row

_ORDER = [severity.value for severity in ErrorSeverity]
"""From the least severe to the most."""

Note = tuple[str, Row]
"""What is written beside errors: the kind (a table, or ``resolve``) and its row."""


@dataclass(slots=True)
class Batch:
    """What is written in one transaction."""

    events: list[Row] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    """Of errors that were dropped before they could be written."""
    settles: int = 0
    """How many things had been added when nothing but this was left; 0 while more is."""
    dropped: int = 0
    """How many things were dropped since the last batch."""

    def __len__(self) -> int:
        return len(self.events) + len(self.notes)


class Backlog:
    """Errors and notes in the order they came, with the least of them leaving first."""

    __slots__ = (
        "_accepted",
        "_dropped",
        "_events",
        "_lock",
        "_lost",
        "_notes",
        "_reserved",
        "_size",
        "dropped_total",
        "limit",
        "ready",
    )

    def __init__(self, limit: int, ready: Callable[[int], object]) -> None:
        """Make an empty one.

        Args:
            limit: errors that may wait, and notes that may.
            ready: told the number of things that wait, after each that is added.
        """
        self.limit, self.ready = limit, ready
        self.reset()

    def reset(self) -> None:
        """Begin anew, with a lock that nobody holds: for a process just forked."""
        self._lock = threading.Lock()
        self._events: dict[str, deque[Row]] = {severity: deque() for severity in _ORDER}
        self._notes: deque[Note] = deque()
        self._lost = Counts()
        self._size = self._accepted = self._dropped = self._reserved = 0
        self.dropped_total = 0
        """Everything that ever made room, since the beginning."""

    def add(self, event: Row) -> None:
        """Take an error in."""
        with self._lock:
            self._events[event["severity"]].append(event)
            self._size += 1
            self._accepted += 1
            if self._size + self._reserved > self.limit:
                self._drop_least()
            waiting = self._size + len(self._notes)
        self.ready(waiting)

    def note(self, kind: str, row: Row) -> None:
        """Take in something to be written beside errors."""
        with self._lock:
            self._notes.append((kind, row))
            self._accepted += 1
            if len(self._notes) > self.limit:
                self._forget(self._notes.popleft())
            waiting = self._size + len(self._notes)
        self.ready(waiting)

    def take(self, most: int) -> Batch:
        """What is to be written next; it waits no more, but holds its room until `release`.

        Args:
            most: errors to take. Notes come after the last of them, as they may be about them.
        """
        with self._lock:
            batch = Batch(counts=self._lost, dropped=self._dropped)
            self._lost, self._dropped = Counts(), 0
            for severity in reversed(_ORDER):
                waiting = self._events[severity]
                while waiting and len(batch.events) < most:
                    batch.events.append(waiting.popleft())
            self._size -= len(batch.events)
            self._reserved = len(batch.events)
            if not self._size:
                batch.notes = list(self._notes)
                self._notes.clear()
                batch.settles = self._accepted
            return batch

    def release(self) -> None:
        """The batch that was taken is written."""
        with self._lock:
            self._reserved = 0

    def give_up(self, batch: Batch) -> None:
        """Count what will never be written as dropped."""
        with self._lock:
            self._lost.merge(batch.counts)
            for event in batch.events:
                self._lost.add(event)
            for note in batch.notes:
                self._count_note(note)
            self._reserved = 0
            self._dropped += batch.dropped + len(batch)
            self.dropped_total += len(batch)

    @property
    def accepted(self) -> int:
        """How many things have been added so far."""
        return self._accepted

    def __len__(self) -> int:
        """How many things wait, those in the batch under way among them."""
        return self._size + self._reserved + len(self._notes)

    @property
    def owes(self) -> bool:
        """Whether there is anything to write: something waits, or was dropped and not counted."""
        return bool(self._size or self._notes or self._dropped)

    def _drop_least(self) -> None:
        for severity in _ORDER:
            waiting = self._events[severity]
            if waiting:
                self._lost.add(waiting.popleft())
                self._size -= 1
                self._dropped += 1
                self.dropped_total += 1
                return

    def _forget(self, note: Note) -> None:
        self._count_note(note)
        self._dropped += 1
        self.dropped_total += 1

    def _count_note(self, note: Note) -> None:
        kind, row = note
        if kind == "resolve":
            self._lost.add_recovery(row)
