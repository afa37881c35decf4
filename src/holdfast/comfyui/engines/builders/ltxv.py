"""LTX-Video 0.9: a checkpoint, a text encoder beside it, a scheduler that knows the size."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.comfyui.engines.builders import pieces
from holdfast.comfyui.engines.builders.draft import Draft
from holdfast.comfyui.engines.recipe import Settings
from holdfast.comfyui.workflow import Workflow

IMAGE_STRENGTH = 0.15
"""How firmly the first frame is held to the picture given, as in the makers' example."""
MAX_SHIFT, BASE_SHIFT, TERMINAL = 2.05, 0.95, 0.1
"""Of the scheduler, as in the makers' example."""


def build(settings: Settings, files: Mapping[str, str]) -> Workflow:
    """A clip from words, or from words and its first picture.

    Args:
        settings: what to make. The model is told ``fps``, because it moves things by it.
        files: ``checkpoint`` and ``t5``.
    """
    draft = Draft()
    models = pieces.checkpoint(draft, files["checkpoint"])
    clip = draft.add("CLIPLoader", clip_name=files["t5"], type="ltxv", device="default")
    model = pieces.with_model_loras(draft, models.model, settings.loras)
    positive = pieces.words(draft, clip[0], settings.prompt)
    negative = pieces.words(draft, clip[0], settings.negative)
    size = {
        "width": settings.width,
        "height": settings.height,
        "length": settings.frames,
        "batch_size": 1,
    }
    if settings.image is None:
        latent = draft.add("EmptyLTXVLatentVideo", **size)[0]
    else:
        image = draft.add("LoadImage", image=settings.image)
        begun = draft.add(
            "LTXVImgToVideo",
            positive=positive,
            negative=negative,
            vae=models.vae,
            image=image[0],
            strength=IMAGE_STRENGTH,
            **size,
        )
        positive, negative, latent = begun[0], begun[1], begun[2]
    told = draft.add(
        "LTXVConditioning", positive=positive, negative=negative, frame_rate=settings.fps
    )
    sigmas = draft.add(
        "LTXVScheduler",
        steps=settings.steps,
        max_shift=MAX_SHIFT,
        base_shift=BASE_SHIFT,
        stretch=True,
        terminal=TERMINAL,
        latent=latent,
    )
    sampler = draft.add("KSamplerSelect", sampler_name=settings.sampler)
    made = draft.add(
        "SamplerCustom",
        model=model,
        add_noise=True,
        noise_seed=settings.seed,
        cfg=settings.cfg,
        positive=told[0],
        negative=told[1],
        sampler=sampler[0],
        sigmas=sigmas[0],
        latent_image=latent,
    )
    decoded = draft.add("VAEDecode", samples=made[0], vae=models.vae)
    pieces.save_clip(draft, decoded[0], settings)
    return draft.workflow("ltxv")
