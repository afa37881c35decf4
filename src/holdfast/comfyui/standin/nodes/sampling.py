"""The samplers: pretended work, step by step, that ends in a recipe for a picture.

Each step sleeps, then reports progress with a preview; a prompt that must stop
stops there. Nothing is painted at full size before the decode.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from PIL import Image

from holdfast.comfyui.standin.memory import sampling_bytes
from holdfast.comfyui.standin.node import NodeClass, NodeContext, NodeOutput
from holdfast.comfyui.standin.nodes.pixels import to_image
from holdfast.comfyui.standin.nodes.specs import SEED, choice, integer, noted, number
from holdfast.comfyui.standin.nodes.values import Conditioning, Latent, Model
from holdfast.comfyui.standin.painter import Recipe, noise, paint

SAMPLERS: Final = (
    *("euler", "euler_cfg_pp", "euler_ancestral", "euler_ancestral_cfg_pp", "heun", "heunpp2"),
    *("dpm_2", "dpm_2_ancestral", "lms", "dpm_fast", "dpm_adaptive", "dpmpp_2s_ancestral"),
    *("dpmpp_2s_ancestral_cfg_pp", "dpmpp_sde", "dpmpp_sde_gpu", "dpmpp_2m", "dpmpp_2m_cfg_pp"),
    *("dpmpp_2m_sde", "dpmpp_2m_sde_gpu", "dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu"),
    *("dpmpp_3m_sde", "dpmpp_3m_sde_gpu", "ddpm", "lcm", "ipndm", "ipndm_v", "deis"),
    *("res_multistep", "res_multistep_cfg_pp", "res_multistep_ancestral"),
    *("res_multistep_ancestral_cfg_pp", "gradient_estimation", "gradient_estimation_cfg_pp"),
    *("er_sde", "seeds_2", "seeds_3", "sa_solver", "sa_solver_pece", "ddim", "uni_pc"),
    "uni_pc_bh2",
)
SCHEDULERS: Final = (
    *("simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "normal"),
    *("linear_quadratic", "kl_optimal"),
)
_TWO_CALLS: Final = ("heun", "dpm_2", "dpmpp_2s", "dpmpp_sde", "seeds_2", "sa_solver_pece")
"""How the names of samplers begin that ask the model twice in each step."""

_REFERENCE_TOKENS: Final = 1024
"""Tokens of one 512 x 512 picture, for which one step takes `NodeContext.step_seconds`."""

_PREVIEW_SIDE: Final = 128
"""Longest side of a preview in pixels."""

_UNSTIRRED: Final = 0.2
"""How much a sampler changes where neither it nor the latent brings any noise."""


@dataclass(frozen=True, slots=True)
class _Span:
    """Which of ``steps`` steps to take, and with what noise."""

    steps: int
    start: int
    end: int
    add_noise: bool = True
    denoise: float = 1.0
    finish: bool = True
    """Whether noise that would be left at `end` is removed with the last step."""


def _sample(
    context: NodeContext, model: Model, latent: Latent, recipe: Recipe, span: _Span
) -> NodeOutput:
    total = span.end - span.start
    if total <= 0 or span.denoise <= 0:
        return NodeOutput((latent,))
    needs = model.weights.place(context.memory)
    context.memory.work(sampling_bytes(latent.tokens), needs=needs)
    seconds = context.step_seconds * _effort(latent, recipe)
    previews = _Previews(recipe, latent)
    for step in range(1, total + 1):
        context.sleep(seconds)
        context.progress(step, total, previews.at((span.start + step) / span.steps))
    stirred = span.add_noise or latent.leftover > 0
    share = span.denoise * (span.steps - span.start) / span.steps * (1 if stirred else _UNSTIRRED)
    sampled = replace(
        latent,
        recipe=recipe,
        share=share,
        leftover=0.0 if span.finish else 1 - span.end / span.steps,
        pixels=None,
        under=latent,
        cropped=False,
    )
    return NodeOutput((sampled,))


def _effort(latent: Latent, recipe: Recipe) -> float:
    """Work of one step compared with one 512 x 512 picture: from 0.5 to 4, twice that for some."""
    size = math.sqrt(latent.tokens / _REFERENCE_TOKENS)
    return min(4.0, max(0.5, size)) * (2 if recipe.sampler.startswith(_TWO_CALLS) else 1)


class _Previews:
    """Small pictures that clear up: at 0 all noise, at 1 the first item's picture."""

    def __init__(self, recipe: Recipe, latent: Latent) -> None:
        shrink = max(8.0, max(latent.width, latent.height) / _PREVIEW_SIDE)
        width, height = (max(1, round(side / shrink)) for side in (latent.width, latent.height))
        self._clear = paint(recipe, width, height)
        self._grain = noise(recipe, width * 8, height * 8)[::8, ::8]

    def at(self, done: float) -> Image.Image:
        veil = np.float32(0.7 * (1 - done))
        return to_image(self._clear + veil * (self._grain - self._clear))


