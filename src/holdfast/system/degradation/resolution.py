"""The knob for picture sizes, in all the ways people write them.

- A rung, `"1080p"` or `"4k"`: one rung down for each level.
- Pixels, `(1920, 1080)`, `[1920, 1080]`, `"1920x1080"`, `{"width": 1920, "height": 1080}`,
  or two parameters `width` and `height`: both sides times the quality, in the same proportion,
  as multiples of `snap`, with no side below `floor`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from holdfast.errors import BadInputError
from holdfast.policies import checks
from holdfast.system.degradation.grades import DegradationLevel
from holdfast.system.degradation.knobs import acting_level, as_whole, rungs_down

RUNGS = {
    "4k": 2160,
    "1440p": 1440,
    "1080p": 1080,
    "720p": 720,
    "480p": 480,
    "360p": 360,
    "240p": 240,
    "144p": 144,
}
"""Names and lines, the best first."""
_LADDER = tuple(RUNGS)
_LINES = re.compile(r"(\d{1,5})[pP]\Z")
_PIXELS = re.compile(r"(\d{1,6})(\s?[xX×*]\s?)(\d{1,6})\Z")  # noqa: RUF001 - people write both
_SMALLEST_FLOOR = 2


class ResolutionKnob:
    """Makes pictures smaller and keeps their proportions."""

    def __init__(
        self,
        key: str = "resolution",
        *,
        width: str = "width",
        height: str = "height",
        snap: int = 8,
        floor: int = 64,
        lowest: str = "144p",
        begins: DegradationLevel | Literal["high", "medium", "low", "minimal"] = "high",
    ) -> None:
        """Make a knob for a size.

        Args:
            key: of the parameter that holds a size.
            width: of the parameter, or of the entry in a size, that holds the width alone.
            height: likewise the height.
            snap: pixels of which both sides become multiples; even.
            floor: pixels that no side is brought below; a multiple of ``snap``.
            lowest: the rung that names are never brought below.
            begins: the first level at which it acts.

        Raises:
            BadInputError: naming the argument, its value and what is right.
        """
        for field, value in (("key", key), ("width", width), ("height", height)):
            checks.label(field, value)
        if len({key, width, height}) < 3:
            raise BadInputError(f"height must differ from key and width, got {height!r}")
        checks.whole("snap", snap, at_least=2)
        checks.whole("floor", floor, at_least=_SMALLEST_FLOOR)
        if snap % 2:
            raise BadInputError(f"snap must be even, got {snap!r}")
        if floor % snap:
            raise BadInputError(f"floor must be a multiple of snap, which is {snap}, got {floor!r}")
        if lowest not in RUNGS:
            raise BadInputError(f"lowest must be one of {', '.join(RUNGS)}, got {lowest!r:.100}")
        self.name = "resolution"
        self.keys: tuple[str | tuple[str, ...], ...] = (key, (width, height))
        self.snap = snap
        self.floor = floor
        self.lowest = lowest
        self.begins = acting_level("begins", begins)
        self._sides = (width, height)

    def scale(self, value: Any, quality: float) -> Any:
        """A smaller size, written in the same way."""
        if isinstance(value, str):
            return self._text(value, quality)
        if isinstance(value, Mapping):
            return self._mapping(value, quality)
        if type(value) in (tuple, list) and len(value) == 2:
            return type(value)(self.sides(value[0], value[1], quality))
        raise BadInputError(
            "it needs a size such as '1080p', '1920x1080', (1920, 1080) or "
            "{'width': 1920, 'height': 1080}"
        )

    def sides(self, width: Any, height: Any, quality: float) -> tuple[Any, Any]:
        """Both sides times the quality.

        Raises:
            BadInputError: they are not whole numbers above 0.
        """
        wide, high = as_whole(width), as_whole(height)
        if wide is None or high is None or not (0 < wide < 1 << 31 and 0 < high < 1 << 31):
            raise BadInputError("it needs width and height as whole numbers above 0")
        # The floor is for the smaller side, and then holds back the other one as well.
        share = max(quality, self.floor / min(wide, high))
        if share >= 1:
            return width, height
        return self._snapped(wide, share), self._snapped(high, share)

    def rung(self, name: str, quality: float) -> str | None:
        """The rung so many levels below a name such as `"1080p"`; None if it is no such name."""
        lines = RUNGS.get(name.lower())
        if lines is None:
            found = _LINES.match(name)
            if found is None:
                return None
            lines = int(found[1])
        down = rungs_down(quality, self.begins)
        lowest = _LADDER.index(self.lowest)
        at = next((at for at, rung in enumerate(_LADDER) if RUNGS[rung] <= lines), None)
        if not down or at is None:
            return name
        # A size between two rungs reaches the next one with the first step.
        exact = RUNGS[_LADDER[at]] == lines
        target = min(at + down - (not exact), lowest)
        return name if target < at or (target == at and exact) else _LADDER[target]

    def _snapped(self, side: int, share: float) -> int:
        nearest = round(side * share / self.snap) * self.snap
        return min(nearest, side // self.snap * self.snap)

    def _text(self, value: str, quality: float) -> str:
        rung = self.rung(value, quality)
        if rung is not None:
            return rung
        found = _PIXELS.match(value)
        if found is None:
            raise BadInputError("it is no size such as '1080p' or '1920x1080'")
        wide, high = int(found[1]), int(found[3])
        smaller = self.sides(wide, high, quality)
        return value if smaller == (wide, high) else f"{smaller[0]}{found[2]}{smaller[1]}"

    def _mapping(self, value: Mapping[Any, Any], quality: float) -> dict[Any, Any]:
        width, height = self._sides
        if width not in value or height not in value:
            raise BadInputError(f"it needs both {width!r} and {height!r}")
        sides = self.sides(value[width], value[height], quality)
        return {**value, width: sides[0], height: sides[1]}

    def __repr__(self) -> str:
        return f"ResolutionKnob(snap={self.snap}, floor={self.floor}, begins={self.begins})"
