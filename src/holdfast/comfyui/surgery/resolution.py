"""Fewer pixels in the same shape: everything in the graph that speaks of pixels shrinks alike.

A size stands in more places than the empty latent: in what the prompt is told
about it, in areas, crops and masks, in the shift of a schedule. If only one
of them shrank, the picture would be another. So either all are scaled by the
same factor, or, where something speaks of pixels that is not known, nothing
is. Pictures that begin with a given image shrink by having that scaled first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.edit import Edit
from holdfast.comfyui.surgery.draft import Draft, Place, number, whole
from holdfast.comfyui.surgery.family import MOST_SIDE, Family, family_of, snap_size
from holdfast.comfyui.surgery.frames import FRAME_INPUTS, check_share
from holdfast.comfyui.workflow import Workflow

_SIDES = ("width", "height")
_BOX = ("width", "height", "x", "y")
_COUPLED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ModelSamplingFlux": _SIDES,
        "CLIPTextEncodeSDXL": (
            "width",
            "height",
            "crop_w",
            "crop_h",
            "target_width",
            "target_height",
        ),
        "CLIPTextEncodeSDXLRefiner": _SIDES,
        "CLIPTextEncodePixArtAlpha": _SIDES,
        "ConditioningSetArea": _BOX,
        "GLIGENTextBoxApply": _BOX,
        "WanCameraEmbedding": _SIDES,
        "SolidMask": _SIDES,
        "CropMask": _BOX,
        "MaskComposite": ("x", "y"),
        "FeatherMask": ("left", "top", "right", "bottom"),
        "EmptyImage": _SIDES,
        "ImageScale": _SIDES,
        "ImageCrop": _BOX,
        "ImageCompositeMasked": ("x", "y"),
        "ResizeAndPadImage": ("target_width", "target_height"),
        "LatentUpscale": _SIDES,
        "LatentCrop": _BOX,
        "LatentComposite": ("x", "y", "feather"),
        "LatentCompositeMasked": ("x", "y"),
    },
)
_STILL_SOURCES = frozenset({"batch_size", *FRAME_INPUTS})
_FIXED = frozenset({"StableZero123_Conditioning", "StableZero123_Conditioning_Batched"})
"""Models that know one size only."""
_ENCODERS: Mapping[str, str] = MappingProxyType(
    {
        "VAEEncode": "pixels",
        "VAEEncodeTiled": "pixels",
        "VAEEncodeForInpaint": "pixels",
        "InpaintModelConditioning": "pixels",
        "InstructPixToPixConditioning": "pixels",
    },
)
_LOADERS = frozenset({"LoadImage", "LoadImageOutput"})
_SHRINKING_METHOD = "area"
_LEAST_SCALE = 0.35
"""A given image is not scaled below this share of its sides."""


class _Size(NamedTuple):
    """Where a picture's size is written."""

    node: str
    width: Place
    height: Place


def lower_resolution(workflow: Workflow, catalog: Catalog, share: float = 0.75) -> Edit | None:
    """Make pictures or frames of fewer pixels, in the same shape.

    Args:
        workflow: to change.
        catalog: what the server knows.
        share: of the area that is to be left; what is left is never less.

    Returns:
        None if it is as small as the model can make it, or something in the graph speaks of pixels
        in a way that is not known.

    Raises:
        BadInputError: ``share`` is not above 0 and below 1.
    """
    check_share(share)
    draft = Draft(workflow, catalog)
    running = draft.running()
    if any(draft.kind(node) in _FIXED for node in running) or _unknown(draft, running):
        return None
    family = family_of(workflow)
    sizes = _sizes(draft, running)
    if sizes is None:
        return None
    images = _given_images(draft, running)
    if sizes:
        return _scale_sizes(draft, running, sizes, family, share)
    return _scale_images(draft, images, share)


