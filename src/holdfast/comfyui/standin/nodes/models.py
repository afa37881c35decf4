"""Nodes that load models and change how they sample, and nodes that encode text.

Nothing is read from model files: a name, a size and a place in graphics memory
are all there is to a model here. A file the server marks as corrupt fails as a
damaged safetensors file does.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

from holdfast.comfyui.standin.memory import MIB, guess_bytes, weights_key
from holdfast.comfyui.standin.node import NodeClass, NodeContext, NodeError, NodeOutput, ServerFiles
from holdfast.comfyui.standin.nodes.specs import choice, combo, noted, number
from holdfast.comfyui.standin.nodes.values import (
    Clip,
    Conditioning,
    Model,
    UpscaleModel,
    Vae,
    Weights,
)

_MODEL_SHARE, _CLIP_SHARE, _VAE_SHARE = 0.76, 0.21, 0.03
"""How a checkpoint's bytes divide among its parts."""

_LORA_SHARE: Final = 0.02
"""What a patched-in LoRA adds to its model."""

_ENCODE_BYTES: Final = 64 * MIB
_PIXEL_SPACE: Final = "pixel_space"
_STRENGTH: Final = number(1.0, -100.0, 100.0, 0.01)
_LORA_DESCRIPTION: Final = "Patches a LoRA into a model. Several can follow one another."


def _opened(context: NodeContext, folder: str, name: str) -> int:
    """Open a model file and return its size (bytes), or fail as a corrupt one does."""
    if context.is_corrupt(folder, name):
        raise NodeError(
            "safetensors._safetensors_rust.SafetensorError",
            "Error while deserializing header: header too large",
        )
    return guess_bytes(name, folder)


def load_checkpoint(context: NodeContext, *, ckpt_name: str) -> NodeOutput:
    """Load a model, its text encoder and its VAE from one file."""
    folder = "checkpoints"
    size = _opened(context, folder, ckpt_name)

    def part(name: str, share: float) -> Weights:
        return Weights(weights_key(folder, ckpt_name, name), round(size * share))

    model = Model(ckpt_name, part("model", _MODEL_SHARE))
    clip = Clip(ckpt_name, (part("clip", _CLIP_SHARE),))
    vae = Vae(ckpt_name, part("vae", _VAE_SHARE))
    return NodeOutput((model, clip, vae))


def load_unet(context: NodeContext, *, unet_name: str, weight_dtype: str) -> NodeOutput:
    """Load a diffusion model alone; 8-bit weights halve a file that is not 8-bit already."""
    folder = "diffusion_models"
    size = _opened(context, folder, unet_name)
    if weight_dtype.startswith("fp8") and not re.search(r"fp8|q[2-8]|nf4", unet_name.lower()):
        size //= 2
    key = weights_key(folder, unet_name, f"model@{weight_dtype}")
    return NodeOutput((Model(unet_name, Weights(key, size)),))


def load_clip(
    context: NodeContext, *, clip_name: str, device: str = "default", **_kind: Any
) -> NodeOutput:
    """Load a text encoder; on the CPU it takes no graphics memory."""
    return load_text_encoders(context, (clip_name,), device)


def load_dual_clip(
    context: NodeContext, *, clip_name1: str, clip_name2: str, device: str = "default", **_kind: Any
) -> NodeOutput:
    """Load two text encoders that work together."""
    return load_text_encoders(context, (clip_name1, clip_name2), device)


def load_text_encoders(context: NodeContext, names: tuple[str, ...], device: str) -> NodeOutput:
    """Load text encoders that work together; on the CPU they take no graphics memory."""
    folder = "text_encoders"
    sizes = [_opened(context, folder, name) for name in names]
    weights = tuple(
        Weights(weights_key(folder, name, "clip"), size)
        for name, size in zip(names, sizes, strict=True)
    )
    return NodeOutput((Clip(" + ".join(names), () if device == "cpu" else weights),))


def load_vae(context: NodeContext, *, vae_name: str) -> NodeOutput:
    """Load a VAE."""
    size = _opened(context, "vae", vae_name)
    return NodeOutput((Vae(vae_name, Weights(weights_key("vae", vae_name, "vae"), size)),))


def _vae_names(files: ServerFiles) -> list[str]:
    return [*files.models("vae"), _PIXEL_SPACE]


