"""Stable Diffusion 1.5: one checkpoint, one sampler."""

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
        files: ``checkpoint``.
    """
    draft = Draft()
    models = pieces.checkpoint(draft, files["checkpoint"])
    models = pieces.with_loras(draft, models, settings)
    spoken = pieces.spoken(draft, models.clip, settings)
    latent = pieces.start(draft, "EmptyLatentImage", models.vae, settings)
    made = pieces.sampled(draft, settings, model=models.model, spoken=spoken, latent=latent)
    pieces.save_pictures(draft, made, models.vae, settings)
    return draft.workflow("sd15")
