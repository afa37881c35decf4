"""Nodes that make empty latents and resize latents.

Sizes are cut to what the family can hold without a word, as on a real server:
sides to whole cells, frames to ``stride * n + 1``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from holdfast.comfyui.standin.node import NodeClass, NodeContext, NodeError, NodeOutput
from holdfast.comfyui.standin.nodes.pixels import require_room
from holdfast.comfyui.standin.nodes.specs import BATCH_SIZE, MAX_SIDE, choice, integer, number, side
from holdfast.comfyui.standin.nodes.values import Latent

_METHODS: Final = ("nearest-exact", "bilinear", "area", "bicubic", "bislerp")


def _empty(latent: Latent, channels: int) -> NodeOutput:
    latent_frames = (latent.frames - 1) // latent.stride + 1
    cells = (latent.height // latent.cell, latent.width // latent.cell)
    require_room(latent.batch, channels, latent_frames, *cells)
    return NodeOutput((latent,))


def empty_latent_image(
    _context: NodeContext, *, width: int, height: int, batch_size: int = 1
) -> NodeOutput:
    """Make an empty latent; sides are cut to multiples of 8 in silence."""
    return _empty(Latent(width // 8 * 8, height // 8 * 8, batch=batch_size), channels=4)


def empty_sd3_latent_image(
    _context: NodeContext, *, width: int, height: int, batch_size: int = 1
) -> NodeOutput:
    """Make an empty latent of 16 channels, as SD3 and Flux want."""
    return _empty(Latent(width // 8 * 8, height // 8 * 8, batch=batch_size), channels=16)


def empty_ltxv_latent_video(
    _context: NodeContext, *, width: int, height: int, length: int, batch_size: int = 1
) -> NodeOutput:
    """Make an empty video latent: sides multiples of 32, frames of the form 8n+1."""
    frames = (length - 1) // 8 * 8 + 1
    size = (width // 32 * 32, height // 32 * 32)
    return _empty(Latent(*size, frames, batch_size, cell=32, stride=8), channels=128)


def empty_hunyuan_latent_video(
    _context: NodeContext, *, width: int, height: int, length: int, batch_size: int = 1
) -> NodeOutput:
    """Make an empty video latent for Hunyuan and Wan: frames of the form 4n+1."""
    frames = (length - 1) // 4 * 4 + 1
    size = (width // 8 * 8, height // 8 * 8)
    return _empty(Latent(*size, frames, batch_size, stride=4), channels=16)


def latent_upscale(
    _context: NodeContext,
    *,
    samples: Latent,
    upscale_method: str,  # noqa: ARG001 - all methods look alike here
    width: int,
    height: int,
    crop: str,
) -> NodeOutput:
    """Resize a latent; one side of 0 follows from the proportions, two leave it alone."""
    if width == height == 0:
        return NodeOutput((samples,))
    width = width or round(samples.width * height / samples.height)
    height = height or round(samples.height * width / samples.width)
    size = (max(64, width), max(64, height))
    return NodeOutput((_resized(samples, *size, cropped=crop == "center"),))


def latent_upscale_by(
    _context: NodeContext,
    *,
    samples: Latent,
    upscale_method: str,  # noqa: ARG001 - all methods look alike here
    scale_by: float,
) -> NodeOutput:
    """Scale a latent by a factor, in whole cells."""
    cells = [round(pixels / samples.cell * scale_by) for pixels in (samples.width, samples.height)]
    if min(cells) < 1:
        raise NodeError("RuntimeError", "Input and output sizes should be greater than 0")
    return NodeOutput((_resized(samples, *(count * samples.cell for count in cells)),))


def latent_from_batch(
    _context: NodeContext, *, samples: Latent, batch_index: int, length: int
) -> NodeOutput:
    """Cut some items out of a batch; each keeps its place, and with it its noise."""
    start = min(samples.batch - 1, batch_index)
    count = min(samples.batch - start, length)
    pixels = samples.pixels
    if pixels is not None:
        pixels = pixels[start * samples.frames : (start + count) * samples.frames]
    under = samples.under
    if under is not None:
        (under,) = latent_from_batch(
            _context, samples=under, batch_index=batch_index, length=length
        ).values
    return NodeOutput(
        (replace(samples, batch=count, first=samples.first + start, pixels=pixels, under=under),)
    )


def _resized(latent: Latent, width: int, height: int, *, cropped: bool = False) -> Latent:
    return Latent(
        width=width // latent.cell * latent.cell,
        height=height // latent.cell * latent.cell,
        frames=latent.frames,
        batch=latent.batch,
        first=latent.first,
        cell=latent.cell,
        stride=latent.stride,
        leftover=latent.leftover,
        under=latent,
        cropped=cropped,
    )


_IMAGE_SIZE: Final = {"width": side(low=16, step=8), "height": side(low=16, step=8)}
_RESIZE_METHOD: Final = choice(*_METHODS)

NODES: Final = (
    NodeClass(
        name="EmptyLatentImage",
        run=empty_latent_image,
        required={**_IMAGE_SIZE, "batch_size": BATCH_SIZE},
        outputs=("LATENT",),
        display_name="Empty Latent Image",
        category="latent",
        description="Makes a batch of empty latents to sample from.",
    ),
    NodeClass(
        name="EmptySD3LatentImage",
        run=empty_sd3_latent_image,
        required={
            "width": side(1024, 16, 16),
            "height": side(1024, 16, 16),
            "batch_size": BATCH_SIZE,
        },
        outputs=("LATENT",),
        category="latent/sd3",
        python_module="comfy_extras.nodes_sd3",
        modern=True,
    ),
    NodeClass(
        name="EmptyLTXVLatentVideo",
        run=empty_ltxv_latent_video,
        required={
            "width": side(768, 64, 32),
            "height": side(512, 64, 32),
            "length": integer(97, 1, MAX_SIDE, 8),
            "batch_size": BATCH_SIZE,
        },
        outputs=("LATENT",),
        category="latent/video/ltxv",
        python_module="comfy_extras.nodes_lt",
        modern=True,
    ),
    NodeClass(
        name="EmptyHunyuanLatentVideo",
        run=empty_hunyuan_latent_video,
        required={
            "width": side(848, 16, 16),
            "height": side(480, 16, 16),
            "length": integer(25, 1, MAX_SIDE, 4),
            "batch_size": BATCH_SIZE,
        },
        outputs=("LATENT",),
        display_name="EmptyHunyuanLatentVideo",
        category="latent/video",
        python_module="comfy_extras.nodes_hunyuan",
    ),
    NodeClass(
        name="LatentFromBatch",
        run=latent_from_batch,
        required={
            "samples": ("LATENT",),
            "batch_index": integer(0, 0, 63),
            "length": integer(1, 1, 64),
        },
        outputs=("LATENT",),
        display_name="Latent From Batch",
        category="latent/batch",
    ),
    NodeClass(
        name="LatentUpscale",
        run=latent_upscale,
        required={
            "samples": ("LATENT",),
            "upscale_method": _RESIZE_METHOD,
            "width": side(low=0, step=8),
            "height": side(low=0, step=8),
            "crop": choice("disabled", "center"),
        },
        outputs=("LATENT",),
        display_name="Upscale Latent",
        category="latent",
    ),
    NodeClass(
        name="LatentUpscaleBy",
        run=latent_upscale_by,
        required={
            "samples": ("LATENT",),
            "upscale_method": _RESIZE_METHOD,
            "scale_by": number(1.5, 0.01, 8.0, 0.01),
        },
        outputs=("LATENT",),
        display_name="Upscale Latent By",
        category="latent",
    ),
)
"""The classes of this module."""
