"""Which family of models a workflow is for, and the sizes and lengths that family can make.

A server takes any size within its range and cuts it down in silence to what
its model can do: 100 frames become 97, a width of 100 becomes 96. So sizes
are snapped here, beforehand, by what each family can do, and never below what
it was trained for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from holdfast.comfyui.surgery.draft import number
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError

MOST_SIDE = 16_384
"""Pixels; the server takes no more."""


@dataclass(frozen=True, slots=True)
class Family:
    """What a family of models can make."""

    name: str
    grid: int
    """Width and height are multiples of this, in pixels."""
    least_side: int
    """The shorter side below which pictures fall apart, in pixels."""
    least_area: int
    """The area below which pictures fall apart, in square pixels."""
    stride: int = 0
    """A clip has ``stride * n + 1`` frames; 1 for any number; 0 for families of stills."""
    least_frames: int = 1
    least_steps: int = 12
    """Sampling steps below which pictures fall apart, unless the model is a fast one."""

    @property
    def makes_video(self) -> bool:
        """Whether it makes clips."""
        return self.stride > 0


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        each.name: each
        for each in (
            Family("sd15", 64, 384, 384 * 384),
            Family("sdxl", 64, 512, 768 * 768),
            Family("dit", 16, 384, 512 * 512),
            Family("hunyuan_image", 32, 768, 1024 * 1024),
            Family("ltxv", 32, 320, 512 * 320, 8, 25),
            Family("wan", 16, 272, 480 * 272, 4, 17),
            Family("wan22_5b", 32, 352, 640 * 352, 4, 17),
            # Clips of fewer than 29 frames have broken its tiled decoding.
            Family("hunyuan_video", 16, 272, 480 * 272, 4, 29),
            Family("mochi", 16, 272, 480 * 272, 6, 25),
            Family("cosmos", 16, 272, 480 * 272, 8, 25),
            Family("svd", 64, 320, 512 * 320, 1, 14),
            Family("animatediff", 64, 384, 384 * 384, 1, 8),
            Family("unknown", 64, 512, 512 * 512),
        )
    },
)
"""By name. ``dit``: stills of transformers such as SD3, Flux, Qwen-Image and Z-Image."""

_BY_CLASS: tuple[tuple[str, str], ...] = (
    # The first that a class of the workflow begins with decides.
    ("ADE_", "animatediff"),
    ("AnimateDiff", "animatediff"),
    ("SVD_", "svd"),
    ("SV3D_", "svd"),
    ("Wan22ImageToVideoLatent", "wan22_5b"),
    ("Wan", "wan"),
    ("EmptyLTXV", "ltxv"),
    ("LTXV", "ltxv"),
    ("EmptyMochi", "mochi"),
    ("EmptyCosmos", "cosmos"),
    ("Cosmos", "cosmos"),
    ("HunyuanImageToVideo", "hunyuan_video"),
    ("EmptyHunyuanImageLatent", "hunyuan_image"),
)
_BY_NAME: tuple[tuple[str, str], ...] = (
    # The first that a plain text of a loader holds, in small letters, decides.
    ("wan2.2_ti2v_5b", "wan22_5b"),
    ("wan", "wan"),
    ("hunyuan_video", "hunyuan_video"),
    ("hunyuanvideo", "hunyuan_video"),
    ("ltxv", "ltxv"),
    ("ltx-video", "ltxv"),
    ("mochi", "mochi"),
    ("cosmos", "cosmos"),
    ("hunyuan_image", "hunyuan_image"),
    ("flux", "dit"),
    ("sd3", "dit"),
    ("qwen", "dit"),
    ("z_image", "dit"),
    ("hidream", "dit"),
    ("chroma", "dit"),
    ("lumina", "dit"),
    ("omnigen", "dit"),
    ("auraflow", "dit"),
    ("sdxl", "sdxl"),
    ("sd_xl", "sdxl"),
    ("xl", "sdxl"),
    ("pony", "sdxl"),
    ("illustrious", "sdxl"),
    ("noobai", "sdxl"),
)
_STILLS = frozenset({"EmptyLatentImage", "EmptySD3LatentImage"})
_SPACIOUS = 700 * 700
"""A latent this large, of a model that cannot be told by its name, is made for SDXL."""


def family_of(workflow: Workflow) -> Family:
    """The family of models a workflow is for, told by its classes, then by its models' names."""
    kinds = sorted({node["class_type"] for node in workflow.graph.values()})
    for start, name in _BY_CLASS:
        if any(kind.startswith(start) for kind in kinds):
            return FAMILIES[name]
    texts = _loaded(workflow)
    video = "EmptyHunyuanLatentVideo" in kinds
    still = not video and not _STILLS.isdisjoint(kinds)
    for part, name in _BY_NAME:
        # A still made with the text encoder or the VAE of a video model is a still.
        if not (still and FAMILIES[name].makes_video) and any(part in text for text in texts):
            return FAMILIES[name]
    return FAMILIES[_by_latent(workflow, frozenset(kinds))]