def _recipe(
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    *,
    seed: int,
    steps: int,
    cfg: float,
    sampler: str,
    scheduler: str,
) -> Recipe:
    return Recipe(
        positive=positive.text,
        negative=negative.text,
        seed=seed,
        steps=steps,
        cfg=cfg,
        sampler=sampler,
        scheduler=scheduler,
        model=model.name,
        loras=model.loras,
        guidance=positive.guidance,
        shift=model.shift,
    )


def ksampler(
    context: NodeContext,
    *,
    model: Model,
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    positive: Conditioning,
    negative: Conditioning,
    latent_image: Latent,
    denoise: float = 1.0,
) -> NodeOutput:
    """Sample a latent. Memory: `sampling_bytes` of its tokens beside the model alone.

    Raises:
        NodeError: out of memory.
    """
    recipe = _recipe(
        model,
        positive,
        negative,
        seed=seed,
        steps=steps,
        cfg=cfg,
        sampler=sampler_name,
        scheduler=scheduler,
    )
    span = _Span(steps=steps, start=0, end=steps, denoise=denoise)
    return _sample(context, model, latent_image, recipe, span)


def ksampler_advanced(
    context: NodeContext,
    *,
    model: Model,
    add_noise: str,
    noise_seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    positive: Conditioning,
    negative: Conditioning,
    latent_image: Latent,
    start_at_step: int,
    end_at_step: int,
    return_with_leftover_noise: str,
) -> NodeOutput:
    """Sample some of the steps, so that two samplers can share one picture.

    A start at or past the end changes nothing and reports no progress.
    """
    span = _Span(
        steps=steps,
        start=start_at_step,
        end=min(end_at_step, steps),
        add_noise=add_noise == "enable",
        finish=return_with_leftover_noise == "disable",
    )
    recipe = _recipe(
        model,
        positive,
        negative,
        seed=noise_seed,
        steps=max(1, span.end),
        cfg=cfg,
        sampler=sampler_name,
        scheduler=scheduler,
    )
    return _sample(context, model, latent_image, recipe, span)


_STEPS: Final = integer(20, 1, 10000)
_CFG: Final = number(8.0, 0.0, 100.0, 0.1, round=0.01)
_TARGET: Final = {
    "positive": ("CONDITIONING",),
    "negative": ("CONDITIONING",),
    "latent_image": ("LATENT",),
}

NODES: Final = (
    NodeClass(
        name="KSampler",
        run=ksampler,
        required={
            "model": noted("MODEL"),
            "seed": SEED,
            "steps": _STEPS,
            "cfg": _CFG,
            "sampler_name": noted(choice(*SAMPLERS)),
            "scheduler": noted(choice(*SCHEDULERS)),
            **{name: noted(spec) for name, spec in _TARGET.items()},
            "denoise": number(1.0, 0.0, 1.0, 0.01),
        },
        outputs=("LATENT",),
        display_name="KSampler",
        category="sampling",
        description="Removes noise from a latent, guided by what is asked for.",
    ),
    NodeClass(
        name="KSamplerAdvanced",
        run=ksampler_advanced,
        required={
            "model": ("MODEL",),
            "add_noise": choice("enable", "disable"),
            "noise_seed": SEED,
            "steps": _STEPS,
            "cfg": _CFG,
            "sampler_name": choice(*SAMPLERS),
            "scheduler": choice(*SCHEDULERS),
            **_TARGET,
            "start_at_step": integer(0, 0, 10000),
            "end_at_step": integer(10000, 0, 10000),
            "return_with_leftover_noise": choice("disable", "enable"),
        },
        outputs=("LATENT",),
        display_name="KSampler (Advanced)",
        category="sampling",
    ),
)
"""The classes of this module."""
