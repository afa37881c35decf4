"""What a workflow could go without: upscalers, face fixers, LoRAs, control nets, side previews.

Going without any of them changes the picture, and some are not what they
look like: without its speed LoRA, a model made to paint in four steps paints
noise, and a picture that is scaled before it is painted over is no polish.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from holdfast.comfyui.views.knobs import Sight, follow
from holdfast.comfyui.workflow import SAVING_NODES, is_link

FEW_STEPS = 8
"""A workflow that paints in so few steps depends on what makes that possible."""


class OptionalKind(StrEnum):
    """What an optional node is for."""

    UPSCALER = "upscaler"
    SECOND_PASS = "second_pass"  # noqa: S105 - nothing secret about it
    """A sampler that paints over what another has made, in more detail."""
    FACE_FIXER = "face_fixer"
    LORA = "lora"
    CONTROL_NET = "control_net"
    INTERPOLATION = "interpolation"
    """More frames between frames."""
    POST_PROCESSING = "post_processing"
    PREVIEW = "preview"
    """Shows something beside what is saved."""


@dataclass(frozen=True, slots=True)
class Optional:
    """A node that the workflow could go without."""

    node_id: str
    class_type: str
    kind: OptionalKind
    words: str
    """What going without it means."""


_SPEEDS = re.compile(
    r"lightning|lightx2v|turbo|(?<![a-z])lcm(?![a-z])|hyper|causvid|distill|schnell|dmd|"
    r"(?<![0-9])[1-8][-_ ]?steps?(?![a-z])|fusionx|accvid|fastwan|flash|(?<![a-z])tcd(?![a-z])",
    re.IGNORECASE,
)
_LORAS = re.compile(r"lora", re.IGNORECASE)
_FACES = re.compile(
    r"facedetailer|detailerforeach|facerestore|gfpgan|codeformer|reactor|faceswap|detailerpipe",
    re.IGNORECASE,
)
_INTERPOLATES = re.compile(r"rife|film[ _]?vfi|\bvfi\b|frameinterpol|gimm|amt vfi", re.IGNORECASE)
_SCALES = re.compile(
    r"upscale|ImageScale|LatentUpscale|SUPIR_sample|SeedVR|ImageResize|ultimatesd", re.IGNORECASE
)
_SCALERS_NOT = re.compile(r"load|provider|pipe$|settings", re.IGNORECASE)
_CONTROLS = re.compile(r"^(ACN_Advanced)?ControlNet.*Apply|^ControlNetApply|T2IAdapterApply")
_POLISHES = re.compile(
    r"^Image(Sharpen|Blur|Quantize|AddNoise|Blend)$|FilmGrain|ColorMatch|ColorCorrect|Vignette|"
    r"Sharpen|PostProcess|Bloom|ChromaticAberration|^ImageCASharpening",
)
_PREVIEWS = re.compile(r"^(PreviewImage|MaskPreview|PreviewAny|PreviewAudio|Preview3D.*)$")
_SAMPLES = re.compile(r"sampler", re.IGNORECASE)

_MEANING = {
    OptionalKind.UPSCALER: "without it the result is smaller",
    OptionalKind.SECOND_PASS: "without it there is less detail",
    OptionalKind.FACE_FIXER: "without it faces stay as they were painted",
    OptionalKind.LORA: "without it the style or subject is another",
    OptionalKind.CONTROL_NET: "without it the composition is another",
    OptionalKind.INTERPOLATION: "without it there are fewer frames",
    OptionalKind.POST_PROCESSING: "without it the picture is as it was painted",
    OptionalKind.PREVIEW: "it only shows something beside what is saved",
}


def optional(sight: Sight) -> tuple[Optional, ...]:
    """The nodes that the workflow could go without, in its order."""
    made = _after_sampling(sight)
    few = _paints_in_few_steps(sight)
    names = {node["class_type"] for node in sight.graph.values()}
    saves = any(each in SAVING_NODES and not _PREVIEWS.search(each) for each in names)
    found = []
    for node_id, node in sight.graph.items():
        kind = _kind(sight, node_id, made=node_id in made, few=few, saves=saves)
        if kind is not None:
            found.append(Optional(node_id, node["class_type"], kind, _MEANING[kind]))
    return tuple(found)


def _kind(sight: Sight, node_id: str, *, made: bool, few: bool, saves: bool) -> OptionalKind | None:
    name = sight.class_of(node_id)
    if _PREVIEWS.search(name):
        return OptionalKind.PREVIEW if saves else None
    if not any(is_link(value) for value in sight.graph[node_id]["inputs"].values()):
        return None  # it makes or loads something, and what it is for stands elsewhere
    if _LORAS.search(name):
        return OptionalKind.LORA if _is_spare_lora(sight, node_id, few=few) else None
    if _CONTROLS.search(name):
        return OptionalKind.CONTROL_NET
    if not made or name in SAVING_NODES:
        return None
    return _after_painting(sight, node_id, name)


def _after_painting(sight: Sight, node_id: str, name: str) -> OptionalKind | None:
    if _FACES.search(name):
        return OptionalKind.FACE_FIXER
    if _INTERPOLATES.search(name):
        return OptionalKind.INTERPOLATION
    if _SCALES.search(name) and not _SCALERS_NOT.search(name):
        return OptionalKind.UPSCALER
    if _POLISHES.search(name):
        return OptionalKind.POST_PROCESSING
    # A second stage that begins from noise is the painting itself.
    if name == "KSampler" and "denoise" in sight.graph[node_id]["inputs"]:
        denoise = follow(sight.workflow, node_id, "denoise").value
        if isinstance(denoise, int | float) and denoise < 1:
            return OptionalKind.SECOND_PASS
    return None


def _is_spare_lora(sight: Sight, node_id: str, *, few: bool) -> bool:
    """Whether the picture is another without the LoRA, and not noise."""
    inputs = sight.graph[node_id]["inputs"]
    names = [
        follow(sight.workflow, node_id, each).value for each in inputs if "lora" in each.lower()
    ]
    if not few:
        return True
    known = [each for each in names if isinstance(each, str)]
    # A name that is only known when it runs may be anything.
    return bool(known) and not any(_SPEEDS.search(each[:500]) for each in known)


def _paints_in_few_steps(sight: Sight) -> bool:
    """Whether some sampler paints in so few steps that it needs a speed LoRA, or might."""
    steps = [
        follow(sight.workflow, node_id, "steps").value
        for node_id, node in sight.graph.items()
        if "steps" in node["inputs"]
    ]
    numbers = [each for each in steps if isinstance(each, int | float)]
    return len(numbers) < len(steps) or not steps or min(numbers) <= FEW_STEPS


def _after_sampling(sight: Sight) -> set[str]:
    """The nodes that work on what a sampler has made."""
    consumers: dict[str, list[str]] = {}
    for node_id, node in sight.graph.items():
        for value in node["inputs"].values():
            if is_link(value):
                consumers.setdefault(value[0], []).append(node_id)
    left = list(_samplers(sight))
    found: set[str] = set()
    while left:
        for consumer in consumers.get(left.pop(), ()):
            if consumer not in found:
                found.add(consumer)
                left.append(consumer)
    return found


def _samplers(sight: Sight) -> Iterator[str]:
    for node_id, node in sight.graph.items():
        if not _SAMPLES.search(node["class_type"]):
            continue
        cls = None if sight.catalog is None else sight.catalog.get(node["class_type"])
        # The word is also in the names of nodes that only choose how to sample.
        linked = sum(1 for value in node["inputs"].values() if is_link(value))
        if linked > 1 if cls is None else any("LATENT" in each for each in cls.outputs):
            yield node_id
