"""Models loaded so that they need less of the card: elsewhere, or with fewer bits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from holdfast.comfyui.catalog import COMBO, Catalog
from holdfast.comfyui.edit import Edit
from holdfast.comfyui.surgery.draft import Draft, listed
from holdfast.comfyui.workflow import Workflow

_DEVICE_LOADERS = frozenset(
    {"CLIPLoader", "DualCLIPLoader", "CLIPLoaderGGUF", "DualCLIPLoaderGGUF"}
)
_ENCODER_LOADERS = frozenset(
    {"CLIPLoader", "DualCLIPLoader", "TripleCLIPLoader", "QuadrupleCLIPLoader"}
)
_FEW_BITS = re.compile(r"fp8|f8|int8|int4|nf4|fp4|nvfp4|mxfp|gguf|svdq|q[2-8]_", re.IGNORECASE)
_FP16 = re.compile(r"(fp16|bf16)", re.IGNORECASE)
_LOWER: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"default": ("fp8_e4m3fn", "fp8_e5m2"), "": ("fp8_e4m3fn", "fp8_e5m2")},
)
_FEWER = ("fp8_e4m3fn_scaled", "fp8_scaled", "fp8_e4m3fn", "fp8_e5m2")


def text_encoder_on_cpu(
    workflow: Workflow, catalog: Catalog, node_id: str | None = None
) -> Edit | None:
    """Keep text encoders out of the card's memory.

    Args:
        workflow: to change.
        catalog: what the server knows.
        node_id: only this loader; None for all.

    Returns:
        None if none is loaded in a way that allows it, or all are there already.
    """
    draft = Draft(workflow, catalog)
    running = draft.running()
    moved = []
    for node in draft.of(_DEVICE_LOADERS):
        spec = draft.spec(node, "device")
        able = spec is not None and spec.choices is not None and "cpu" in spec.choices
        mine = node in running and node_id in (None, node)
        if able and mine and draft.inputs(node).get("device", "default") == "default":
            draft.inputs(node)["device"] = "cpu"
            moved.append(node)
    words = f"{listed(draft, moved)}: the text encoder works on the CPU, which is slower"
    return draft.finish("text_encoder_on_cpu", words, keeps_result=True)


def smaller_text_encoder(workflow: Workflow, catalog: Catalog) -> Edit | None:
    """Take the 8-bit version of a 16-bit text encoder, where the server has it.

    Returns:
        None if there is none.
    """
    draft = Draft(workflow, catalog)
    swaps = []
    for node in draft.of(_ENCODER_LOADERS):
        for name, value in list(draft.inputs(node).items()):
            spec = draft.spec(node, name)
            if not isinstance(value, str) or spec is None or not spec.choices:
                continue
            smaller = _in_8_bits(value, spec.choices)
            if name.startswith("clip_name") and smaller is not None:
                draft.inputs(node)[name] = smaller
                swaps.append(f"{smaller} instead of {value}")
    return draft.finish("smaller_text_encoder", f"text encoder in 8 bits: {', '.join(swaps)}")


def lower_precision(
    workflow: Workflow, catalog: Catalog, node_id: str | None = None
) -> Edit | None:
    """Load the diffusion model's weights in 8 bits.

    Args:
        workflow: to change.
        catalog: what the server knows.
        node_id: only this loader; None for all.

    Returns:
        None if no loader offers it, or the file is in few bits already: then nothing is gained.
    """
    draft = Draft(workflow, catalog)
    running = draft.running()
    lowered, to = [], ""
    for node in draft.of(["UNETLoader"]):
        spec, now = draft.spec(node, "weight_dtype"), draft.inputs(node).get("weight_dtype")
        name = draft.inputs(node).get("unet_name")
        mine = node in running and node_id in (None, node)
        few = isinstance(name, str) and _FEW_BITS.search(name) is not None
        if not mine or few or now != "default" or spec is None or spec.type != COMBO:
            continue
        lower = next((each for each in _LOWER["default"] if each in (spec.choices or ())), None)
        if lower is not None:
            draft.inputs(node)["weight_dtype"] = to = lower
            lowered.append(node)
    words = f"{listed(draft, lowered)}: weights in 8 bits ({to}), about half the memory"
    return draft.finish("lower_precision", words)


def _in_8_bits(name: str, choices: tuple[object, ...]) -> str | None:
    if len(name) > 1_000 or _FEW_BITS.search(name):
        return None
    for bits in _FEWER:
        smaller = _FP16.sub(bits, name, count=1)
        if smaller != name and smaller in choices:
            return smaller
    return None
