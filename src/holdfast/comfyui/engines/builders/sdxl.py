"""Stable Diffusion XL: a base model, and a refiner for the last steps where it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.comfyui.engines.builders import pieces
from holdfast.comfyui.engines.builders.draft import Draft, Link
from holdfast.comfyui.engines.recipe import Settings
from holdfast.comfyui.workflow import Workflow

BASE_SHARE = 0.8
"""How much of the steps the base model takes, as in the makers' example (20 of 25)."""


def build(settings: Settings, files: Mapping[str, str]) -> Workflow:
    """A picture from words, or from words and a picture.

    Args:
        settings: what to make.
        files: ``checkpoint``, and ``refiner`` if its last steps are to be another model's.
    """
    draft = Draft()
    models = pieces.checkpoint(draft, files["checkpoint"])
    models = pieces.with_loras(draft, models, settings)
    spoken = pieces.spoken(draft, models.clip, settings)
    latent = pieces.start(draft, "EmptyLatentImage", models.vae, settings)
    if "refiner" not in files:
        made = pieces.sampled(draft, settings, model=models.model, spoken=spoken, latent=latent)
        pieces.save_pictures(draft, made, models.vae, settings)
        return draft.workflow("sdxl")
    refiner = pieces.checkpoint(draft, files["refiner"])
    # This sampler has no denoise: beginning later is the same.
    first = round(settings.steps * (1 - settings.denoise))
    change = first + max(1, round((settings.steps - first) * BASE_SHARE))
    rough = _part(
        draft,
        settings,
        {"model": models.model, "positive": spoken[0], "negative": spoken[1]},
        {"latent_image": latent, "add_noise": "enable", "noise_seed": settings.seed},
        {"start_at_step": first, "end_at_step": change, "return_with_leftover_noise": "enable"},
    )
    again = pieces.spoken(draft, refiner.clip, settings)
    made = _part(
        draft,
        settings,
        {"model": refiner.model, "positive": again[0], "negative": again[1]},
        {"latent_image": rough, "add_noise": "disable", "noise_seed": 0},
        {"start_at_step": change, "end_at_step": 10_000, "return_with_leftover_noise": "disable"},
    )
    pieces.save_pictures(draft, made, refiner.vae, settings)
    return draft.workflow("sdxl-refiner")


def _part(draft: Draft, settings: Settings, *own: Mapping[str, Any]) -> Link:
    shared = {
        "steps": settings.steps,
        "cfg": settings.cfg,
        "sampler_name": settings.sampler,
        "scheduler": settings.scheduler,
    }
    return draft.add("KSamplerAdvanced", **shared, **own[0], **own[1], **own[2])[0]