def _sizes(draft: Draft, running: Iterable[str]) -> list[_Size] | None:
    """Where sizes are written; None if one is computed from something else."""
    found = []
    for node in sorted(running):
        if not _is_source(draft, node):
            continue
        width, height = draft.place(node, "width"), draft.place(node, "height")
        if width is None or height is None:
            return None
        found.append(_Size(node, width, height))
    return found


def _is_source(draft: Draft, node: str) -> bool:
    known = draft.catalog.get(draft.kind(node))
    if known is None or draft.kind(node) in _COUPLED:
        return False
    names = known.inputs.keys()
    return set(_SIDES) <= names and bool(_STILL_SOURCES & names)


def _unknown(draft: Draft, running: Iterable[str]) -> bool:
    """Whether something speaks of pixels in a way that is not known."""
    for node in running:
        kind = draft.kind(node)
        known = draft.catalog.get(kind)
        if kind in _COUPLED or _is_source(draft, node):
            continue
        for name, value in draft.inputs(node).items():
            spec = None if known is None else known.inputs.get(name)
            number = spec is None or spec.type == "INT"
            if (
                number
                and ("width" in name or "height" in name)
                and (draft.source(node, name) is not None or (whole(value) or 0) > 0)
            ):
                return True
    return False


def _scale_sizes(
    draft: Draft, running: Iterable[str], sizes: list[_Size], family: Family, share: float
) -> Edit | None:
    first = sizes[0]
    old = [whole(draft.value(place)) for place in (first.width, first.height)]
    if any(side is None or not 1 <= side <= MOST_SIDE for side in old):
        return None
    width, height = (side for side in old if side is not None)
    same = {(width, height)} == {
        (whole(draft.value(size.width)), whole(draft.value(size.height))) for size in sizes
    }
    smaller = _smaller(width, height, family, share)
    if not same or smaller is None:
        return None
    factors = {"width": smaller[0] / width, "height": smaller[1] / height}
    targets = _targets(draft, running, sizes, factors)
    if targets is None:
        return None
    for place, value in targets.items():
        draft.put(place, value)
    left = smaller[0] * smaller[1] / (width * height)
    words = (
        f"{smaller[0]} x {smaller[1]} pixels instead of {width} x {height} ({left:.0%} of the area)"
    )
    return draft.finish("lower_resolution", words)


def _smaller(width: int, height: int, family: Family, share: float) -> tuple[int, int] | None:
    side = math.sqrt(share)
    if width * height <= family.least_area or min(width, height) <= family.least_side:
        return None
    wanted = max(width * side, 1.0), max(height * side, 1.0)
    snapped = snap_size(*wanted, family, up=True)
    fits = snapped[0] <= width and snapped[1] <= height
    return snapped if fits and snapped != (width, height) else None


def _targets(
    draft: Draft, running: Iterable[str], sizes: list[_Size], factors: Mapping[str, float]
) -> dict[Place, int | float] | None:
    """Every value that shrinks, with what it becomes; None if they contradict each other."""
    targets: dict[Place, int | float] = {}
    wanted = _pixels(draft, running, sizes)
    for (node, name), place in wanted.items():
        if place is None:
            return None
        value = _scaled(draft, node, name, place, factors)
        if value is None or targets.setdefault(place, value) != value:
            return None
    for place in targets:
        # A primitive that feeds anything else as well must stay what it is.
        fed = [(use.node, use.name) for use in draft.uses(place.node)]
        if (place.node, place.name) not in wanted and any(each not in wanted for each in fed):
            return None
    return targets


def _pixels(
    draft: Draft, running: Iterable[str], sizes: list[_Size]
) -> dict[tuple[str, str], Place | None]:
    """Every input that speaks of pixels, and where its value is written."""
    found: dict[tuple[str, str], Place | None] = {}
    for size in sizes:
        found[size.node, "width"] = size.width
        found[size.node, "height"] = size.height
    for node in sorted(running):
        for name in _COUPLED.get(draft.kind(node), ()):
            if name in draft.inputs(node):
                found[node, name] = draft.place(node, name)
        if draft.kind(node) == "ImageScaleToTotalPixels":
            found[node, "megapixels"] = draft.place(node, "megapixels")
    return found


