"""The sizes and lengths a family of models can make.

ComfyUI takes other sizes and cuts them in silence: 100 frames become 97. So
they are brought onto the grid here, before, where it can be said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Grid:
    """What sides and numbers of frames a family makes."""

    side: int
    """Sides are multiples of so many pixels."""
    tidy: int
    """Sizes chosen here, not asked for, are multiples of so many pixels: what models like best."""
    least: int
    """The smallest side in pixels."""
    stride: int = 0
    """Frames come as ``stride * n + 1``; 0 for pictures."""
    fewest: int = 1
    """The fewest frames of a clip."""

    def snap_side(self, pixels: float) -> int:
        """The nearest side on the grid; of two as near, the larger."""
        return max(self.side * math.floor(pixels / self.side + 0.5), self._floor(self.side))

    def snap_frames(self, frames: float) -> int:
        """The nearest number of frames on the grid; of two as near, the larger."""
        steps = math.floor((frames - 1) / self.stride + 0.5)
        return max(self.stride * steps + 1, self.fewest)

    def cut_frames(self, frames: int, most: int) -> int:
        """As many frames of the grid as ``most`` allows."""
        return max(min(frames, (most - 1) // self.stride * self.stride + 1), self.fewest)

    def fit(
        self, width: float, height: float, pixels: float, *, exact: bool = False
    ) -> tuple[int, int]:
        """A size of the same proportions with about, and never above, so many pixels.

        Proportions too long for the grid end at its smallest side.

        Args:
            width: of what is to be fitted.
            height: of what is to be fitted.
            pixels: the area at most.
            exact: proportions as exact as can be, rather than sides the model likes best.
        """
        scale = math.sqrt(pixels / (width * height))
        step = self.side if exact else self.tidy
        low = self._floor(step)
        sides = [max(low, step * math.floor(each * scale / step + 0.5)) for each in (width, height)]
        while sides[0] * sides[1] > pixels and max(sides) > low:
            longer = sides.index(max(sides))
            sides[longer] -= step
        return sides[0], sides[1]

    def _floor(self, step: int) -> int:
        return step * math.ceil(self.least / step)