def load_upscale_model(context: NodeContext, *, model_name: str) -> NodeOutput:
    """Load an upscaler; a name such as ``4x-...`` or ``..._x2`` tells its factor, else 4."""
    folder = "upscale_models"
    size = _opened(context, folder, model_name)
    found = re.search(r"(?<!\d)(?:([1-8])x|x([1-8]))(?!\d)", model_name.lower())
    scale = int(found[1] or found[2]) if found else 4
    weights = Weights(weights_key(folder, model_name, "upscaler"), size)
    return NodeOutput((UpscaleModel(model_name, weights, scale),))


def load_lora(
    context: NodeContext,
    *,
    model: Model,
    clip: Clip,
    lora_name: str,
    strength_model: float,
    strength_clip: float,
) -> NodeOutput:
    """Patch a LoRA into a model and its text encoder; with no strength the file is not opened."""
    if strength_model == strength_clip == 0:
        return NodeOutput((model, clip))
    patched = _with_lora(context, model, lora_name, strength_model)
    return NodeOutput((patched, replace(clip, loras=(*clip.loras, (lora_name, strength_clip)))))


def load_lora_model_only(
    context: NodeContext, *, model: Model, lora_name: str, strength_model: float
) -> NodeOutput:
    """Patch a LoRA into a model."""
    if strength_model == 0:
        return NodeOutput((model,))
    return NodeOutput((_with_lora(context, model, lora_name, strength_model),))


def _with_lora(context: NodeContext, model: Model, name: str, strength: float) -> Model:
    _opened(context, "loras", name)
    weights = replace(model.weights, size=round(model.weights.size * (1 + _LORA_SHARE)))
    return replace(model, weights=weights, loras=(*model.loras, (name, strength)))


def model_sampling_sd3(_context: NodeContext, *, model: Model, shift: float) -> NodeOutput:
    """Set the time shift of a flow model."""
    return NodeOutput((replace(model, shift=shift),))


def encode_text(context: NodeContext, *, text: str, clip: Clip) -> NodeOutput:
    """Encode a prompt; a LoRA in the text encoder becomes part of what is said."""
    keys = tuple(key for weights in clip.weights for key in weights.place(context.memory))
    if keys:
        context.memory.work(_ENCODE_BYTES, needs=keys)
    spoken = "".join(f" <{name}:{strength}>" for name, strength in clip.loras)
    return NodeOutput((Conditioning((text + spoken,)),))


def combine_conditioning(
    _context: NodeContext, *, conditioning_1: Conditioning, conditioning_2: Conditioning
) -> NodeOutput:
    """Ask for both."""
    texts = conditioning_1.texts + conditioning_2.texts
    return NodeOutput((replace(conditioning_1, texts=texts),))


def zero_out_conditioning(_context: NodeContext, *, conditioning: Conditioning) -> NodeOutput:
    """Ask for nothing."""
    return NodeOutput((replace(conditioning, texts=("",)),))


def flux_guidance(
    _context: NodeContext, *, conditioning: Conditioning, guidance: float
) -> NodeOutput:
    """Set the guidance of a model that has it built in."""
    return NodeOutput((replace(conditioning, guidance=guidance),))


