"""A place in a line: one party waits for it, another grants it, in whatever thread or loop.

- Granting and attaching the waker may come in either order, from two threads:
  each side writes its own field before it reads the other's, so that one of
  them always wakes the waiter.
- A waker says whether its waiter can still be woken; it cannot when the event
  loop it belongs to is closed.
"""

from __future__ import annotations

from collections.abc import Callable


class Ticket:
    """One waiting call."""

    __slots__ = ("_wake", "granted", "value")

    def __init__(self) -> None:
        self.granted = False
        """Whether the wait is over. Never goes back."""
        self.value: object = None
        """What was granted, if that matters."""
        self._wake: Callable[[], bool] | None = None

    def grant(self, value: object = None) -> bool:
        """End the wait; False if the waiter is gone for good and somebody else should have it."""
        self.value = value
        self.granted = True
        wake = self._wake
        return wake is None or wake()

    def attach(self, wake: Callable[[], bool]) -> None:
        """Have ``wake`` called when the ticket is granted, at once if it has been already."""
        self._wake = wake
        if self.granted:
            wake()
