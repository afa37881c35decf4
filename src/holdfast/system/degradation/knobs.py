"""Knobs: how one parameter of a request is turned down, and what it may never go below.

A knob is anything with `name`, `keys`, `begins` and `scale(value, quality)`. The ones here
hold these laws, and so should yours:

- A value is never raised, and never brought below the floor. What is below it stays as it is.
- Less quality never gives more.
- Full quality changes nothing.
- A value it cannot read is refused with `BadInputError`; it is then left alone, and said.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from holdfast.errors import BadInputError
from holdfast.policies import checks
from holdfast.system.degradation.grades import LEVELS, DegradationLevel, level_of

_TOLERANCE = 1e-9
"""1 - 0.8 is a little more than 0.2; without this the ladder would slip by a rung."""


@runtime_checkable
class Knob(Protocol):
    """One thing about a request that can be turned down."""

    @property
    def name(self) -> str:
        """Of the knob; in what is said about changes."""
        ...

    @property
    def keys(self) -> Sequence[str | tuple[str, ...]]:
        """The parameters it acts on. Those in a tuple are scaled together, as a tuple."""
        ...

    @property
    def begins(self) -> DegradationLevel:
        """The first level at which it acts."""
        ...

    def scale(self, value: Any, quality: float) -> Any:
        """The value that fits the quality, a share from 0 to 1; a new object or the same.

        Raises:
            BadInputError: the value is of a kind that it cannot scale.
        """
        ...


def rungs_down(quality: float, begins: DegradationLevel = DegradationLevel.HIGH) -> int:
    """How many rungs of a ladder to go down: one for each level from ``begins`` on."""
    return max(0, math.ceil((1 - quality) * 5 - _TOLERANCE) - begins.rank + 1)


class NumberKnob:
    """Multiplies a number by the quality; whole numbers are rounded down."""

    def __init__(
        self,
        key: str,
        floor: float,
        snap: int = 1,
        kind: type[int | float] = int,
        *,
        offset: int = 0,
        begins: DegradationLevel | Literal["high", "medium", "low", "minimal"] = "high",
        name: str | None = None,
    ) -> None:
        """Make a knob for one parameter.

        Args:
            key: of the parameter.
            floor: what the number is never brought below.
            snap: whole numbers become a multiple of this, plus ``offset``.
            kind: int for a number that must stay whole, float for any.
            offset: see ``snap``. Video models often want ``8 * n + 1`` frames.
            begins: the first level at which it acts.
            name: of the knob; the key by default.

        Raises:
            BadInputError: naming the argument, its value and what is right.
        """
        checks.label("key", key)
        checks.number("floor", floor, at_least=0)
        checks.whole("snap", snap, at_least=1)
        checks.whole("offset", offset, at_least=0)
        if kind not in (int, float):
            raise BadInputError(f"kind must be int or float, got {kind!r}")
        if offset >= snap and offset:
            raise BadInputError(f"offset must be below snap, which is {snap}, got {offset!r}")
        if kind is float and snap != 1:
            raise BadInputError(f"snap needs kind=int, got {snap!r} with kind=float")
        if kind is int and (floor != int(floor) or (floor - offset) % snap):
            raise BadInputError(f"floor must be {snap} * n + {offset}, got {floor!r}")
        self.name = key if name is None else name
        checks.label("name", self.name)
        self.keys: tuple[str | tuple[str, ...], ...] = (key,)
        self.floor = floor
        self.snap = snap
        self.offset = offset
        self.kind = kind
        self.begins = acting_level("begins", begins)

    def scale(self, value: Any, quality: float) -> Any:
        """The number times the quality, not below the floor."""
        if self.kind is int:
            whole = as_whole(value)
            if whole is None:
                raise BadInputError("it needs a whole number")
            return value if quality >= 1 else self._snapped(whole, quality)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise BadInputError("it needs a number")
        if not abs(value) <= sys.float_info.max:
            raise BadInputError("it needs a finite number")
        return value if quality >= 1 else min(value, max(self.floor, value * quality))

    def _snapped(self, value: int, quality: float) -> int:
        if abs(value) > sys.float_info.max:
            raise BadInputError("it needs a number that a float can hold")
        snapped = (int(value * quality) - self.offset) // self.snap * self.snap + self.offset
        return min(value, max(int(self.floor), snapped))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, floor={self.floor:g}, begins={self.begins})"


class QualityKnob(NumberKnob):
    """Multiplies `quality`, whether it is a share of 1 or a number like JPEG's 90."""

    def __init__(self, key: str = "quality", floor: float = 0.0) -> None:
        super().__init__(key, floor, kind=float, name="quality")

    def scale(self, value: Any, quality: float) -> Any:
        """The number times the quality; 90 stays whole, and 1 is all of it."""
        scaled = super().scale(value, quality)
        return int(scaled) if isinstance(value, int) and value > 1 else scaled