def _scaled(
    draft: Draft, node: str, name: str, place: Place, factors: Mapping[str, float]
) -> int | float | None:
    value = draft.value(place)
    if name == "megapixels":
        millions = number(value)
        if millions is None or not 0 < millions <= 1e4:
            return None
        return round(max(millions * factors["width"] * factors["height"], 0.01), 2)
    pixels = whole(value)
    if pixels is None:
        return None
    across = any(part in name for part in ("width", "_w", "left", "right")) or name == "x"
    factor = factors["width" if across else "height"]
    spec = draft.spec(node, name)
    exact = _is_source(draft, node)
    step = 1 if exact or spec is None or spec.step is None else max(1, int(spec.step))
    least = 0 if spec is None or spec.minimum is None else math.ceil(spec.minimum)
    if pixels == 0:
        return 0
    return max(round(pixels * factor / step) * step, least)


# Given images ---------------------------------------------------------------------------


def _given_images(draft: Draft, running: Iterable[str]) -> list[str] | None:
    """The loaded images that the encoded latents begin with; None if others do as well."""
    found = set[str]()
    for node in sorted(running):
        name = _ENCODERS.get(draft.kind(node))
        linked = None if name is None else draft.source(node, name)
        if linked is None:
            continue
        loaders = {each for each in draft.above([linked[0]]) if draft.kind(each) in _LOADERS}
        if not loaders:
            return None
        found |= loaders
    return sorted(found)


def _scale_images(draft: Draft, images: list[str] | None, share: float) -> Edit | None:
    spoken = _COUPLED.keys() - {"ImageScale"}
    if not images or any(draft.kind(node) in spoken for node in draft.running()):
        return None
    side = round(math.sqrt(share), 4)
    for node in images:
        uses = [use for use in draft.uses(node) if use.slot == 0]
        scaled = {use.node for use in uses if draft.kind(use.node) == "ImageScaleBy"}
        mine = [each for each in scaled if len(uses) == 1 and _shrinks(draft, each)]
        if mine:
            by = float(draft.inputs(mine[0])["scale_by"]) * side
            if by < _LEAST_SCALE:
                return None
            draft.inputs(mine[0])["scale_by"] = round(by, 4)
            continue
        added = draft.add(
            "ImageScaleBy", image=[node, 0], scale_by=side, upscale_method=_SHRINKING_METHOD
        )
        if added is None:
            return None
        draft.relink(uses, added)
    for node in draft.of(["ImageScaleToTotalPixels", "ImageScale"]):
        # These would undo it.
        if draft.above([node]) & set(images):
            return _scale_megapixels(draft, images, share)
    words = f"the given image is scaled to {side:.0%} of its sides first ({share:.0%} of the area)"
    return draft.finish("lower_resolution", words)


def _shrinks(draft: Draft, node: str) -> bool:
    by = number(draft.inputs(node).get("scale_by"))
    return by is not None and 0 < by < 1


def _scale_megapixels(draft: Draft, images: list[str], share: float) -> Edit | None:
    fresh = Draft(draft.before, draft.catalog)
    below = fresh.below(images)
    changed = []
    for node in fresh.of(["ImageScaleToTotalPixels"]):
        value = number(fresh.inputs(node).get("megapixels"))
        if node not in below or value is None or not 0.1 <= value <= 100:
            continue
        fresh.inputs(node)["megapixels"] = max(math.ceil(value * share * 100) / 100, 0.1)
        changed.append(f"{fresh.inputs(node)['megapixels']:g} megapixels instead of {value:g}")
    if not changed or fresh.of(["ImageScale"]):
        return None
    return fresh.finish("lower_resolution", f"the given image is scaled to {changed[0]} first")
