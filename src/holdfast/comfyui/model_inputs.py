r"""Which inputs of a workflow name model files, in which folder they lie, and what was meant.

A server lists the models it has as the values of its loaders' inputs, so a
missing model and a mistyped word look alike. This tells them apart, and finds
the name that a server writes differently: Windows puts ``\`` where others put
``/``, and file systems disagree on the case of letters.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

MODEL_ENDINGS = (
    ".safetensors",
    ".sft",
    ".ckpt",
    ".pt",
    ".pt2",
    ".pth",
    ".bin",
    ".pkl",
    ".gguf",
    ".onnx",
)
"""What names of model files end with."""

_BY_INPUT = {
    "ckpt_name": "checkpoints",
    "unet_name": "diffusion_models",
    "vae_name": "vae",
    "lora_name": "loras",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "clip_name3": "text_encoders",
    "clip_name4": "text_encoders",
    "control_net_name": "controlnet",
    "style_model_name": "style_models",
    "gligen_name": "gligen",
    "hypernetwork_name": "hypernetworks",
    "photomaker_model_name": "photomaker",
    "audio_encoder_name": "audio_encoders",
    "text_encoder": "text_encoders",
}
_BY_CLASS = {
    ("CLIPVisionLoader", "clip_name"): "clip_vision",
    ("UpscaleModelLoader", "model_name"): "upscale_models",
    ("ModelPatchLoader", "name"): "model_patches",
    ("DiffusersLoader", "model_path"): "diffusers",
    ("LatentUpscaleModelLoader", "model_name"): "latent_upscale_models",
    ("WanVideoModelLoader", "model"): "diffusion_models",
    ("WanVideoVAELoader", "model_name"): "vae",
    ("LoadWanVideoT5TextEncoder", "model_name"): "text_encoders",
    ("WanVideoLoraSelect", "lora"): "loras",
    ("ADE_LoadAnimateDiffModel", "model_name"): "animatediff_models",
    ("ADE_AnimateDiffLoaderGen1", "model_name"): "animatediff_models",
    ("ADE_AnimateDiffLoaderWithContext", "model_name"): "animatediff_models",
    ("UltralyticsDetectorProvider", "model_name"): "ultralytics",
    ("SAMLoader", "model_name"): "sams",
}

NEAR_LIMIT = 2_000
"""Names that are compared letter by letter; lists longer than this exist."""
NAME_LIMIT = 200
"""Characters of a name that are compared."""


def model_folder(
    class_type: str, input_name: str, value: object = None, choices: Sequence[Any] | None = None
) -> str | None:
    """The model folder that an input names files of.

    Args:
        class_type: of the node.
        input_name: of the input.
        value: what it is set to.
        choices: the values the server takes there.

    Returns:
        Such as ``checkpoints``; an empty string if it names a model and nobody knows which
        folder; None if it names no model.
    """
    known = _BY_CLASS.get((class_type, input_name))
    if known is not None:
        return known
    loads = "load" in class_type.lower() or "hook" in class_type.lower()
    if input_name in _BY_INPUT and (loads or looks_like_model(value)):
        return _BY_INPUT[input_name]
    if looks_like_model(value):
        return ""
    if choices and not isinstance(value, bool | int | float):
        named = sum(1 for each in choices[:NEAR_LIMIT] if looks_like_model(each))
        if named * 2 > min(len(choices), NEAR_LIMIT):
            return ""
    return None


def looks_like_model(value: object) -> bool:
    """Whether a value is the name of a model file, by its ending."""
    return isinstance(value, str) and value.lower().endswith(MODEL_ENDINGS)


def same_choice(value: object, choices: Iterable[Any]) -> str | None:
    r"""The one choice that is ``value`` but for ``\`` against ``/`` and the case of letters.

    Returns:
        None if there is none, or more than one.
    """
    if not isinstance(value, str):
        return None
    wanted = _folded(value)
    texts = [each for each in choices if isinstance(each, str)]
    found = [each for each in texts if _folded(each) == wanted]
    if len(found) > 1:
        # Two files may differ in case alone; then only the separator may be at fault.
        found = [each for each in found if slashed(each) == slashed(value)]
    return found[0] if len(found) == 1 else None


def near_choices(value: object, choices: Iterable[Any], *, count: int = 3) -> list[str]:
    """The choices that may be meant, the nearest first; the same file elsewhere comes first."""
    if not isinstance(value, str):
        return []
    texts = [each for each in choices if isinstance(each, str)]
    wanted = _folded(value[:NAME_LIMIT])
    last = wanted.rsplit("/", 1)[-1]
    found = [each for each in texts if last and _folded(each).rsplit("/", 1)[-1] == last]
    folded: dict[str, str] = {}
    for each in texts[:NEAR_LIMIT]:
        folded.setdefault(_stem(_folded(each))[:NAME_LIMIT], each)
    close = difflib.get_close_matches(_stem(wanted), folded, n=count, cutoff=0.6)
    return list(dict.fromkeys([*found, *(folded[each] for each in close)]))[:count]


def _stem(name: str) -> str:
    # Endings are long, and would make all names of models alike.
    ending = next((each for each in MODEL_ENDINGS if name.endswith(each)), "")
    return name.removesuffix(ending)


def slashed(name: str) -> str:
    """A model's name with ``/`` between its folders, whichever way it was written."""
    return name.replace("\\", "/")


def _folded(name: str) -> str:
    return slashed(name).casefold()