class StepsKnob(NumberKnob):
    """Takes that share of the steps, at least one."""

    def __init__(self, key: str = "steps", floor: int = 1) -> None:
        super().__init__(key, floor, name="steps")


class ChoiceKnob:
    """Goes down a ladder of choices, one rung for each level."""

    def __init__(
        self,
        key: str,
        ladder: Sequence[Any],
        *,
        begins: DegradationLevel | Literal["high", "medium", "low", "minimal"] = "high",
        name: str | None = None,
    ) -> None:
        """Make a knob for one parameter.

        Args:
            key: of the parameter.
            ladder: the choices, the best first; the last one is the floor.
            begins: the first level at which it acts, and goes down one rung.
            name: of the knob; the key by default.

        Raises:
            BadInputError: naming the argument, its value and what is right.
        """
        checks.label("key", key)
        given: object = ladder
        if isinstance(given, str) or not isinstance(given, Sequence) or len(given) < 2:
            raise BadInputError(f"ladder must hold at least 2 choices, got {ladder!r:.100}")
        if any(rung in ladder[:at] for at, rung in enumerate(ladder)):
            raise BadInputError(f"ladder must hold each choice once, got {ladder!r:.200}")
        self.name = key if name is None else name
        checks.label("name", self.name)
        self.keys: tuple[str | tuple[str, ...], ...] = (key,)
        self.ladder = tuple(ladder)
        self.begins = acting_level("begins", begins)

    def scale(self, value: Any, quality: float) -> Any:
        """The choice so many rungs further down."""
        try:
            at = self.ladder.index(value)
        except ValueError:
            raise BadInputError(f"it is none of {', '.join(map(repr, self.ladder))}") from None
        down = rungs_down(quality, self.begins)
        return self.ladder[min(at + down, len(self.ladder) - 1)] if down else value

    def __repr__(self) -> str:
        return f"ChoiceKnob({self.name!r}, ladder={list(self.ladder)!r}, begins={self.begins})"


class FeatureKnob:
    """Turns something optional off, from one level on."""

    def __init__(
        self,
        key: str,
        off_at: DegradationLevel | Literal["high", "medium", "low", "minimal"],
        off_value: Any = False,  # noqa: FBT002 - one of many possible values
        *,
        name: str | None = None,
    ) -> None:
        """Make a knob for one parameter.

        Args:
            key: of the parameter.
            off_at: the first level at which the feature is off.
            off_value: what the parameter is then.
            name: of the knob; the key by default.

        Raises:
            BadInputError: naming the argument, its value and what is right.
        """
        checks.label("key", key)
        self.name = key if name is None else name
        checks.label("name", self.name)
        self.keys: tuple[str | tuple[str, ...], ...] = (key,)
        self.off_value = off_value
        self.begins = acting_level("off_at", off_at)

    def scale(self, value: Any, quality: float) -> Any:
        """The value while there is quality enough, and after that what stands for "off"."""
        return self.off_value if rungs_down(quality, self.begins) else value

    def __repr__(self) -> str:
        return f"FeatureKnob({self.name!r}, off_at={self.begins}, off_value={self.off_value!r})"


def acting_level(field: str, value: Any) -> DegradationLevel:
    """A level at which something may be turned down: any but the full one.

    Raises:
        BadInputError: naming the field, the value and what is right.
    """
    level = level_of(field, value)
    if level is DegradationLevel.FULL:
        names = ", ".join(LEVELS[1:])
        raise BadInputError(f"{field} must be one of {names}: 'full' changes nothing")
    return level


def as_whole(value: Any) -> int | None:
    """The whole number that something is, be it NumPy's, or None; True is no number."""
    # Arrays of one number and tensors claim to be numbers, too; they are not worth a guess.
    if isinstance(value, bool) or getattr(value, "shape", ()) != ():
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
