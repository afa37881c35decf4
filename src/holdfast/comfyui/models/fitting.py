"""The same workflow for another server: model names as that server writes them.

A name that differs in slashes, capitals or, where nothing else can be meant,
in its subfolder is mended. Another model takes a model's place only where the
user has declared that it may. Every change is an `Edit`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.edit import Change, Edit
from holdfast.comfyui.failures import node_name
from holdfast.comfyui.model_inputs import slashed
from holdfast.comfyui.models.names import Likeness, base_name, is_model_name, match_name
from holdfast.comfyui.models.needs import ModelNeed, needs_of
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError

MENDED = "model_name_mended"
FALLBACK = "model_fallback"

_WHY = {
    Likeness.SLASHES: "which is how this server writes",
    Likeness.CASE: "which this server has in place of",
    Likeness.SUBFOLDER: "the only file of this name here, in place of",
}


@dataclass(frozen=True, slots=True)
class Fit:
    """A workflow fitted to one server."""

    workflow: Workflow
    """With every model name mended that could be."""
    edits: tuple[Edit, ...]
    """Each change, on top of those before it."""
    missing: tuple[ModelNeed, ...]
    """What the server still lacks."""

    @property
    def changes(self) -> tuple[Change, ...]:
        """What was changed, in words."""
        return tuple(edit.change for edit in self.edits)


@dataclass(frozen=True, slots=True)
class Fallbacks:
    """Which models may take the place of which, the best first."""

    by_name: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, given: Mapping[str, Sequence[str]] | None) -> Fallbacks:
        """Check a declaration: ``{"flux1-dev.safetensors": ["flux1-dev-fp8.safetensors"]}``.

        A key may hold ``*`` and ``?``; what takes the place is named in full.

        Raises:
            BadInputError: naming what is wrong.
        """
        checked: dict[str, tuple[str, ...]] = {}
        for name, others in (given or {}).items():
            if isinstance(others, str) or not all(is_model_name(each) for each in others):
                raise BadInputError(
                    f"fallbacks[{name!r}] must be a list of model file names, got {others!r:.200}"
                )
            if any("*" in each or "?" in each for each in others):
                raise BadInputError(
                    f"fallbacks[{name!r}] must name each model in full, got {others!r:.200}"
                )
            checked[name] = tuple(others)
        return cls(checked)

    def for_name(self, name: str) -> tuple[str, ...]:
        """What may take the place of ``name``; a full name counts before a pattern."""
        whole, base = slashed(name).casefold(), base_name(name).casefold()
        keys = {key: slashed(key).casefold() for key in self.by_name}
        exact = [key for key, plain in keys.items() if plain in {whole, base}]
        patterns = [
            key
            for key, plain in keys.items()
            if key not in exact
            and ("*" in plain or "?" in plain)
            and fnmatch.fnmatchcase(whole if "/" in plain else base, plain)
        ]
        return tuple(dict.fromkeys(o for key in exact + patterns for o in self.by_name[key]))


def fit(workflow: Workflow, catalog: Catalog, fallbacks: Fallbacks | None = None) -> Fit:
    """Mend a workflow's model names for one server.

    Args:
        workflow: as it was written, for whichever server.
        catalog: the server's node classes.
        fallbacks: models that may take others' places; None allows no other model.
    """
    edits: list[Edit] = []
    missing: list[ModelNeed] = []
    for need in needs_of(workflow, catalog):
        if need.present:
            continue
        change = _change(need, fallbacks)
        if change is None:
            missing.append(need)
            continue
        name, told = change
        last = edits[-1].workflow if edits else workflow
        edits.append(Edit(renamed(last, need, name), told))
    return Fit(edits[-1].workflow if edits else workflow, tuple(edits), tuple(missing))


def can_fall_back(need: ModelNeed, fallbacks: Fallbacks) -> bool:
    """Whether a declared fallback for it is there."""
    names = fallbacks.for_name(need.name)
    return any(match_name(name, need.choices).name is not None for name in names)


def renamed(workflow: Workflow, need: ModelNeed, name: str) -> Workflow:
    """The workflow with another model name in the place of one need."""
    graph = workflow.to_api()
    graph[need.node_id]["inputs"][need.input] = name
    return Workflow(graph, workflow.name)


def _change(need: ModelNeed, fallbacks: Fallbacks | None) -> tuple[str, Change] | None:
    where = node_name(need.node_id, need.node_type)
    found = match_name(need.name, need.choices)
    if found.name is not None and found.likeness is not None:
        why = _WHY[found.likeness]
        words = f"{where} loads {found.name}, {why} {need.name}"
        # Nothing proves that files of one name in two folders are the same model.
        same = found.likeness is not Likeness.SUBFOLDER
        return found.name, Change(MENDED, words, (need.node_id,), keeps_result=same)
    for other in fallbacks.for_name(need.name) if fallbacks else ():
        found = match_name(other, need.choices)
        if found.name is not None:
            words = f"{where} loads {found.name} in place of {need.name}, as you declared"
            return found.name, Change(FALLBACK, words, (need.node_id,))
    return None