def _by_latent(workflow: Workflow, kinds: frozenset[str]) -> str:
    """The family that the latents begun with are most often for."""
    if "EmptyHunyuanLatentVideo" in kinds:
        return "hunyuan_video"
    if "EmptySD3LatentImage" in kinds:
        return "dit"
    if any("SDXL" in kind for kind in kinds):
        return "sdxl"
    if "EmptyLatentImage" in kinds:
        return "sdxl" if _area(workflow) >= _SPACIOUS else "sd15"
    return "unknown"


def snap_size(width: float, height: float, family: Family, *, up: bool = False) -> tuple[int, int]:
    """The nearest size in pixels the family can make, not below what it was trained for.

    Args:
        width: pixels.
        height: pixels.
        family: of the model.
        up: not a pixel fewer than given, where `MOST_SIDE` allows it.

    Raises:
        BadInputError: a side is not a number of pixels from 1 to `MOST_SIDE`.
    """
    for name, side in (("width", width), ("height", height)):
        _check_number(name, side, MOST_SIDE)
    short, area = min(width, height), width * height
    grow = max(1.0, family.least_side / short, math.sqrt(family.least_area / area))
    if grow > 1.0:
        return _on_grid(width * grow, family, up=True), _on_grid(height * grow, family, up=True)
    snapped = _on_grid(width, family, up=up), _on_grid(height, family, up=up)
    if min(snapped) < family.least_side or snapped[0] * snapped[1] < family.least_area:
        return _on_grid(width, family, up=True), _on_grid(height, family, up=True)
    return snapped


def snap_frames(frames: float, family: Family, *, up: bool = False) -> int:
    """The nearest number of frames the family can make, the lower one if it is between two.

    Args:
        frames: how many are wanted.
        family: of the model.
        up: not a frame fewer than wanted.

    Raises:
        BadInputError: ``frames`` is not a number from 1 to 16384.
    """
    _check_number("frames", frames, MOST_SIDE)
    if not family.makes_video:
        return max(1, math.ceil(frames) if up else math.floor(frames))
    count = (frames - 1) / family.stride
    steps = math.ceil(count) if up else math.ceil(count - 0.5)
    return max(steps * family.stride + 1, _least_frames(family))


def _least_frames(family: Family) -> int:
    return math.ceil((family.least_frames - 1) / family.stride) * family.stride + 1


def _on_grid(side: float, family: Family, *, up: bool) -> int:
    # A hair is taken off: what is on the grid but for rounding stays where it is.
    cells = math.ceil(side / family.grid - 1e-9) if up else math.floor(side / family.grid + 0.5)
    most = MOST_SIDE // family.grid
    return min(max(cells, 1), most) * family.grid


def _check_number(name: str, value: float, most: int) -> None:
    if number(value) is None or not 1 <= value <= most:
        raise BadInputError(f"{name} is {value!r}; it must be a number from 1 to {most}")


def _loaded(workflow: Workflow) -> list[str]:
    return [
        value.lower().replace("t5xxl", "t5")
        for node in workflow.graph.values()
        if "Load" in node["class_type"] and node["class_type"] not in _FILES
        for value in node["inputs"].values()
        if isinstance(value, str)
    ]


_FILES = frozenset({"LoadImage", "LoadImageMask", "LoadImageOutput", "LoadVideo", "LoadAudio"})


def _area(workflow: Workflow) -> float:
    most = 0.0
    for node in workflow.graph.values():
        if node["class_type"] == "EmptyLatentImage":
            sides = [node["inputs"].get(name) for name in ("width", "height")]
            if all(isinstance(side, int) and 0 < side <= MOST_SIDE for side in sides):
                most = max(most, math.prod(side for side in sides if isinstance(side, int)))
    return most
