"""From a measured value to a level: which one it calls for, and which one it does not let go of.

Two ladders of thresholds, one to climb by and a lower one to come back by, so that
a value that trembles around a threshold does not move the level to and fro
(hysteresis, as in a Schmitt trigger).

Laws:

- Both answers grow with the value, and what a value calls for it also holds.
- Each restore threshold lies below its degrade threshold; anything else is refused.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from holdfast.errors import BadInputError


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which value on each level is called for, and below which it may be left again."""

    degrade: tuple[float, ...]
    """Level 1 is called for from the first value on, level 2 from the second, and so on."""
    restore: tuple[float, ...] = ()
    """Level 1 may be left below the first value, level 2 below the second, and so on.
    Empty: 80 % of each degrade threshold."""

    def __post_init__(self) -> None:
        """Refuse ladders that do not climb, or that leave no room to come back.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        degrade = _ladder("degrade", self.degrade)
        restore = _ladder("restore", self.restore) if self.restore else _share(degrade, 0.8)
        if len(restore) != len(degrade):
            raise BadInputError(
                f"restore must have as many thresholds as degrade, which has {len(degrade)}, "
                f"got {restore!r}"
            )
        for low, high in zip(restore, degrade, strict=True):
            if not low < high:
                raise BadInputError(
                    f"restore must lie below degrade, or the level would move to and fro: "
                    f"{low!r} is not below {high!r}"
                )
        object.__setattr__(self, "degrade", degrade)
        object.__setattr__(self, "restore", restore)

    def wanted(self, value: float) -> int:
        """The level that the value calls for; 0 if it calls for none."""
        return bisect_right(self.degrade, value)

    def held(self, value: float) -> int:
        """The worst level that must not be left while the value is this; 0 if all may be."""
        return bisect_right(self.restore, value)


def _ladder(field: str, values: object) -> tuple[float, ...]:
    if not isinstance(values, tuple | list) or not values:
        raise BadInputError(f"{field} must be one or more thresholds in a tuple, got {values!r}")
    for value in values:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise BadInputError(f"{field} must hold numbers alone, got {value!r}")
        if not 0 < value < math.inf:
            raise BadInputError(f"{field} must hold numbers above 0 and finite, got {value!r}")
    if any(low > high for low, high in pairwise(values)):
        raise BadInputError(f"{field} must not fall from one level to the next, got {values!r}")
    return tuple(values)


def _share(values: tuple[float, ...], share: float) -> tuple[float, ...]:
    return tuple(value * share for value in values)
