"""Sampling in parts: noise, guider, sampler and sigmas are nodes of their own.

Sigmas are only counted here: a schedule is its name and its number of steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from holdfast.comfyui.standin.node import NodeClass, NodeContext, NodeOutput
from holdfast.comfyui.standin.nodes.sampling import SAMPLERS, SCHEDULERS, ksampler
from holdfast.comfyui.standin.nodes.specs import SEED, choice, integer, number
from holdfast.comfyui.standin.nodes.values import Conditioning, Latent, Model

_MODULE: Final = "comfy_extras.nodes_custom_sampler"


@dataclass(frozen=True, slots=True)
class Sigmas:
    """A SIGMAS: how many steps, after which schedule."""

    steps: int
    scheduler: str
    denoise: float = 1.0


@dataclass(frozen=True, slots=True)
class Guider:
    """A GUIDER: a model and what it is guided by."""

    model: Model
    positive: Conditioning


def select_sampler(_context: NodeContext, *, sampler_name: str) -> NodeOutput:
    """Name a sampler."""
    return NodeOutput((sampler_name,))


def basic_scheduler(
    _context: NodeContext, *, model: Model, scheduler: str, steps: int, denoise: float
) -> NodeOutput:
    """Make the sigmas of a schedule."""
    del model
    return NodeOutput((Sigmas(steps, scheduler, denoise),))


def ltxv_scheduler(_context: NodeContext, *, steps: int, **_shape: Any) -> NodeOutput:
    """Make the sigmas of LTX-Video's own schedule."""
    return NodeOutput((Sigmas(steps, "simple"),))


def random_noise(_context: NodeContext, *, noise_seed: int) -> NodeOutput:
    """Noise is its seed."""
    return NodeOutput((noise_seed,))


def basic_guider(_context: NodeContext, *, model: Model, conditioning: Conditioning) -> NodeOutput:
    """Guide a model by one conditioning, without a negative one."""
    return NodeOutput((Guider(model, conditioning),))


def sampler_custom(
    context: NodeContext,
    *,
    model: Model,
    add_noise: bool,
    noise_seed: int,
    cfg: float,
    positive: Conditioning,
    negative: Conditioning,
    sampler: str,
    sigmas: Sigmas,
    latent_image: Latent,
) -> NodeOutput:
    """Sample with sigmas and a sampler given; both outputs are the same here.

    Raises:
        NodeError: out of memory.
    """
    del add_noise
    made = ksampler(
        context,
        model=model,
        seed=noise_seed,
        steps=sigmas.steps,
        cfg=cfg,
        sampler_name=sampler,
        scheduler=sigmas.scheduler,
        positive=positive,
        negative=negative,
        latent_image=latent_image,
        denoise=sigmas.denoise,
    )
    return NodeOutput(made.values * 2)


def sampler_custom_advanced(
    context: NodeContext,
    *,
    noise: int,
    guider: Guider,
    sampler: str,
    sigmas: Sigmas,
    latent_image: Latent,
) -> NodeOutput:
    """Sample with every part given; both outputs are the same here.

    Raises:
        NodeError: out of memory.
    """
    made = ksampler(
        context,
        model=guider.model,
        seed=noise,
        steps=sigmas.steps,
        cfg=1.0,
        sampler_name=sampler,
        scheduler=sigmas.scheduler,
        positive=guider.positive,
        negative=Conditioning(("",)),
        latent_image=latent_image,
        denoise=sigmas.denoise,
    )
    return NodeOutput(made.values * 2)


_STEPS: Final = integer(20, 1, 10000)
_MADE: Final = ("LATENT", "LATENT")
_MADE_NAMES: Final = ("output", "denoised_output")

NODES: Final = (
    NodeClass(
        name="KSamplerSelect",
        run=select_sampler,
        required={"sampler_name": choice(*SAMPLERS)},
        outputs=("SAMPLER",),
        display_name="KSamplerSelect",
        category="sampling/custom_sampling/samplers",
        python_module=_MODULE,
    ),
    NodeClass(
        name="BasicScheduler",
        run=basic_scheduler,
        required={
            "model": ("MODEL",),
            "scheduler": choice(*SCHEDULERS),
            "steps": _STEPS,
            "denoise": number(1.0, 0.0, 1.0, 0.01),
        },
        outputs=("SIGMAS",),
        display_name="BasicScheduler",
        category="sampling/custom_sampling/schedulers",
        python_module=_MODULE,
    ),
    NodeClass(
        name="LTXVScheduler",
        run=ltxv_scheduler,
        required={
            "steps": _STEPS,
            "max_shift": number(2.05, 0.0, 100.0, 0.01),
            "base_shift": number(0.95, 0.0, 100.0, 0.01),
            "stretch": ("BOOLEAN", {"default": True}),
            "terminal": number(0.1, 0.0, 0.99, 0.01),
        },
        optional={"latent": ("LATENT",)},
        outputs=("SIGMAS",),
        category="sampling/custom_sampling/schedulers",
        python_module="comfy_extras.nodes_lt",
        modern=True,
    ),
    NodeClass(
        name="RandomNoise",
        run=random_noise,
        required={"noise_seed": SEED},
        outputs=("NOISE",),
        display_name="RandomNoise",
        category="sampling/custom_sampling/noise",
        python_module=_MODULE,
    ),
    NodeClass(
        name="BasicGuider",
        run=basic_guider,
        required={"model": ("MODEL",), "conditioning": ("CONDITIONING",)},
        outputs=("GUIDER",),
        display_name="BasicGuider",
        category="sampling/custom_sampling/guiders",
        python_module=_MODULE,
    ),
    NodeClass(
        name="SamplerCustom",
        run=sampler_custom,
        required={
            "model": ("MODEL",),
            "add_noise": ("BOOLEAN", {"default": True}),
            "noise_seed": SEED,
            "cfg": number(8.0, 0.0, 100.0, 0.1, round=0.01),
            "positive": ("CONDITIONING",),
            "negative": ("CONDITIONING",),
            "sampler": ("SAMPLER",),
            "sigmas": ("SIGMAS",),
            "latent_image": ("LATENT",),
        },
        outputs=_MADE,
        output_names=_MADE_NAMES,
        display_name="SamplerCustom",
        category="sampling/custom_sampling",
        python_module=_MODULE,
    ),
    NodeClass(
        name="SamplerCustomAdvanced",
        run=sampler_custom_advanced,
        required={
            "noise": ("NOISE",),
            "guider": ("GUIDER",),
            "sampler": ("SAMPLER",),
            "sigmas": ("SIGMAS",),
            "latent_image": ("LATENT",),
        },
        outputs=_MADE,
        output_names=_MADE_NAMES,
        display_name="SamplerCustomAdvanced",
        category="sampling/custom_sampling",
        python_module=_MODULE,
    ),
)
"""The classes of this module."""
