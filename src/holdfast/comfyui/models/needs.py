"""Which model files a workflow needs, by what one server says about its node classes.

The server's own list of values for an input is the authority: what is not in
it is refused. In which folder such a file lies is known by the input's name;
what a custom node calls its inputs is found by comparing lists (see `shelves`).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from holdfast.comfyui.catalog import COMBO, Catalog, InputSpec
from holdfast.comfyui.model_inputs import slashed
from holdfast.comfyui.models.names import is_model_name
from holdfast.comfyui.workflow import Workflow

INPUT_FOLDERS: Mapping[str, str] = MappingProxyType(
    {
        "ckpt_name": "checkpoints",
        "lora_name": "loras",
        "vae_name": "vae",
        "unet_name": "diffusion_models",
        "clip_name": "text_encoders",
        "clip_name1": "text_encoders",
        "clip_name2": "text_encoders",
        "clip_name3": "text_encoders",
        "clip_name4": "text_encoders",
        "control_net_name": "controlnet",
        "style_model_name": "style_models",
        "gligen_name": "gligen",
        "hypernetwork_name": "hypernetworks",
        "photomaker_model_name": "photomaker",
        "audio_encoder_name": "audio_encoders",
    }
)
"""Where the files that an input names lie."""

CLASS_FOLDERS: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("CLIPVisionLoader", "clip_name"): "clip_vision",
        ("UpscaleModelLoader", "model_name"): "upscale_models",
        ("ModelPatchLoader", "name"): "model_patches",
    }
)
"""Where a class of nodes means something else by an input's name than others do."""


@dataclass(frozen=True, slots=True)
class ModelNeed:
    """One model file that one node asks for."""

    node_id: str
    node_type: str
    input: str
    name: str
    """As the workflow writes it."""
    folder: str | None
    """Such as ``checkpoints``; None if it cannot be told from the input's name."""
    choices: tuple[str, ...]
    """What the server takes here."""

    @property
    def present(self) -> bool:
        """Whether the server takes the name as it stands."""
        return self.name in self.choices

    @property
    def nearest(self) -> tuple[str, ...]:
        """Names the server has that look like it: to be shown to people, never to be used."""
        folded = {slashed(each).casefold(): each for each in self.choices[:5_000]}
        close = difflib.get_close_matches(slashed(self.name).casefold(), folded, n=3, cutoff=0.5)
        return tuple(folded[each] for each in close)

    @property
    def words(self) -> str:
        """The need in a few words."""
        where = f" in {self.folder}" if self.folder else ""
        return f"node {self.node_id} ({self.node_type}) needs {self.name}{where}"


def folder_of(node_type: str, name: str) -> str | None:
    """Where the files lie that this input names, if that is known."""
    return CLASS_FOLDERS.get((node_type, name)) or INPUT_FOLDERS.get(name)


def needs_of(workflow: Workflow, catalog: Catalog) -> tuple[ModelNeed, ...]:
    """The model files a workflow names, in its order, each node's own.

    Nodes whose class the catalog lacks are left out: nothing is known about them.
    """
    found = []
    for node_id, node in workflow.graph.items():
        node_type = node["class_type"]
        known = catalog.get(node_type)
        if known is None:
            continue
        for name, value in node["inputs"].items():
            spec = known.inputs.get(name)
            choices = None if spec is None else choices_of(spec)
            if choices is None or not isinstance(value, str):
                continue
            folder = folder_of(node_type, name)
            if is_model_name(value) or (folder is not None and value not in choices):
                found.append(ModelNeed(node_id, node_type, name, value, folder, choices))
    return tuple(found)


def choices_of(spec: InputSpec) -> tuple[str, ...] | None:
    """The texts an input takes; None if it takes anything, or the list is kept elsewhere."""
    if spec.type != COMBO:
        return None
    choices = spec.choices
    if choices is None:
        listed = spec.options.get("options")
        if not isinstance(listed, list):
            return None
        choices = tuple(listed)
    return tuple(each for each in choices if isinstance(each, str))


def unknown_nodes(workflow: Workflow, catalog: Catalog) -> tuple[str, ...]:
    """Classes the workflow uses and the server lacks, sorted."""
    return tuple(sorted({n["class_type"] for n in workflow.graph.values()} - catalog.keys()))