NODES: Final = (
    NodeClass(
        name="CheckpointLoaderSimple",
        run=load_checkpoint,
        required={"ckpt_name": noted(choice())},
        outputs=("MODEL", "CLIP", "VAE"),
        display_name="Load Checkpoint",
        category="loaders",
        description="Loads a diffusion model together with its text encoder and VAE.",
        choices={"ckpt_name": lambda files: files.models("checkpoints")},
    ),
    NodeClass(
        name="UNETLoader",
        run=load_unet,
        required={
            "unet_name": choice(),
            "weight_dtype": choice("default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"),
        },
        outputs=("MODEL",),
        display_name="Load Diffusion Model",
        category="advanced/loaders",
        choices={"unet_name": lambda files: files.models("diffusion_models")},
    ),
    NodeClass(
        name="CLIPLoader",
        run=load_clip,
        required={
            "clip_name": choice(),
            "type": choice(
                *("stable_diffusion", "stable_cascade", "sd3", "stable_audio", "mochi", "ltxv"),
                *("pixart", "cosmos", "lumina2", "wan", "hidream", "chroma", "ace", "omnigen2"),
                *("qwen_image", "hunyuan_image"),
            ),
        },
        optional={"device": choice("default", "cpu", advanced=True)},
        outputs=("CLIP",),
        display_name="Load CLIP",
        category="advanced/loaders",
        description="Loads one text encoder for the family named by `type`.",
        choices={"clip_name": lambda files: files.models("text_encoders")},
    ),
    NodeClass(
        name="DualCLIPLoader",
        run=load_dual_clip,
        required={
            "clip_name1": choice(),
            "clip_name2": choice(),
            "type": choice("sdxl", "sd3", "flux", "hunyuan_video", "hidream", "hunyuan_image"),
        },
        optional={"device": choice("default", "cpu", advanced=True)},
        outputs=("CLIP",),
        display_name="DualCLIPLoader",
        category="advanced/loaders",
        description="Loads two text encoders for the family named by `type`.",
        choices={
            "clip_name1": lambda files: files.models("text_encoders"),
            "clip_name2": lambda files: files.models("text_encoders"),
        },
    ),
    NodeClass(
        name="VAELoader",
        run=load_vae,
        required={"vae_name": choice(_PIXEL_SPACE)},
        outputs=("VAE",),
        display_name="Load VAE",
        category="loaders",
        choices={"vae_name": _vae_names},
    ),
    NodeClass(
        name="UpscaleModelLoader",
        run=load_upscale_model,
        required={"model_name": combo()},
        outputs=("UPSCALE_MODEL",),
        display_name="Load Upscale Model",
        category="loaders",
        python_module="comfy_extras.nodes_upscale_model",
        choices={"model_name": lambda files: files.models("upscale_models")},
        modern=True,
    ),
    NodeClass(
        name="LoraLoader",
        run=load_lora,
        required={
            "model": noted("MODEL"),
            "clip": noted("CLIP"),
            "lora_name": noted(choice()),
            "strength_model": _STRENGTH,
            "strength_clip": _STRENGTH,
        },
        outputs=("MODEL", "CLIP"),
        display_name="Load LoRA",
        category="loaders",
        description=_LORA_DESCRIPTION,
        choices={"lora_name": lambda files: files.models("loras")},
    ),
    NodeClass(
        name="LoraLoaderModelOnly",
        run=load_lora_model_only,
        required={"model": ("MODEL",), "lora_name": choice(), "strength_model": _STRENGTH},
        outputs=("MODEL",),
        display_name="LoraLoaderModelOnly",
        category="loaders",
        description=_LORA_DESCRIPTION,
        choices={"lora_name": lambda files: files.models("loras")},
    ),
    NodeClass(
        name="ModelSamplingSD3",
        run=model_sampling_sd3,
        required={"model": ("MODEL",), "shift": number(3.0, 0.0, 100.0, 0.01)},
        outputs=("MODEL",),
        display_name="ModelSamplingSD3",
        category="advanced/model",
        python_module="comfy_extras.nodes_model_advanced",
    ),
    NodeClass(
        name="CLIPTextEncode",
        run=encode_text,
        required={
            "text": ("STRING", {"multiline": True, "dynamicPrompts": True}),
            "clip": noted("CLIP"),
        },
        outputs=("CONDITIONING",),
        display_name="CLIP Text Encode (Prompt)",
        category="conditioning",
        description="Turns a prompt into what guides the sampler.",
    ),
    NodeClass(
        name="ConditioningCombine",
        run=combine_conditioning,
        required={"conditioning_1": ("CONDITIONING",), "conditioning_2": ("CONDITIONING",)},
        outputs=("CONDITIONING",),
        display_name="Conditioning (Combine)",
        category="conditioning",
    ),
    NodeClass(
        name="ConditioningZeroOut",
        run=zero_out_conditioning,
        required={"conditioning": ("CONDITIONING",)},
        outputs=("CONDITIONING",),
        display_name="ConditioningZeroOut",
        category="advanced/conditioning",
    ),
    NodeClass(
        name="FluxGuidance",
        run=flux_guidance,
        required={"conditioning": ("CONDITIONING",), "guidance": number(3.5, 0.0, 100.0, 0.1)},
        outputs=("CONDITIONING",),
        category="advanced/conditioning/flux",
        python_module="comfy_extras.nodes_flux",
        modern=True,
    ),
)
"""The classes of this module."""
