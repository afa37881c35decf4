"""Wan 2.1 and 2.2: one model, or a pair of which one takes the noisy half and one the rest."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.comfyui.engines.builders import pieces
from holdfast.comfyui.engines.builders.draft import Draft, Link
from holdfast.comfyui.engines.recipe import Settings
from holdfast.comfyui.engines.wish import Lora
from holdfast.comfyui.workflow import Workflow


def build(settings: Settings, files: Mapping[str, str]) -> Workflow:
    """A clip from words, or from words and its first picture, by one model of Wan 2.1.

    Args:
        settings: what to make.
        files: ``model``, ``t5``, ``vae``; with a picture ``clip_vision`` as well.
    """
    return _by_one(settings, files)


def build_small(settings: Settings, files: Mapping[str, str]) -> Workflow:
    """A clip from words, or from words and its first picture, by the 5B model of Wan 2.2.

    Args:
        settings: what to make.
        files: ``model``, ``t5``, ``vae``.
    """
    return _by_one(settings, files, small=True)


def build_pair(settings: Settings, files: Mapping[str, str]) -> Workflow:
    """A clip from words, or from words and its first picture, by the 14B pair of Wan 2.2.

    A LoRA whose name says ``high_noise`` or ``low_noise`` goes to that model, any other to both.

    Args:
        settings: what to make.
        files: ``high``, ``low``, ``t5``, ``vae``; ``high_lora`` and ``low_lora`` for the
            distilled few steps.
    """
    draft = Draft()
    clip, vae = _encoders(draft, files)
    high = _half(draft, files, "high", settings)
    low = _half(draft, files, "low", settings)
    spoken = pieces.spoken(draft, clip, settings)
    spoken, latent = _begun(draft, files, settings, spoken, vae)
    change = max(1, settings.steps // 2)
    end = settings.steps if "high_lora" in files else 10_000
    shared = {
        "positive": spoken[0],
        "negative": spoken[1],
        "steps": settings.steps,
        "cfg": settings.cfg,
        "sampler_name": settings.sampler,
        "scheduler": settings.scheduler,
    }
    rough = draft.add(
        "KSamplerAdvanced",
        model=high,
        latent_image=latent,
        add_noise="enable",
        noise_seed=settings.seed,
        start_at_step=0,
        end_at_step=change,
        return_with_leftover_noise="enable",
        **shared,
    )
    made = draft.add(
        "KSamplerAdvanced",
        model=low,
        latent_image=rough[0],
        add_noise="disable",
        noise_seed=0,
        start_at_step=change,
        end_at_step=end,
        return_with_leftover_noise="disable",
        **shared,
    )
    decoded = draft.add("VAEDecode", samples=made[0], vae=vae)
    pieces.save_clip(draft, decoded[0], settings)
    return draft.workflow("wan2.2-14b")


def _by_one(settings: Settings, files: Mapping[str, str], *, small: bool = False) -> Workflow:
    draft = Draft()
    clip, vae = _encoders(draft, files)
    model = pieces.diffusion_model(draft, files["model"], settings)
    model = pieces.with_model_loras(draft, model, settings.loras)
    model = draft.add("ModelSamplingSD3", model=model, shift=settings.shift)[0]
    spoken = pieces.spoken(draft, clip, settings)
    if small:
        image = {} if settings.image is None else {"start_image": _image(draft, settings.image)}
        latent = draft.add("Wan22ImageToVideoLatent", vae=vae, **_size(settings), **image)[0]
    else:
        spoken, latent = _begun(draft, files, settings, spoken, vae)
    made = pieces.sampled(draft, settings, model=model, spoken=spoken, latent=latent)
    decoded = draft.add("VAEDecode", samples=made, vae=vae)
    pieces.save_clip(draft, decoded[0], settings)
    return draft.workflow("wan2.2-5b" if small else "wan2.1")


def _encoders(draft: Draft, files: Mapping[str, str]) -> tuple[Link, Link]:
    clip = draft.add("CLIPLoader", clip_name=files["t5"], type="wan", device="default")
    return clip[0], draft.add("VAELoader", vae_name=files["vae"])[0]


def _half(draft: Draft, files: Mapping[str, str], which: str, settings: Settings) -> Link:
    other = "low_noise" if which == "high" else "high_noise"
    speed = files.get(f"{which}_lora")
    loras = (() if speed is None else (Lora(speed),)) + tuple(
        each for each in settings.loras if other not in each.name.lower()
    )
    model = pieces.diffusion_model(draft, files[which], settings)
    patched = pieces.with_model_loras(draft, model, loras)
    return draft.add("ModelSamplingSD3", model=patched, shift=settings.shift)[0]


def _begun(
    draft: Draft, files: Mapping[str, str], settings: Settings, spoken: pieces.Spoken, vae: Link
) -> tuple[pieces.Spoken, Link]:
    if settings.image is None:
        return spoken, draft.add("EmptyHunyuanLatentVideo", **_size(settings))[0]
    image = _image(draft, settings.image)
    seen = {}
    if "clip_vision" in files:
        loader = draft.add("CLIPVisionLoader", clip_name=files["clip_vision"])
        looked = draft.add("CLIPVisionEncode", clip_vision=loader[0], image=image, crop="none")
        seen["clip_vision_output"] = looked[0]
    begun = draft.add(
        "WanImageToVideo",
        positive=spoken[0],
        negative=spoken[1],
        vae=vae,
        start_image=image,
        **seen,
        **_size(settings),
    )
    return (begun[0], begun[1]), begun[2]


def _image(draft: Draft, name: str) -> Link:
    return draft.add("LoadImage", image=name)[0]


def _size(settings: Settings) -> dict[str, int]:
    return {
        "width": settings.width,
        "height": settings.height,
        "length": settings.frames,
        "batch_size": 1,
    }
