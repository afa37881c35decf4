"""Carries every event to everybody who listens.

- With no listener, nothing is built and nothing is sent: whoever emits asks
  `hub.active` first.
- A listener can neither slow down others by raising nor change a call: what it
  raises is handed to `hub.fault` and forgotten.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from holdfast.errors import BadInputError

if TYPE_CHECKING:
    from holdfast.events.kinds import Event

Listener = Callable[["Event"], object]


class Subscription:
    """A listener's place in the hub; close it, or use it in a `with` block."""

    __slots__ = ("_hub", "_listener")

    def __init__(self, hub: Hub, listener: Listener) -> None:
        self._hub = hub
        self._listener: Listener | None = listener

    def close(self) -> None:
        """Hear no more."""
        if self._listener is not None:
            self._hub.remove(self._listener)
            self._listener = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Hub:
    """Carries every event to every listener, in the thread where it happens."""

    __slots__ = ("_listeners", "_lock", "active", "fault")

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self._lock = threading.Lock()
        self.active = False
        """Whether anybody listens."""
        self.fault: Callable[[Listener, Event, Exception], object] = lambda *_: None
        """What is told of a listener that raised."""

    def add(self, listener: Listener) -> Subscription:
        """Tell ``listener`` every event from now on.

        Raises:
            BadInputError: it cannot be called.
        """
        if not callable(listener):
            raise BadInputError(f"listener must be a function, got {listener!r:.100}")
        with self._lock:
            self._listeners = (*self._listeners, listener)
            self.active = True
        return Subscription(self, listener)

    def remove(self, listener: Listener) -> None:
        """Tell ``listener`` no more; nothing happens if it is unknown."""
        with self._lock:
            kept = list(self._listeners)
            for index, known in enumerate(kept):
                if known is listener:
                    del kept[index]
                    break
            self._listeners = tuple(kept)
            self.active = bool(kept)

    def emit(self, event: Event) -> None:
        """Tell everybody; never raises an `Exception`."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001  # a listener must never fail a call
                with suppress(Exception):
                    self.fault(listener, event, error)


hub = Hub()
"""The process's own."""


def listen(listener: Listener) -> Subscription:
    """Call ``listener`` with every event of every policy in this process, in the acting thread.

    Raises:
        BadInputError: it cannot be called.
    """
    return hub.add(listener)
