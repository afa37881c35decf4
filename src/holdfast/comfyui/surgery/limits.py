"""How far a workflow may be changed to get a result out of it."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.comfyui.surgery.draft import number, whole
from holdfast.errors import BadInputError


@dataclass(frozen=True, slots=True)
class KnobLimits:
    """What may be changed, and how far.

    Raises:
        BadInputError: a share or number is out of range; the message names it.
    """

    precision: bool = True
    """Models and text encoders may be loaded with fewer bits."""
    bypass: bool = True
    """Optional polish, such as upscaling and frame interpolation, may be left out."""
    smaller: bool = True
    """Fewer frames and fewer pixels may be made."""
    least_area: float = 0.5
    """The share of the pixels of a picture or frame that must be left, above 0 to 1."""
    least_frames: float = 0.5
    """The share of the frames that must be left, above 0 to 1."""
    least_steps: int = 12
    """Sampling steps that must be left, where steps may be taken away at all."""
    same_result: bool = False
    """Only what keeps the result: same size, same count, same picture but for rounding."""

    def __post_init__(self) -> None:
        for name in ("least_area", "least_frames"):
            value = getattr(self, name)
            if number(value) is None or not 0 < value <= 1:
                raise BadInputError(f"{name} is {value!r}; a share is above 0 and at most 1")
        steps = self.least_steps
        if whole(steps) is None or not 1 <= steps <= 10_000:
            raise BadInputError(f"least_steps is {steps!r}; it is a whole number from 1 to 10000")
