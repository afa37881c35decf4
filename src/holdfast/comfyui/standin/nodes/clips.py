"""Nodes that begin a clip: from nothing or from a picture, as LTX-Video and Wan want it.

The first picture is not kept to: a clip here is painted anew, and only what it
was begun from is part of its recipe.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from holdfast.comfyui.standin.memory import guess_bytes, weights_key
from holdfast.comfyui.standin.node import NodeClass, NodeContext, NodeError, NodeOutput
from holdfast.comfyui.standin.nodes.latents import (
    empty_hunyuan_latent_video,
    empty_ltxv_latent_video,
)
from holdfast.comfyui.standin.nodes.models import load_text_encoders
from holdfast.comfyui.standin.nodes.pixels import require_room
from holdfast.comfyui.standin.nodes.specs import (
    BATCH_SIZE,
    MAX_SIDE,
    choice,
    combo,
    integer,
    number,
    side,
)
from holdfast.comfyui.standin.nodes.values import Conditioning, Latent, Vae, Weights
from holdfast.comfyui.standin.painter import Pixels


@dataclass(frozen=True, slots=True)
class ClipVision:
    """A CLIP_VISION: an encoder of pictures."""

    name: str
    weights: Weights


def load_clip_vision(context: NodeContext, *, clip_name: str) -> NodeOutput:
    """Load an encoder of pictures."""
    folder = "clip_vision"
    if context.is_corrupt(folder, clip_name):
        raise NodeError(
            "safetensors._safetensors_rust.SafetensorError",
            "Error while deserializing header: header too large",
        )
    size = guess_bytes(clip_name, folder)
    return NodeOutput((ClipVision(clip_name, Weights(weights_key(folder, clip_name, "v"), size)),))


def encode_clip_vision(
    context: NodeContext,
    *,
    clip_vision: ClipVision,
    image: Pixels,
    crop: str,
) -> NodeOutput:
    """Encode a picture: what is left of it is its digest."""
    del crop
    clip_vision.weights.place(context.memory)
    return NodeOutput((_digest(image),))


def load_triple_clip(
    context: NodeContext, *, clip_name1: str, clip_name2: str, clip_name3: str
) -> NodeOutput:
    """Load three text encoders that work together."""
    return load_text_encoders(context, (clip_name1, clip_name2, clip_name3), "default")


def ltxv_conditioning(
    _context: NodeContext, *, positive: Conditioning, negative: Conditioning, frame_rate: float
) -> NodeOutput:
    """Tell the model how quickly frames follow each other; it changes nothing here."""
    del frame_rate
    return NodeOutput((positive, negative))


def ltxv_from_image(
    context: NodeContext,
    *,
    positive: Conditioning,
    negative: Conditioning,
    vae: Vae,
    image: Pixels,
    strength: float,
    **size: int,
) -> NodeOutput:
    """Begin a clip of LTX-Video with a picture."""
    del strength
    vae.weights.place(context.memory)
    (latent,) = empty_ltxv_latent_video(context, **size).values
    return NodeOutput((_begun_with(positive, image), negative, latent))


def wan_from_image(
    context: NodeContext,
    *,
    positive: Conditioning,
    negative: Conditioning,
    vae: Vae,
    start_image: Pixels | None = None,
    clip_vision_output: str | None = None,
    **size: int,
) -> NodeOutput:
    """Begin a clip of Wan with a picture."""
    del clip_vision_output
    vae.weights.place(context.memory)
    (latent,) = empty_hunyuan_latent_video(context, **size).values
    if start_image is not None:
        positive = _begun_with(positive, start_image)
    return NodeOutput((positive, negative, latent))


def wan22_latent(
    context: NodeContext,
    *,
    vae: Vae,
    width: int,
    height: int,
    length: int,
    batch_size: int,
    start_image: Pixels | None = None,
) -> NodeOutput:
    """Begin a clip of Wan 2.2 5B: larger cells, frames of the form 4n+1."""
    del start_image
    vae.weights.place(context.memory)
    frames = (length - 1) // 4 * 4 + 1
    size = (width // 16 * 16, height // 16 * 16)
    require_room(batch_size, 48, (frames - 1) // 4 + 1, size[1] // 16, size[0] // 16)
    return NodeOutput((Latent(*size, frames, batch_size, cell=16, stride=4),))


def repeat_latent(_context: NodeContext, *, samples: Latent, amount: int) -> NodeOutput:
    """Have the same latent several times."""
    pixels = None if samples.pixels is None else np.tile(samples.pixels, (amount, 1, 1, 1))
    under = samples.under
    if under is not None and amount > 1:
        (under,) = repeat_latent(_context, samples=under, amount=amount).values
    return NodeOutput((replace(samples, batch=samples.batch * amount, pixels=pixels, under=under),))


def _begun_with(positive: Conditioning, image: Pixels) -> Conditioning:
    return replace(positive, texts=(*positive.texts, f"<from {_digest(image)}>"))


def _digest(image: Pixels) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()[:12]


def _clip_size(
    width: int, height: int, length: int, *, step: int, fewest: int = 1
) -> dict[str, Any]:
    least = 64 if step == 32 and fewest == 9 else step
    return {
        "width": side(width, least, step),
        "height": side(height, least, step),
        "length": integer(length, fewest, MAX_SIDE, 8 if fewest == 9 else 4),
        "batch_size": BATCH_SIZE,
    }


_SPOKEN: Final = {"positive": ("CONDITIONING",), "negative": ("CONDITIONING",)}
_BEGUN: Final = ("CONDITIONING", "CONDITIONING", "LATENT")
_BEGUN_NAMES: Final = ("positive", "negative", "latent")
_TEXT_ENCODERS: Final = ("clip_name1", "clip_name2", "clip_name3")

NODES: Final = (
    NodeClass(
        name="CLIPVisionLoader",
        run=load_clip_vision,
        required={"clip_name": choice()},
        outputs=("CLIP_VISION",),
        display_name="Load CLIP Vision",
        category="loaders",
        choices={"clip_name": lambda files: files.models("clip_vision")},
    ),
    NodeClass(
        name="CLIPVisionEncode",
        run=encode_clip_vision,
        required={
            "clip_vision": ("CLIP_VISION",),
            "image": ("IMAGE",),
            "crop": choice("center", "none"),
        },
        outputs=("CLIP_VISION_OUTPUT",),
        display_name="CLIP Vision Encode",
        category="conditioning",
    ),
    NodeClass(
        name="TripleCLIPLoader",
        run=load_triple_clip,
        required={name: combo() for name in _TEXT_ENCODERS},
        outputs=("CLIP",),
        category="advanced/loaders",
        description="Loads three text encoders that work together.",
        python_module="comfy_extras.nodes_sd3",
        choices={name: lambda files: files.models("text_encoders") for name in _TEXT_ENCODERS},
        modern=True,
    ),
    NodeClass(
        name="LTXVConditioning",
        run=ltxv_conditioning,
        required={**_SPOKEN, "frame_rate": number(25.0, 0.0, 1000.0, 0.01)},
        outputs=("CONDITIONING", "CONDITIONING"),
        output_names=("positive", "negative"),
        category="conditioning/video_models",
        python_module="comfy_extras.nodes_lt",
        modern=True,
    ),
    NodeClass(
        name="LTXVImgToVideo",
        run=ltxv_from_image,
        required={
            **_SPOKEN,
            "vae": ("VAE",),
            "image": ("IMAGE",),
            **_clip_size(768, 512, 97, step=32, fewest=9),
            "strength": number(1.0, 0.0, 1.0),
        },
        outputs=_BEGUN,
        output_names=_BEGUN_NAMES,
        category="conditioning/video_models",
        python_module="comfy_extras.nodes_lt",
        modern=True,
    ),
    NodeClass(
        name="WanImageToVideo",
        run=wan_from_image,
        required={**_SPOKEN, "vae": ("VAE",), **_clip_size(832, 480, 81, step=16)},
        optional={"clip_vision_output": ("CLIP_VISION_OUTPUT",), "start_image": ("IMAGE",)},
        outputs=_BEGUN,
        output_names=_BEGUN_NAMES,
        category="conditioning/video_models",
        python_module="comfy_extras.nodes_wan",
        modern=True,
    ),
    NodeClass(
        name="Wan22ImageToVideoLatent",
        run=wan22_latent,
        required={"vae": ("VAE",), **_clip_size(1280, 704, 49, step=32)},
        optional={"start_image": ("IMAGE",)},
        outputs=("LATENT",),
        category="conditioning/inpaint",
        python_module="comfy_extras.nodes_wan",
        modern=True,
    ),
    NodeClass(
        name="RepeatLatentBatch",
        run=repeat_latent,
        required={"samples": ("LATENT",), "amount": integer(1, 1, 64)},
        outputs=("LATENT",),
        display_name="Repeat Latent Batch",
        category="latent/batch",
    ),
)
"""The classes of this module."""
