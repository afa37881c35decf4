"""Everything that policies said during a block of code.

::

    with recorded_events() as seen:
        pipeline.call(upload)
    assert [event.delay for event in seen.of(RetryScheduled)] == [1.0, 2.0]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar, overload

from holdfast.events import Event, listen

E = TypeVar("E", bound=Event)


class RecordedEvents(Sequence[Event]):
    """Events in the order in which they happened, from all threads."""

    __slots__ = ("_events",)

    def __init__(self) -> None:
        self._events: list[Event] = []

    def of(self, kind: type[E]) -> list[E]:
        """Those of one kind."""
        return [event for event in self._events if isinstance(event, kind)]

    @property
    def names(self) -> list[str]:
        """The names of their classes, in order: quick to compare."""
        return [type(event).__name__ for event in self._events]

    def clear(self) -> None:
        """Forget what there is."""
        self._events.clear()

    def add(self, event: Event) -> None:
        """Add one more."""
        self._events.append(event)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | Sequence[Event]:
        return self._events[index]

    def __len__(self) -> int:
        return len(self._events)

    def __repr__(self) -> str:
        told = "".join(f"\n  {event!r}" for event in self._events)
        return f"RecordedEvents of {len(self)}:{told}" if told else "RecordedEvents: none"


@contextmanager
def recorded_events(*kinds: type[Event]) -> Iterator[RecordedEvents]:
    """Collect the events of every policy in this process; only of ``kinds`` if any are given."""
    seen = RecordedEvents()

    def add(event: Event) -> None:
        if not kinds or isinstance(event, kinds):
            seen.add(event)

    with listen(add):
        yield seen
