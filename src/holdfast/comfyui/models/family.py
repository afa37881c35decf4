"""What kind of model a file holds, told from the names of its tensors alone.

Which names give which model away follows ComfyUI's own model detection. A
full checkpoint has them behind a prefix, a diffusion model of its own without.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

PREFIXES = ("model.diffusion_model.", "diffusion_model.", "model.", "")

_SIGNS: tuple[tuple[str, str], ...] = (
    ("chroma", "distilled_guidance_layer.0.norms.0.scale"),
    ("chroma", "distilled_guidance_layer.norms.0.scale"),
    ("hunyuan_video", "txt_in.individual_token_refiner.blocks.0.norm1.weight"),
    ("flux", "double_blocks.0.img_attn.norm.key_norm.scale"),
    ("mochi", "t5_yproj.weight"),
    ("wan", "head.modulation"),
    ("sd3", "joint_blocks.0.context_block.attn.qkv.weight"),
    ("qwen_image", "txt_norm.weight"),
    ("lumina2", "cap_embedder.1.weight"),
)
_UNET = "input_blocks.0.0.weight"
_LTX = "adaln_single.emb.timestep_embedder.linear_1.bias"
_LORA = re.compile(r"[._](lora_(up|down|A|B)|hada_w\d_[ab]|lokr_w\d|lora\.(up|down))\b")
_CONTROL = ("control_model.", "controlnet_blocks.", "controlnet_cond_embedding.", "zero_convs.")


@dataclass(frozen=True, slots=True)
class Family:
    """What a model is, as far as the names tell."""

    role: str
    """``checkpoint``, ``diffusion_model``, ``lora``, ``vae``, ``text_encoder``, ``controlnet``,
    ``clip_vision``, ``upscaler``."""
    name: str | None = None
    """Such as ``sdxl`` or ``flux``; None where only the role is known."""

    def __str__(self) -> str:
        return f"{self.name} {self.role}" if self.name else self.role


_NONE: frozenset[str] = frozenset()
_OTHERS: tuple[tuple[Family, frozenset[str], re.Pattern[str] | None], ...] = (
    (Family("vae"), _NONE, re.compile(r"^(decoder|encoder)\.conv_in\.weight$")),
    (Family("vae", "wan"), frozenset({"decoder.conv1.weight", "encoder.conv1.weight"}), None),
    (Family("clip_vision"), frozenset({"vision_model.post_layernorm.weight"}), None),
    (
        Family("text_encoder", "t5"),
        _NONE,
        re.compile(r"encoder\.block\.0\.layer\.0\.SelfAttention"),
    ),
    (Family("text_encoder", "clip"), _NONE, re.compile(r"text_model\.encoder\.layers\.0\.")),
    (
        Family("text_encoder", "llm"),
        _NONE,
        re.compile(r"^(model\.)?layers\.0\.self_attn\.q_proj\."),
    ),
    (
        Family("upscaler", "esrgan"),
        _NONE,
        re.compile(r"^(model\.1\.sub|body\.0\.rdb1|RRDB_trunk\.0)\."),
    ),
)
"""What is told by all of some names, or by one name of a pattern."""


def family_of(names: Collection[str]) -> Family | None:
    """The model's family, None if no name is one that gives it away."""
    some = set(names)
    if any(_LORA.search(each) for each in some):
        return Family("lora", _lora_base(some))
    if any(each.startswith(_CONTROL) for each in some):
        return Family("controlnet")
    for prefix in PREFIXES:
        found = _diffusion(some, prefix)
        if found is not None:
            whole = _is_checkpoint(some)
            return Family("checkpoint" if whole else "diffusion_model", found)
    return _other(some)


def _diffusion(names: set[str], prefix: str) -> str | None:
    for family, sign in _SIGNS:
        if prefix + sign in names:
            return family
    if prefix + _LTX in names and prefix + "pos_embed.proj.bias" not in names:
        return "ltxv"
    if prefix + _UNET in names:
        return _unet(names, prefix)
    return None


def _unet(names: set[str], prefix: str) -> str:
    if any(each.startswith("conditioner.embedders.1.") for each in names):
        return "sdxl"
    if any(each.startswith("conditioner.embedders.0.model.") for each in names):
        return "sdxl_refiner"
    if any(each.startswith("cond_stage_model.model.") for each in names):
        return "sd2"
    # The larger one takes a size and a crop beside the prompt, and has ten blocks in a row.
    if prefix + "label_emb.0.0.weight" in names:
        return "sdxl"
    return "sd15"


def _is_checkpoint(names: set[str]) -> bool:
    parts = ("first_stage_model.", "conditioner.", "cond_stage_model.", "vae.", "text_encoders.")
    return any(each.startswith(parts) for each in names)


def _lora_base(names: set[str]) -> str | None:
    if any("double_blocks" in each or "single_transformer_blocks" in each for each in names):
        return "flux"
    if any("lora_te2_" in each for each in names):
        return "sdxl"
    return None


def _other(names: set[str]) -> Family | None:
    for family, every, some in _OTHERS:
        if every <= names and (some is None or any(map(some.search, names))):
            return family
    return None
