"""From pictures to latents and back: VAE nodes, and upscaling by a model.

Decoding is where a picture is painted. Its memory is charged without evicting
other models (see `node.Memory.work`): the decode peak a server underestimates,
which `VAEDecodeTiled` or unloading the models gets around.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from holdfast.comfyui.standin.memory import decode_bytes
from holdfast.comfyui.standin.node import NodeClass, NodeContext, NodeOutput
from holdfast.comfyui.standin.nodes.pixels import require_room, resize, resize_cropped
from holdfast.comfyui.standin.nodes.specs import integer, noted
from holdfast.comfyui.standin.nodes.values import Latent, UpscaleModel, Vae
from holdfast.comfyui.standin.painter import Pixels, noise, paint

_UPSCALE_TILE, _UPSCALE_OVERLAP, _UPSCALE_LEAST_TILE = 512, 32, 128
"""Pixels; an upscaler out of memory makes its tiles smaller by itself, down to the last."""


def render(latent: Latent) -> Pixels:
    """Turn a latent's story into pictures ``[frames * batch, height, width, 3]``.

    Costs about a tenth of a second for a megapixel and layer. An empty latent is grey.
    """
    return np.clip(_with_leftover(latent, _content(latent)), 0, 1)


def _content(latent: Latent) -> Pixels:
    shape = (latent.pictures, latent.height, latent.width, 3)
    if latent.recipe is None:
        if latent.pixels is not None:
            return latent.pixels
        if latent.under is None:
            return np.full(shape, 0.5, np.float32)
        return _fitted(latent)
    painted = np.empty(shape, np.float32)
    for index in range(latent.pictures):
        item, frame = divmod(index, latent.frames)
        painted[index] = paint(
            latent.recipe, latent.width, latent.height, frame=frame, item=latent.first + item
        )
    if latent.share < 1:
        share = np.float32(latent.share)
        painted *= share
        painted += (1 - share) * _fitted(latent)
    return painted


def _fitted(latent: Latent) -> Pixels:
    """Render what lies under a latent at the latent's own size."""
    if latent.under is None:
        return np.full((latent.pictures, latent.height, latent.width, 3), 0.5, np.float32)
    fit = resize_cropped if latent.cropped else resize
    return fit(_content(latent.under), latent.width, latent.height)


def _with_leftover(latent: Latent, pictures: Pixels) -> Pixels:
    story: Latent | None = latent
    while story is not None and story.recipe is None:
        story = story.under
    if latent.leftover <= 0 or story is None or story.recipe is None:
        return pictures
    grain = noise(story.recipe, latent.width, latent.height)
    return pictures + np.float32(latent.leftover) * (grain - pictures)


def vae_decode(context: NodeContext, *, samples: Latent, vae: Vae) -> NodeOutput:
    """Decode in one go. Memory: `decode_bytes` of the whole, no other model evicted.

    Raises:
        NodeError: out of memory, on the card or for the pictures themselves.
    """
    size = decode_bytes(samples.width, samples.height, frames=samples.frames, batch=samples.batch)
    return _decoded(context, samples, vae, size)


