"""What stands in for the real clock and the real chance, and for how long.

- Stand-ins may be nested, and taken away in any order: what is left is always
  the latest one still in use, and in the end what was there at the beginning.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from holdfast.ports import ambient

T = TypeVar("T")


class Place(Generic[T]):
    """Something in the process that can be replaced for a while."""

    __slots__ = ("_lock", "_owners", "_read", "_write")

    def __init__(self, read: Callable[[], T], write: Callable[[T], None]) -> None:
        self._read = read
        self._write = write
        self._owners: list[tuple[object, T]] = []
        """Who stands in, with what was there before, earliest first."""
        self._lock = threading.Lock()

    def put(self, owner: object, value: T) -> None:
        """Replace what is there."""
        with self._lock:
            self._owners.append((owner, self._read()))
            self._write(value)

    def take(self, owner: object) -> bool:
        """End the owner's latest replacement; False if that was its last one."""
        with self._lock:
            mine = [index for index, (known, _) in enumerate(self._owners) if known is owner]
            index = mine[-1]
            before = self._owners.pop(index)[1]
            if index == len(self._owners):
                self._write(before)
            else:
                self._owners[index] = self._owners[index][0], before
            return len(mine) > 1


Times = tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any], Callable[..., Any]]


def _read_times() -> Times:
    return ambient.now, ambient.wall, ambient.sleep, ambient.wait


def _write_times(times: Times) -> None:
    ambient.now, ambient.wall, ambient.sleep, ambient.wait = times


def _write_chance(chance: Callable[[], float]) -> None:
    ambient.chance = chance


clock_place: Place[Times] = Place(_read_times, _write_times)
"""The clock that all of Holdfast reads."""
chance_place: Place[Callable[[], float]] = Place(lambda: ambient.chance, _write_chance)
"""The chance that all of Holdfast draws from."""
