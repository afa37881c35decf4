"""Stable Diffusion 3 and 3.5: all from one checkpoint, or text encoders from their own files."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.comfyui.engines.builders import pieces
from holdfast.comfyui.engines.builders.draft import Draft
from holdfast.comfyui.engines.recipe import Settings
from holdfast.comfyui.workflow import Workflow


def build(settings: Settings, files: Mapping[str, str]) -> Workflow:
    """A picture from words, or from words and a picture.

    Args:
        settings: what to make.
        files: ``checkpoint``, and ``clip_l``, ``clip_g`` and ``t5`` where it holds no text
            encoders.
    """
    draft = Draft()
    models = pieces.checkpoint(draft, files["checkpoint"])
    if "t5" in files:
        clip = draft.add(
            "TripleCLIPLoader",
            clip_name1=files["clip_l"],
            clip_name2=files["clip_g"],
            clip_name3=files["t5"],
        )
        models = pieces.Models(models.model, clip[0], models.vae)
    models = pieces.with_loras(draft, models, settings)
    spoken = pieces.spoken(draft, models.clip, settings)
    latent = pieces.start(draft, "EmptySD3LatentImage", models.vae, settings)
    made = pieces.sampled(draft, settings, model=models.model, spoken=spoken, latent=latent)
    pieces.save_pictures(draft, made, models.vae, settings)
    return draft.workflow("sd3")
