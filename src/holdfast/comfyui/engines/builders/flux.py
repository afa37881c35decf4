"""Flux.1: its parts from files of their own, or all from one checkpoint.

The model was distilled to be run at cfg 1, where a negative prompt has no say.
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.comfyui.engines.builders import pieces
from holdfast.comfyui.engines.builders.draft import Draft, Link
from holdfast.comfyui.engines.recipe import Settings
from holdfast.comfyui.workflow import Workflow


def build(settings: Settings, files: Mapping[str, str]) -> Workflow:
    """A picture from words, or from words and a picture.

    Args:
        settings: what to make; without ``guidance`` none is set, as for schnell.
        files: ``checkpoint``; or ``model``, ``clip_l``, ``t5`` and ``vae``.
    """
    draft = Draft()
    whole = "checkpoint" in files
    if whole:
        models = pieces.checkpoint(draft, files["checkpoint"])
    else:
        model = pieces.diffusion_model(draft, files["model"], settings)
        clip = draft.add(
            "DualCLIPLoader",
            clip_name1=files["clip_l"],
            clip_name2=files["t5"],
            type="flux",
            device="default",
        )
        vae = draft.add("VAELoader", vae_name=files["vae"])
        models = pieces.Models(model, clip[0], vae[0])
    patched = pieces.with_model_loras(draft, models.model, settings.loras)
    spoken = pieces.words(draft, models.clip, settings.prompt)
    negative = _negative(draft, models.clip, spoken, settings, whole=whole)
    positive = spoken
    if settings.guidance is not None:
        positive = draft.add("FluxGuidance", conditioning=spoken, guidance=settings.guidance)[0]
    latent = pieces.start(draft, "EmptySD3LatentImage", models.vae, settings)
    made = pieces.sampled(
        draft, settings, model=patched, spoken=(positive, negative), latent=latent
    )
    pieces.save_pictures(draft, made, models.vae, settings)
    return draft.workflow("flux")


def _negative(draft: Draft, clip: Link, spoken: Link, settings: Settings, *, whole: bool) -> Link:
    if whole or settings.cfg > 1:
        return pieces.words(draft, clip, settings.negative)
    # Nothing has to be encoded for what has no say.
    return draft.add("ConditioningZeroOut", conditioning=spoken)[0]