def vae_decode_tiled(
    context: NodeContext,
    *,
    samples: Latent,
    vae: Vae,
    tile_size: int,
    overlap: int,
    temporal_size: int,
    temporal_overlap: int,  # noqa: ARG001 - frames are never cut up here
) -> NodeOutput:
    """Decode tile by tile. Memory: `decode_bytes` of one tile, no other model evicted.

    Reports its tiles of pictures as progress; of video nothing, as on a real server.
    """
    width, height = min(tile_size, samples.width), min(tile_size, samples.height)
    size = decode_bytes(width, height, frames=min(temporal_size, samples.frames))
    if samples.frames > 1:
        return _decoded(context, samples, vae, size)
    overlap = min(overlap, tile_size // 4)
    shapes = (
        (tile_size, tile_size),
        (tile_size // 2, tile_size * 2),
        (tile_size * 2, tile_size // 2),
    )
    tiles = samples.batch * sum(
        _tiles(samples.width, wide, overlap) * _tiles(samples.height, high, overlap)
        for wide, high in shapes
    )
    return _decoded(context, samples, vae, size, tiles)


def _decoded(
    context: NodeContext, latent: Latent, vae: Vae, size: int, tiles: int = 0
) -> NodeOutput:
    context.memory.work(size, needs=vae.weights.place(context.memory), evict=False)
    require_room(latent.pictures, latent.height, latent.width, 3)
    context.sleep(context.step_seconds)
    for tile in range(1, tiles + 1):
        context.progress(tile, tiles)
    return NodeOutput((render(latent),))


def _tiles(length: int, tile: int, overlap: int) -> int:
    return 1 if length <= tile else math.ceil((length - overlap) / (tile - overlap))


def vae_encode(context: NodeContext, *, pixels: Pixels, vae: Vae) -> NodeOutput:
    """Encode pictures, cut about their centre to multiples of 8. Memory: half a decode's.

    Transparency is dropped.
    """
    count, height, width, _ = pixels.shape
    size = decode_bytes(width, height, batch=count) // 2
    context.memory.work(size, needs=vae.weights.place(context.memory))
    context.sleep(context.step_seconds)
    top, left = height % 8 // 2, width % 8 // 2
    height, width = height // 8 * 8, width // 8 * 8
    cut = pixels[:, top : top + height, left : left + width, :3]
    return NodeOutput((Latent(width, height, batch=count, pixels=cut),))


def upscale_with_model(
    context: NodeContext, *, upscale_model: UpscaleModel, image: Pixels
) -> NodeOutput:
    """Enlarge pictures by the model's factor, in tiles. Reports tiles as progress.

    Memory: the pictures themselves and `decode_bytes` of the smallest enlarged tile.
    """
    count, height, width, channels = image.shape
    scale = upscale_model.scale
    tile = _UPSCALE_LEAST_TILE * scale
    size = count * height * width * channels * 4 + decode_bytes(tile, tile)
    context.memory.work(size, needs=upscale_model.weights.place(context.memory))
    require_room(count, height * scale, width * scale, channels)
    tiles = count
    for length in (width, height):
        tiles *= _tiles(length, _UPSCALE_TILE, _UPSCALE_OVERLAP)
    for done in range(1, tiles + 1):
        context.sleep(context.step_seconds)
        context.progress(done, tiles)
    return NodeOutput((resize(image, width * scale, height * scale, "lanczos"),))


NODES: Final = (
    NodeClass(
        name="VAEDecode",
        run=vae_decode,
        required={"samples": noted("LATENT"), "vae": noted("VAE")},
        outputs=("IMAGE",),
        display_name="VAE Decode",
        category="latent",
        description="Decodes latents into pictures.",
    ),
    NodeClass(
        name="VAEDecodeTiled",
        run=vae_decode_tiled,
        required={
            "samples": ("LATENT",),
            "vae": ("VAE",),
            "tile_size": integer(512, 64, 4096, 32),
            "overlap": integer(64, 0, 4096, 32),
            "temporal_size": integer(64, 8, 4096, 4),
            "temporal_overlap": integer(8, 4, 4096, 4),
        },
        outputs=("IMAGE",),
        display_name="VAE Decode (Tiled)",
        category="_for_testing",
    ),
    NodeClass(
        name="VAEEncode",
        run=vae_encode,
        required={"pixels": ("IMAGE",), "vae": ("VAE",)},
        outputs=("LATENT",),
        display_name="VAE Encode",
        category="latent",
    ),
    NodeClass(
        name="ImageUpscaleWithModel",
        run=upscale_with_model,
        required={"upscale_model": ("UPSCALE_MODEL",), "image": ("IMAGE",)},
        outputs=("IMAGE",),
        display_name="Upscale Image (using Model)",
        category="image/upscaling",
        python_module="comfy_extras.nodes_upscale_model",
        modern=True,
    ),
)
"""The classes of this module."""
