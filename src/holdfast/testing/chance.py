"""Chance that can be told beforehand, in place of the real one.

::

    with FixedChance(0.5):              # every draw is 0.5: jitter that changes nothing
        retry.call(upload)
    with FixedChance([0.1, 0.9]):       # these two draws, and no third
        ...
    with FakeChance(seed=7) as chance:  # random, and the same each time
        ...
        chance.drawn                    # what was drawn
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from holdfast.errors import BadInputError
from holdfast.policies import checks
from holdfast.testing.places import chance_place


class _Chance:
    """Something all of Holdfast draws from while it is installed."""

    def __init__(self) -> None:
        self.drawn: list[float] = []
        """What was drawn, in order; each in [0, 1)."""
        self._lock = threading.Lock()

    def draw(self) -> float:
        """Make the next number."""
        raise NotImplementedError

    def __call__(self) -> float:
        with self._lock:
            number = self.draw()
            self.drawn.append(number)
            return number

    def __enter__(self) -> Self:
        chance_place.put(self, self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        chance_place.take(self)


class FakeChance(_Chance):
    """Random numbers that are the same for the same seed."""

    def __init__(self, seed: int | str = 0) -> None:
        super().__init__()
        self.seed = seed
        self._random = random.Random(seed)

    def draw(self) -> float:
        """The next number of the seed's sequence."""
        return self._random.random()

    def __repr__(self) -> str:
        return f"FakeChance(seed={self.seed!r})"


class FixedChance(_Chance):
    """The numbers it is given: one for ever, or several in turn."""

    def __init__(self, values: float | Sequence[float] = 0.5, *, repeat: bool = False) -> None:
        """Lay down the numbers.

        Args:
            values: one number for every draw, or one for each; all in [0, 1).
            repeat: whether to begin again when the numbers are used up.

        Raises:
            BadInputError: naming the value and what is right.
        """
        super().__init__()
        single = isinstance(values, int | float)
        self.values: tuple[float, ...] = (values,) if single else tuple(values)  # type: ignore[arg-type,assignment]
        if not self.values:
            raise BadInputError("values must hold at least one number, got none")
        for value in self.values:
            checks.number("values", value, at_least=0)
            if value >= 1:
                raise BadInputError(f"values must be below 1, as real chance is, got {value!r}")
        self.repeat = repeat or single

    def draw(self) -> float:
        """The next of the numbers.

        Raises:
            RuntimeError: they are used up.
        """
        number = len(self.drawn)
        if number >= len(self.values) and not self.repeat:
            raise RuntimeError(
                f"FixedChance was given {len(self.values)} numbers, and this is draw {number + 1}"
            )
        return self.values[number % len(self.values)]

    def __repr__(self) -> str:
        return f"FixedChance({list(self.values)!r}, repeat={self.repeat})"
