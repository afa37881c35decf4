"""Nodes that change what a picture shows or how large it is.

They follow a real server in what goes in, what comes out and where it fails;
pixel values are near to a real server's, not equal bit for bit.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from holdfast.comfyui.standin.node import NodeClass, NodeContext, NodeError, NodeOutput
from holdfast.comfyui.standin.nodes.pixels import (
    blur,
    repeat_to,
    require_room,
    resize,
    resize_cropped,
    resize_masks,
)
from holdfast.comfyui.standin.nodes.specs import choice, combo, integer, number, side
from holdfast.comfyui.standin.painter import Pixels

_METHODS: Final = ("nearest-exact", "bilinear", "area", "bicubic", "lanczos")
_MODES: Final = ("normal", "multiply", "screen", "overlay", "soft_light", "difference")
_POST: Final = "comfy_extras.nodes_post_processing"


def image_scale(
    _context: NodeContext, *, image: Pixels, upscale_method: str, width: int, height: int, crop: str
) -> NodeOutput:
    """Scale to a size; one side of 0 follows from the proportions, two leave the picture alone."""
    _, old_height, old_width, _ = image.shape
    if width == height == 0:
        return NodeOutput((image,))
    width = width or max(1, round(old_width * height / old_height))
    height = height or max(1, round(old_height * width / old_width))
    fit = resize_cropped if crop == "center" else resize
    return NodeOutput((fit(image, width, height, upscale_method),))


def image_scale_by(
    _context: NodeContext, *, image: Pixels, upscale_method: str, scale_by: float
) -> NodeOutput:
    """Scale both sides by a factor."""
    _, height, width, _ = image.shape
    size = (round(width * scale_by), round(height * scale_by))
    return NodeOutput((resize(image, *size, upscale_method),))


def image_invert(_context: NodeContext, *, image: Pixels) -> NodeOutput:
    """Turn light into dark."""
    return NodeOutput((1 - image,))


def image_blur(
    _context: NodeContext, *, image: Pixels, blur_radius: int, sigma: float
) -> NodeOutput:
    """Blur with a Gaussian."""
    return NodeOutput((blur(image, blur_radius, sigma),))


def image_sharpen(
    _context: NodeContext, *, image: Pixels, sharpen_radius: int, sigma: float, alpha: float
) -> NodeOutput:
    """Add ``10 * alpha`` times the difference between a picture and its blur."""
    amount = np.float32(10 * alpha)
    sharp = image + amount * (image - blur(image, sharpen_radius, sigma))
    return NodeOutput((np.clip(sharp, 0, 1),))


def image_crop(
    _context: NodeContext, *, image: Pixels, width: int, height: int, x: int, y: int
) -> NodeOutput:
    """Cut a rectangle out; what lies outside the picture is left out."""
    x, y = min(x, image.shape[2] - 1), min(y, image.shape[1] - 1)
    return NodeOutput((image[:, y : y + height, x : x + width],))


def image_blend(
    _context: NodeContext, *, image1: Pixels, image2: Pixels, blend_factor: float, blend_mode: str
) -> NodeOutput:
    """Blend the second picture, fitted to the first one's size, into the first."""
    _, height, width, _ = image1.shape
    second = resize_cropped(image2[..., : image1.shape[-1]], width, height, "bicubic")
    first_count, second_count = len(image1), len(second)
    if first_count != second_count and 1 not in {first_count, second_count}:
        raise NodeError(
            "RuntimeError",
            f"The size of tensor a ({first_count}) must match the size of tensor b "
            f"({second_count}) at non-singleton dimension 0",
        )
    share = np.float32(blend_factor)
    mixed = image1 * (1 - share) + _blended(image1, second, blend_mode) * share
    return NodeOutput((np.clip(mixed, 0, 1),))


def _blended(under: Pixels, over: Pixels, mode: str) -> Pixels:
    match mode:
        case "multiply":
            return under * over
        case "screen":
            return 1 - (1 - under) * (1 - over)
        case "overlay":
            light = 1 - 2 * (1 - under) * (1 - over)
            return np.where(under <= 0.5, 2 * under * over, light).astype(np.float32)
        case "soft_light":
            curve = np.where(under <= 0.25, ((16 * under - 12) * under + 4) * under, np.sqrt(under))
            dark = under - (1 - 2 * over) * under * (1 - under)
            light = under + (2 * over - 1) * (curve - under)
            return np.where(over <= 0.5, dark, light).astype(np.float32)
        case "difference":
            return under - over
        case _:
            return over


def image_composite_masked(
    _context: NodeContext,
    *,
    destination: Pixels,
    source: Pixels,
    x: int,
    y: int,
    resize_source: bool,
    mask: Pixels | None = None,
) -> NodeOutput:
    """Lay the source over the destination at (x, y), through a mask if there is one."""
    count, height, width, channels = destination.shape
    source = source[..., :channels]
    if resize_source:
        source = resize(source, width, height)
    source = repeat_to(source, count)
    _, source_height, source_width, _ = source.shape
    if mask is None:
        cover: Pixels = np.ones((1, source_height, source_width), np.float32)
    else:
        cover = repeat_to(resize_masks(mask, source_width, source_height), count)
    shown_height, shown_width = max(0, height - y), max(0, width - x)
    cover = cover[:, :shown_height, :shown_width, None]
    over = source[:, :shown_height, :shown_width]
    result = destination.copy()
    place = result[:, y : y + source_height, x : x + source_width]
    place[...] = cover * over + (1 - cover) * place
    return NodeOutput((result,))


