"""All views of a workflow together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.comfyui.catalog import COMBO, Catalog
from holdfast.comfyui.model_inputs import model_folder
from holdfast.comfyui.partners import named_as_paid
from holdfast.comfyui.views.knobs import Knob, Sight, follow
from holdfast.comfyui.views.optional import Optional, optional
from holdfast.comfyui.views.prompts import Prompt, prompts
from holdfast.comfyui.workflow import SAVING_NODES, SEED_INPUTS, Workflow

_GUIDANCE = (
    *("cfg", "guidance", "cfg_conds", "cfg_cond2_negative", "min_cfg", "cfg_scale"),
    *("guidance_scale", "embedded_guidance_scale", "flux_guidance"),
)
_FRAMES = ("length", "num_frames", "video_frames", "frame_load_cap")
_FPS = ("fps", "frame_rate", "force_rate")
_BATCHES = ("batch_size",)


@dataclass(frozen=True, slots=True)
class Size:
    """The size in pixels that a node makes things in."""

    node_id: str
    class_type: str
    width: Knob
    height: Knob


@dataclass(frozen=True, slots=True)
class ModelUse(Knob):
    """A model file that is loaded. The value is its name."""

    folder: str = ""
    """The model folder, such as ``checkpoints``; empty if nobody knows."""


@dataclass(frozen=True, slots=True)
class Output:
    """A node that ends a branch."""

    node_id: str
    class_type: str
    saves: bool
    """Whether it leaves files, or only shows."""
    prefix: Knob | None = None
    """What its files' names begin with."""


@dataclass(frozen=True, slots=True)
class Paid:
    """A node that calls a paid service."""

    node_id: str
    class_type: str
    certain: bool
    """Whether a server says so; else it is concluded from the name."""


@dataclass(frozen=True, slots=True)
class WorkflowView:
    """What a workflow does."""

    name: str
    nodes: int
    prompts: tuple[Prompt, ...]
    seeds: tuple[Knob, ...]
    steps: tuple[Knob, ...]
    guidance: tuple[Knob, ...]
    """``cfg``, and the guidance that distilled models take instead."""
    sizes: tuple[Size, ...]
    batches: tuple[Knob, ...]
    frames: tuple[Knob, ...]
    fps: tuple[Knob, ...]
    models: tuple[ModelUse, ...]
    outputs: tuple[Output, ...]
    paid: tuple[Paid, ...]
    optional: tuple[Optional, ...]


def view(
    workflow: Workflow, object_info: Catalog | Mapping[str, Any] | None = None
) -> WorkflowView:
    """Read off a workflow what it does.

    Args:
        workflow: any, also one that no server would run.
        object_info: a server's `Catalog`, or its parsed answer to `/object_info`; without it,
            names of classes and inputs are all there is to go by.

    Raises:
        BadInputError: ``object_info`` is none.
    """
    sight = Sight(workflow, None if object_info is None else Catalog.of(object_info))
    animated = any(node["class_type"].startswith("ADE_") for node in workflow.graph.values())
    batches = _knobs(sight, _BATCHES, int)
    amounts = tuple(
        follow(workflow, node_id, "amount")
        for node_id, node in workflow.graph.items()
        if node["class_type"] == "RepeatLatentBatch" and "amount" in node["inputs"]
    )
    frames = _knobs(sight, _FRAMES, int)
    if animated:
        # AnimateDiff takes the pictures of a batch for the frames of a clip.
        frames, batches = (*frames, *batches), ()
    return WorkflowView(
        name=workflow.name,
        nodes=len(workflow.graph),
        prompts=prompts(sight),
        seeds=_knobs(sight, SEED_INPUTS, int),
        steps=_knobs(sight, ("steps",), int),
        guidance=_knobs(sight, _GUIDANCE, float),
        sizes=tuple(_sizes(sight)),
        batches=(*batches, *amounts),
        frames=frames,
        fps=_knobs(sight, _FPS, float),
        models=tuple(_models(sight)),
        outputs=tuple(_outputs(sight)),
        paid=tuple(_paid(sight)),
        optional=optional(sight),
    )


def _knobs(sight: Sight, names: tuple[str, ...], kind: type) -> tuple[Knob, ...]:
    types = ("INT", "FLOAT", None) if kind is float else ("INT", None)
    found = [
        follow(sight.workflow, node_id, name)
        for node_id, node in sight.graph.items()
        for name in names
        if name in node["inputs"] and sight.input_type(node_id, name) in types
    ]
    # A node that only holds a value is told at those who use it.
    held = {each.set_at for each in found if each.source}
    return tuple(each for each in found if each.source or each.set_at not in held)


def _sizes(sight: Sight) -> Iterator[Size]:
    for node_id, node in sight.graph.items():
        inputs = node["inputs"]
        if "width" in inputs and "height" in inputs and _makes(sight, node_id):
            width, height = (follow(sight.workflow, node_id, name) for name in ("width", "height"))
            yield Size(node_id, node["class_type"], width, height)


def _makes(sight: Sight, node_id: str) -> bool:
    """Whether things are made in this size here, and not scaled to it, cropped or described."""
    inputs = sight.graph[node_id]["inputs"]
    if "samples" in inputs or "upscale_method" in inputs:
        return False
    name = sight.class_of(node_id)
    if any(each in inputs for each in (*_BATCHES, "length", "num_frames", "video_frames")):
        return "Embedding" not in name
    cls = None if sight.catalog is None else sight.catalog.get(name)
    if cls is not None:
        return cls.api_node or any("LATENT" in each or "EMBEDS" in each for each in cls.outputs)
    return name.startswith("Empty") or named_as_paid(name)


def _models(sight: Sight) -> Iterator[ModelUse]:
    for node_id, node in sight.graph.items():
        cls = None if sight.catalog is None else sight.catalog.get(node["class_type"])
        for name in node["inputs"]:
            spec = None if cls is None else cls.inputs.get(name)
            if spec is not None and spec.type not in (COMBO, "STRING"):
                continue
            knob = follow(sight.workflow, node_id, name)
            if not isinstance(knob.value, str) and not (knob.value is None and not knob.settable):
                continue
            choices = None if spec is None else spec.choices
            folder = model_folder(node["class_type"], name, knob.value, choices)
            if folder is not None and (knob.settable or folder):
                yield ModelUse(
                    knob.node_id,
                    knob.class_type,
                    knob.input,
                    knob.value,
                    knob.set_at,
                    knob.source,
                    folder,
                )


def _outputs(sight: Sight) -> Iterator[Output]:
    for node_id, node in sight.graph.items():
        name = node["class_type"]
        cls = None if sight.catalog is None else sight.catalog.get(name)
        saves = (name in SAVING_NODES and not name.startswith("Preview")) or (
            name.startswith("Save") or name.endswith("Save")
        )
        ends = cls.output_node if cls is not None else saves or "Preview" in name
        if ends:
            prefix = "filename_prefix" in node["inputs"]
            knob = follow(sight.workflow, node_id, "filename_prefix") if prefix else None
            yield Output(node_id, name, saves, knob)


def _paid(sight: Sight) -> Iterator[Paid]:
    for node_id, node in sight.graph.items():
        name = node["class_type"]
        cls = None if sight.catalog is None else sight.catalog.get(name)
        if cls is not None:
            if cls.api_node:
                yield Paid(node_id, name, certain=True)
        elif named_as_paid(name):
            yield Paid(node_id, name, certain=False)
