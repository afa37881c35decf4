"""Less work in sampling, for a deadline that is near; it saves time and hardly any memory.

Models and LoRAs made for few steps are left alone: what they do in four steps
they cannot do in three, and in another sampler not at all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.edit import Edit
from holdfast.comfyui.surgery.draft import Draft, Place, listed, whole
from holdfast.comfyui.surgery.family import family_of
from holdfast.comfyui.surgery.frames import check_share
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError

FEW_STEPS = 8
"""Somebody who samples in so few steps or fewer uses a model made for it."""

SPEEDING = re.compile(
    r"lightning|lightx2v|turbo|lcm|hyper|schnell|causvid|dmd|fast|distill|\d+[-_ ]?steps?",
    re.IGNORECASE,
)
"""Names of models and LoRAs made for few steps."""

_STEPPED = frozenset({"KSampler", "KSamplerAdvanced", "WanVideoSampler"})
_BOUNDS = ("start_at_step", "end_at_step")
_CHEAPER: Mapping[str, str] = MappingProxyType(
    {
        "dpmpp_sde": "dpmpp_2m",
        "dpmpp_sde_gpu": "dpmpp_2m",
        "dpmpp_2m_sde_heun": "dpmpp_2m_sde",
        "dpmpp_2m_sde_heun_gpu": "dpmpp_2m_sde_gpu",
        "heun": "euler",
        "heunpp2": "euler",
        "dpm_2": "euler",
        "dpm_2_ancestral": "euler_ancestral",
        "dpmpp_2s_ancestral": "euler_ancestral",
        "seeds_2": "euler",
        "seeds_3": "euler",
        "sa_solver_pece": "sa_solver",
    },
)
"""Samplers that ask the model more than once a step, and the nearest that asks once."""


def steps_of(draft: Draft) -> list[int]:
    """The numbers of steps that are sampled, where they are known."""
    found = (draft.whole(*each) for each in _step_inputs(draft))
    return [steps for steps in found if steps is not None]


def made_for_few_steps(draft: Draft) -> bool:
    """Whether a model or LoRA for few steps is in use."""
    if draft.of(["SDTurboScheduler"]) or any(steps <= FEW_STEPS for steps in steps_of(draft)):
        return True
    return any(
        SPEEDING.search(value) is not None
        for node in draft.graph
        if "Load" in draft.kind(node) and "Image" not in draft.kind(node)
        for value in draft.inputs(node).values()
        if isinstance(value, str) and len(value) <= 1_000
    )


def fewer_steps(
    workflow: Workflow, catalog: Catalog, share: float = 0.75, *, least: int = 12
) -> Edit | None:
    """Sample in fewer steps; samplers that share their steps keep sharing them.

    Args:
        workflow: to change.
        catalog: what the server knows.
        share: of the steps that is to be left; what is left is never less.
        least: steps that must be left; a model's own floor holds as well.

    Returns:
        None if there are few steps already, or somebody wrote the steps out.

    Raises:
        BadInputError: ``share`` is not above 0 and below 1, or ``least`` is no number of steps.
    """
    check_share(share)
    if whole(least) is None or least < 1:
        raise BadInputError(f"least is {least!r}; it is a whole number of steps from 1 on")
    draft = Draft(workflow, catalog)
    inputs = _step_inputs(draft)
    places = {draft.place(*each) for each in inputs}
    counts = {whole(draft.value(place)) for place in places if place is not None}
    before = next(iter(counts), None)
    if None in places or len(counts) != 1 or before is None:
        return None
    if made_for_few_steps(draft) or draft.of(["ManualSigmas"]):
        return None
    after = max(math.ceil(before * share), least, family_of(workflow).least_steps)
    found = {place for place in places if place is not None}
    bounds = _bounds(draft, before)
    if after >= before or bounds is None or _feeds_others(draft, found, inputs):
        return None
    for place in found:
        draft.put(place, after)
    for place, step in bounds.items():
        draft.put(place, round(step * after / before))
    return draft.finish("fewer_steps", f"{after} steps instead of {before}")


def cheaper_sampler(workflow: Workflow, catalog: Catalog) -> Edit | None:
    """Take the nearest sampler that asks the model once a step.

    Returns:
        None if that is so already, or a model for few steps is in use.
    """
    draft = Draft(workflow, catalog)
    if made_for_few_steps(draft):
        return None
    running = draft.running()
    swaps = []
    for node in draft.graph:
        now, spec = draft.inputs(node).get("sampler_name"), draft.spec(node, "sampler_name")
        cheaper = _CHEAPER.get(now) if isinstance(now, str) and node in running else None
        if cheaper is not None and spec is not None and cheaper in (spec.choices or ()):
            draft.inputs(node)["sampler_name"] = cheaper
            swaps.append(node)
    words = f"a sampler that is twice as fast, so the picture is another: {listed(draft, swaps)}"
    return draft.finish("cheaper_sampler", words)


def _step_inputs(draft: Draft) -> list[tuple[str, str]]:
    found = []
    for node in sorted(draft.running()):
        known = draft.catalog.get(draft.kind(node))
        schedules = known is not None and known.outputs == ("SIGMAS",) and "steps" in known.inputs
        if (schedules or draft.kind(node) in _STEPPED) and "steps" in draft.inputs(node):
            found.append((node, "steps"))
    return [each for each in found if draft.kind(each[0]) != "ExtendIntermediateSigmas"]


def _bounds(draft: Draft, steps: int) -> dict[Place, int] | None:
    """Where somebody says at which step a sampler begins or ends, if it is within the steps."""
    found: dict[Place, int] = {}
    for node in sorted(draft.running()):
        names = {"KSamplerAdvanced": _BOUNDS, "SplitSigmas": ("step",)}.get(draft.kind(node), ())
        for name in names:
            place = draft.place(node, name)
            step = None if place is None else whole(draft.value(place))
            if place is None or step is None:
                return None
            if step < steps:
                found[place] = step
    inputs = [(node, name) for node in draft.graph for name in (*_BOUNDS, "step")]
    return None if _feeds_others(draft, set(found), inputs) else found


def _feeds_others(draft: Draft, places: set[Place], inputs: list[tuple[str, str]]) -> bool:
    """Whether a primitive among ``places`` feeds an input that is not among ``inputs``."""
    return any(
        (use.node, use.name) not in inputs
        for place in places
        if (place.node, place.name) not in inputs
        for use in draft.uses(place.node)
    )
