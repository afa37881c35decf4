"""Pieces that workflows of several families have in common: prompts, LoRAs, start, end."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.comfyui.engines.builders.draft import Draft, Link
from holdfast.comfyui.engines.recipe import Settings
from holdfast.comfyui.engines.wish import Lora

Spoken = tuple[Link, Link]
"""What is wanted and what is not, encoded."""


@dataclass(frozen=True, slots=True)
class Models:
    """Links to what was loaded."""

    model: Link
    clip: Link
    vae: Link


def checkpoint(draft: Draft, name: str) -> Models:
    """Load a file that holds model, text encoder and VAE."""
    loader = draft.add("CheckpointLoaderSimple", ckpt_name=name)
    return Models(loader[0], loader[1], loader[2])


def diffusion_model(draft: Draft, name: str, settings: Settings) -> Link:
    """Load a diffusion model from a file of its own."""
    return draft.add("UNETLoader", unet_name=name, weight_dtype=settings.weights)[0]


def with_loras(draft: Draft, models: Models, settings: Settings) -> Models:
    """Patch LoRAs into model and text encoder, one after another."""
    model, clip = models.model, models.clip
    for lora in settings.loras:
        node = draft.add(
            "LoraLoader",
            model=model,
            clip=clip,
            lora_name=lora.name,
            strength_model=lora.strength,
            strength_clip=lora.on_clip,
        )
        model, clip = node[0], node[1]
    return Models(model, clip, models.vae)


def with_model_loras(draft: Draft, model: Link, loras: tuple[Lora, ...]) -> Link:
    """Patch LoRAs into the diffusion model alone, one after another."""
    for lora in loras:
        model = draft.add(
            "LoraLoaderModelOnly", model=model, lora_name=lora.name, strength_model=lora.strength
        )[0]
    return model


def words(draft: Draft, clip: Link, text: str) -> Link:
    """Encode a prompt."""
    return draft.add("CLIPTextEncode", clip=clip, text=text)[0]


def spoken(draft: Draft, clip: Link, settings: Settings) -> Spoken:
    """Encode the prompt and the negative prompt."""
    return words(draft, clip, settings.prompt), words(draft, clip, settings.negative)


def start(draft: Draft, empty: str, vae: Link, settings: Settings) -> Link:
    """The latent to begin with: an empty one of the class named, or the picture given.

    The picture is brought to the size asked for first, cut about its centre where its
    proportions are others, because a sampler makes what size the latent has.
    """
    if settings.image is None:
        size = {"width": settings.width, "height": settings.height}
        return draft.add(empty, **size, batch_size=settings.batch)[0]
    loaded = draft.add("LoadImage", image=settings.image)
    scaled = draft.add(
        "ImageScale",
        image=loaded[0],
        upscale_method="lanczos",
        width=settings.width,
        height=settings.height,
        crop="center",
    )
    latent = draft.add("VAEEncode", pixels=scaled[0], vae=vae)
    if settings.batch > 1:
        latent = draft.add("RepeatLatentBatch", samples=latent[0], amount=settings.batch)
    return latent[0]


def sampled(draft: Draft, settings: Settings, *, model: Link, spoken: Spoken, latent: Link) -> Link:
    """Sample from one end to the other."""
    return draft.add(
        "KSampler",
        model=model,
        positive=spoken[0],
        negative=spoken[1],
        latent_image=latent,
        seed=settings.seed,
        steps=settings.steps,
        cfg=settings.cfg,
        sampler_name=settings.sampler,
        scheduler=settings.scheduler,
        denoise=settings.denoise,
    )[0]


def save_pictures(draft: Draft, latent: Link, vae: Link, settings: Settings) -> None:
    """Decode and save as pictures."""
    decoded = draft.add("VAEDecode", samples=latent, vae=vae)
    draft.add("SaveImage", images=decoded[0], filename_prefix=settings.prefix)


def save_clip(draft: Draft, frames: Link, settings: Settings) -> None:
    """Save decoded frames as a video."""
    video = draft.add("CreateVideo", images=frames, fps=settings.fps)
    draft.add(
        "SaveVideo",
        video=video[0],
        filename_prefix=f"video/{settings.prefix}",
        format="auto",
        codec="auto",
    )