def image_pad_for_outpaint(
    _context: NodeContext,
    *,
    image: Pixels,
    left: int,
    top: int,
    right: int,
    bottom: int,
    feathering: int,
) -> NodeOutput:
    """Add a grey margin, and give a mask that is 1 there and fades into the old picture."""
    count, height, width, channels = image.shape
    full = (count, height + top + bottom, width + left + right, channels)
    require_room(*full)
    padded = np.full(full, 0.5, np.float32)
    padded[:, top : top + height, left : left + width] = image
    mask = np.ones((1, *full[1:3]), np.float32)
    mask[0, top : top + height, left : left + width] = _feather(
        width, height, (left, top, right, bottom), feathering
    )
    return NodeOutput((padded, mask))


def _feather(width: int, height: int, margins: tuple[int, int, int, int], reach: int) -> Pixels:
    """Fade from 1 at the sides that got a margin to 0 at `reach` pixels within."""
    if not 0 < 2 * reach < min(width, height):
        return np.zeros((height, width), np.float32)
    left, top, right, bottom = margins
    columns, rows = np.arange(width), np.arange(height)
    far_x = np.minimum(columns if left else width, width - columns if right else width)
    far_y = np.minimum(rows if top else height, height - rows if bottom else height)
    far = np.minimum(
        np.broadcast_to(far_y, (height,))[:, None], np.broadcast_to(far_x, (width,))[None, :]
    )
    return np.asarray(np.clip((reach - far) / reach, 0, 1) ** 2, np.float32)


NODES: Final = (
    NodeClass(
        name="ImageScale",
        run=image_scale,
        required={
            "image": ("IMAGE",),
            "upscale_method": choice(*_METHODS),
            "width": side(low=0),
            "height": side(low=0),
            "crop": choice("disabled", "center"),
        },
        outputs=("IMAGE",),
        display_name="Upscale Image",
        category="image/upscaling",
    ),
    NodeClass(
        name="ImageScaleBy",
        run=image_scale_by,
        required={
            "image": ("IMAGE",),
            "upscale_method": choice(*_METHODS),
            "scale_by": number(1.0, 0.01, 8.0, 0.01),
        },
        outputs=("IMAGE",),
        display_name="Upscale Image By",
        category="image/upscaling",
    ),
    NodeClass(
        name="ImageInvert",
        run=image_invert,
        required={"image": ("IMAGE",)},
        outputs=("IMAGE",),
        display_name="Invert Image",
        category="image",
    ),
    NodeClass(
        name="ImageBlur",
        run=image_blur,
        required={
            "image": ("IMAGE",),
            "blur_radius": integer(1, 1, 31, 1),
            "sigma": number(1.0, 0.1, 10.0, 0.1),
        },
        outputs=("IMAGE",),
        category="image/postprocessing",
        python_module=_POST,
        modern=True,
    ),
    NodeClass(
        name="ImageSharpen",
        run=image_sharpen,
        required={
            "image": ("IMAGE",),
            "sharpen_radius": integer(1, 1, 31, 1),
            "sigma": number(1.0, 0.1, 10.0, 0.01),
            "alpha": number(1.0, 0.0, 5.0, 0.01),
        },
        outputs=("IMAGE",),
        category="image/postprocessing",
        python_module=_POST,
        modern=True,
    ),
    NodeClass(
        name="ImageCrop",
        run=image_crop,
        required={
            "image": ("IMAGE",),
            "width": side(),
            "height": side(),
            "x": side(0, 0),
            "y": side(0, 0),
        },
        outputs=("IMAGE",),
        display_name="Image Crop",
        category="image/transform",
        python_module="comfy_extras.nodes_images",
    ),
    NodeClass(
        name="ImageBlend",
        run=image_blend,
        required={
            "image1": ("IMAGE",),
            "image2": ("IMAGE",),
            "blend_factor": number(0.5, 0.0, 1.0, 0.01),
            "blend_mode": combo(*_MODES),
        },
        outputs=("IMAGE",),
        category="image/postprocessing",
        python_module=_POST,
        modern=True,
    ),
    NodeClass(
        name="ImageCompositeMasked",
        run=image_composite_masked,
        required={
            "destination": ("IMAGE",),
            "source": ("IMAGE",),
            "x": side(0, 0),
            "y": side(0, 0),
            "resize_source": ("BOOLEAN", {"default": False}),
        },
        optional={"mask": ("MASK",)},
        outputs=("IMAGE",),
        display_name="ImageCompositeMasked",
        category="image",
        python_module="comfy_extras.nodes_mask",
    ),
    NodeClass(
        name="ImagePadForOutpaint",
        run=image_pad_for_outpaint,
        required={
            "image": ("IMAGE",),
            **{edge: side(0, 0, 8) for edge in ("left", "top", "right", "bottom")},
            "feathering": side(40, 0),
        },
        outputs=("IMAGE", "MASK"),
        display_name="Pad Image for Outpainting",
        category="image",
    ),
)
"""The classes of this module."""
