"""Ladders: what is made instead when the best cannot be.

A rung names a family and how much of what was asked for it still gives. Going
down a rung is always told, and never happens where changes are forbidden.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from holdfast.comfyui.engines.recipes import family_of, recipes_of
from holdfast.comfyui.engines.wish import text, whole
from holdfast.errors import BadInputError
from holdfast.system.degradation.grades import DegradationLevel

PRECISIONS: Final = ("default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2")
MOST_RUNGS: Final = 20


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of a ladder. None everywhere means: as asked."""

    name: str
    """Such as ``quality``, ``standard``, ``basic``."""
    family: str
    """A family or a single recipe, such as ``sdxl`` or ``flux-schnell``."""
    pixels: int | None = None
    """At most so many pixels of area."""
    steps: int | None = None
    """At most so many steps."""
    frames: int | None = None
    """At most so many frames."""
    weights: str = "default"
    """Precision of diffusion models loaded from files of their own."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        text("ladder.name", self.name)
        text("ladder.family", self.family)
        whole("ladder.pixels", self.pixels, 64 * 64, 2**28)
        whole("ladder.steps", self.steps, 1, 10_000)
        whole("ladder.frames", self.frames, 1, 16_384)
        if self.weights not in PRECISIONS:
            raise BadInputError(
                f"ladder.weights must be one of {', '.join(PRECISIONS)}, got {self.weights!r:.100}"
            )


_SD15: Final = Rung("basic", "sd15", pixels=512 * 512, steps=20)
_SDXL: Final = Rung("standard", "sdxl", pixels=768 * 768, steps=24)
_SMALL_WAN: Final = Rung("basic", "wan2.1-1.3b", pixels=832 * 480, frames=33)

LADDERS: Final[dict[str, tuple[Rung, ...]]] = {
    "sd15": (
        Rung("quality", "sd15"),
        Rung("standard", "sd15", pixels=512 * 512, steps=20),
        Rung("basic", "sd15", pixels=384 * 384, steps=16),
    ),
    "sdxl": (Rung("quality", "sdxl"), _SDXL, _SD15),
    "sdxl-refiner": (Rung("quality", "sdxl-refiner"), _SDXL, _SD15),
    "flux": (
        Rung("quality", "flux"),
        Rung("standard", "flux", pixels=768 * 768, weights="fp8_e4m3fn"),
        Rung("basic", "sdxl", pixels=768 * 768, steps=24),
    ),
    "sd3": (
        Rung("quality", "sd3"),
        Rung("standard", "sd3", pixels=768 * 768, steps=20),
        Rung("basic", "sdxl", pixels=768 * 768, steps=24),
    ),
    "wan2.2": (
        Rung("quality", "wan2.2"),
        Rung("standard", "wan2.2", pixels=640 * 384, frames=49, weights="fp8_e4m3fn"),
        _SMALL_WAN,
    ),
    "wan2.1": (
        Rung("quality", "wan2.1"),
        Rung("standard", "wan2.1", pixels=640 * 384, frames=49, weights="fp8_e4m3fn"),
        Rung("basic", "wan2.1", pixels=480 * 272, frames=33, steps=20, weights="fp8_e4m3fn"),
    ),
    "hunyuan": (
        Rung("quality", "hunyuan"),
        Rung("standard", "hunyuan", pixels=640 * 368, frames=49, weights="fp8_e4m3fn"),
        Rung("basic", "ltxv", pixels=512 * 320, frames=49),
    ),
    "ltxv": (
        Rung("quality", "ltxv"),
        Rung("standard", "ltxv", pixels=640 * 416, frames=73),
        Rung("basic", "ltxv", pixels=512 * 320, frames=49, steps=20),
    ),
}
"""The ladder of each family, the best first."""


def ladder_of(given: Iterable[Any] | None, family: str, kind: str) -> tuple[Rung, ...]:
    """The ladder given, or the family's own.

    Args:
        given: rungs, or mappings of their fields; None for the family's own.
        family: a family or a recipe.
        kind: ``image`` or ``video``.

    Raises:
        BadInputError: this is no ladder; the message says why.
    """
    if given is None:
        own = LADDERS[family_of(family, kind)]
        # A single recipe stays the first choice, and the rest of the ladder stays what it is.
        return (Rung(own[0].name, family), *own[1:])
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise BadInputError(f"ladder must be a list of rungs, got {given!r:.100}")
    rungs = tuple(_rung(each) for each in given)
    if not 1 <= len(rungs) <= MOST_RUNGS:
        raise BadInputError(f"ladder must have 1 to {MOST_RUNGS} rungs, got {len(rungs)}")
    if len({each.name for each in rungs}) < len(rungs):
        raise BadInputError("ladder: every rung needs a name of its own")
    for each in rungs:
        recipes_of(each.family, kind)
    return rungs


def _rung(given: Any) -> Rung:
    if isinstance(given, Rung):
        return given
    try:
        return Rung(**given)
    except TypeError:
        raise BadInputError(
            f"ladder has {given!r:.100}; a rung is Rung(name, family, pixels, steps, frames)"
        ) from None


def first_rung(level: DegradationLevel, count: int) -> int:
    """Where a ladder of ``count`` rungs begins at this level of service: 0 at the full one."""
    return min(count - 1, level.rank * count // 5)
