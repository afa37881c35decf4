"""HunyuanVideo: guidance built in, and a decode in tiles, without which a clip fits few cards."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.comfyui.engines.builders import pieces
from holdfast.comfyui.engines.builders.draft import Draft
from holdfast.comfyui.engines.recipe import Settings
from holdfast.comfyui.workflow import Workflow

GUIDANCE = 6.0
TILE = {"tile_size": 256, "overlap": 64, "temporal_size": 64, "temporal_overlap": 8}
"""Pixels and frames, as in the makers' example."""


def build(settings: Settings, files: Mapping[str, str]) -> Workflow:
    """A clip from words.

    Args:
        settings: what to make; the model reads no negative prompt.
        files: ``model``, ``clip_l``, ``llama`` and ``vae``.
    """
    draft = Draft()
    model = pieces.diffusion_model(draft, files["model"], settings)
    clip = draft.add(
        "DualCLIPLoader",
        clip_name1=files["clip_l"],
        clip_name2=files["llama"],
        type="hunyuan_video",
        device="default",
    )
    vae = draft.add("VAELoader", vae_name=files["vae"])
    model = pieces.with_model_loras(draft, model, settings.loras)
    spoken = pieces.words(draft, clip[0], settings.prompt)
    guidance = GUIDANCE if settings.guidance is None else settings.guidance
    guided = draft.add("FluxGuidance", conditioning=spoken, guidance=guidance)
    shifted = draft.add("ModelSamplingSD3", model=model, shift=settings.shift)
    guider = draft.add("BasicGuider", model=shifted[0], conditioning=guided[0])
    sampler = draft.add("KSamplerSelect", sampler_name=settings.sampler)
    sigmas = draft.add(
        "BasicScheduler",
        model=model,
        scheduler=settings.scheduler,
        steps=settings.steps,
        denoise=1.0,
    )
    noise = draft.add("RandomNoise", noise_seed=settings.seed)
    latent = draft.add(
        "EmptyHunyuanLatentVideo",
        width=settings.width,
        height=settings.height,
        length=settings.frames,
        batch_size=1,
    )
    made = draft.add(
        "SamplerCustomAdvanced",
        noise=noise[0],
        guider=guider[0],
        sampler=sampler[0],
        sigmas=sigmas[0],
        latent_image=latent[0],
    )
    decoded = draft.add("VAEDecodeTiled", samples=made[0], vae=vae[0], **TILE)
    pieces.save_clip(draft, decoded[0], settings)
    return draft.workflow("hunyuan-video")
