"""A simpler workflow in place of the one given: it is to show what the given one would have shown.

So prompts and seed are carried over where it is plain where they belong, and a
local file to the one input that can take it. What was not is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.views import view
from holdfast.comfyui.workflow import Workflow


def carried(given: Workflow, simpler: Workflow, catalog: Catalog) -> tuple[Workflow, str]:
    """``simpler`` with the prompts and the seed of ``given``; and what was carried, in words."""
    mine, other = view(given, catalog).prompts, view(simpler, catalog).prompts
    inputs: dict[str, object] = {}
    taken, kept = [], []
    for role in ("positive", "negative"):
        texts = {each.value for each in mine if each.role == role and isinstance(each.value, str)}
        keys = [each.key for each in other if each.role == role and each.key is not None]
        if not keys:
            continue
        if len(texts) == 1:
            inputs |= dict.fromkeys(keys, texts.pop())
            taken.append(f"the {role} prompt")
        else:
            kept.append(f"its own {role} prompt")
    seeds = [given.graph[node]["inputs"][name] for node, name in given.seeds()]
    places = [f"{node}.{name}" for node, name in simpler.seeds()]
    if seeds and places:
        inputs |= dict.fromkeys(places, seeds[0])
        taken.append("the seed")
    elif places:
        kept.append("its own seed")
    words = f"with {', '.join(taken)} of the one given" if taken else "as it is"
    return simpler.with_inputs(inputs), words + (f", but {', '.join(kept)}" if kept else "")


def uploads_for(
    workflow: Workflow, uploads: Mapping[tuple[str, str], Path]
) -> tuple[dict[tuple[str, str], Path], list[str]]:
    """Where the caller's files go in this workflow, and which have no place in it.

    A file whose input is not there goes to the only input of that name, if there is one.
    """
    found: dict[tuple[str, str], Path] = {}
    homeless = []
    for (node_id, name), path in uploads.items():
        if isinstance(workflow.graph.get(node_id, {}).get("inputs", {}).get(name), str):
            found[node_id, name] = path
            continue
        others = [
            each
            for each, node in workflow.graph.items()
            if isinstance(node["inputs"].get(name), str)
        ]
        if len(others) == 1:
            found[others[0], name] = path
        else:
            homeless.append(f"{node_id}.{name}")
    return found, homeless
