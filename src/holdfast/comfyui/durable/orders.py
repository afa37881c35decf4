"""From a workflow to a job that can be stored, and back. Pure.

The payload of a job, in JSON:

- ``graph``: the workflow in API format; ``extra_data`` and ``targets``: what came with it.
- ``files``: contents that its nodes load, as ``{"3.image": sha256}``, and their ``suffixes``, as
  ``{sha256: ".png"}``: some nodes go by a name's end.
- ``settings``: ``strict``.
- ``export``: ``folder`` and ``name``, if its files are to be copied somewhere in the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from holdfast.comfyui.model_inputs import looks_like_model
from holdfast.comfyui.needs import needs_of
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError
from holdfast.stores.jobs import NewJob

_DIGEST = re.compile(r"[0-9a-f]{64}")
_SUFFIX = re.compile(r"(\.[A-Za-z0-9]{1,15})?")
_SEEDS = ("seed", "noise_seed")
PROMPT = 500
"""Characters of a prompt that are kept for search."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker runs."""

    workflow: Workflow
    extra_data: Mapping[str, Any]
    targets: tuple[str, ...]
    files: Mapping[str, str]
    """SHA-256 by ``node.input``."""
    suffixes: Mapping[str, str]
    """The end of a file's name, by SHA-256."""
    strict: bool
    export: Mapping[str, str] | None


def new_job(
    workflow: Workflow,
    *,
    name: str = "",
    files: Mapping[str, str] | None = None,
    suffixes: Mapping[str, str] | None = None,
    extra_data: Mapping[str, Any] | None = None,
    targets: Sequence[str] = (),
    strict: bool = False,
    export: Path | None = None,
    **fields: Any,
) -> NewJob:
    """A job that runs a workflow.

    Args:
        workflow: what to run.
        name: what to call it and its files; the workflow's name by default.
        files: the SHA-256 of contents in the blob store, by ``node.input``.
        suffixes: how their names end, by SHA-256.
        extra_data: what the servers are to keep with it.
        targets: the output nodes that are wanted; all if empty.
        strict: change nothing but what keeps the result.
        export: a folder to which its files are copied in the end.
        fields: the other fields of `NewJob`: ``id``, ``key``, ``user``, ``order``, ``priority``,
            ``deadline``, ``client_id``.
    """
    label = (name or workflow.name)[:200]
    payload: dict[str, Any] = {"graph": workflow.to_api()}
    if files:
        payload["files"] = dict(files)
        payload["suffixes"] = dict(suffixes or {})
    if extra_data:
        payload["extra_data"] = dict(extra_data)
    if targets:
        payload["targets"] = list(targets)
    if strict:
        payload["settings"] = {"strict": True}
    if export is not None:
        payload["export"] = {"folder": str(export), "name": label}
    index: dict[str, Any] = dict(index_of(workflow))
    return NewJob(payload, name=label, **fields, **index)


def suffix_of(filename: str) -> str:
    """How a file's name ends, such as ``.png``; empty if that is nothing a server should see."""
    suffix = PurePosixPath(filename).suffix
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def index_of(workflow: Workflow) -> dict[str, str]:
    """What a job can be found by: ``prompt``, ``seed``, ``model``, and its ``signature``."""
    texts, seeds, models = [], [], []
    for node in workflow.graph.values():
        for name, value in node["inputs"].items():
            if isinstance(value, str) and looks_like_model(value):
                models.append(value)
            elif name in _SEEDS and isinstance(value, int):
                seeds.append(str(value))
            elif name in {"text", "prompt", "positive"} and isinstance(value, str):
                texts.append(value)
    return {
        "prompt": " | ".join(dict.fromkeys(texts))[:PROMPT],
        "seed": ", ".join(dict.fromkeys(seeds))[:200],
        "model": ", ".join(dict.fromkeys(models))[:200],
        "signature": needs_of(workflow).signature[:200],
    }


def plan_of(payload: Mapping[str, Any], name: str) -> Plan:
    """What a payload says is to be run.

    Raises:
        BadInputError: it is none of ours, or damaged; the message says where.
    """
    graph = payload.get("graph")
    if not isinstance(graph, dict):
        raise BadInputError("payload.graph must be a workflow in API format")
    files = payload.get("files") or {}
    if not isinstance(files, dict) or not all(
        isinstance(key, str) and isinstance(value, str) and _DIGEST.fullmatch(value)
        for key, value in files.items()
    ):
        raise BadInputError("payload.files must lead from node.input to a SHA-256")
    suffixes = payload.get("suffixes") or {}
    if not isinstance(suffixes, dict) or not all(
        isinstance(each, str) and _SUFFIX.fullmatch(each) for each in suffixes.values()
    ):
        raise BadInputError("payload.suffixes must lead from a SHA-256 to an end such as .png")
    targets, extra = payload.get("targets") or [], payload.get("extra_data") or {}
    settings, export = payload.get("settings") or {}, payload.get("export")
    if not isinstance(targets, list) or not isinstance(extra, dict):
        raise BadInputError("payload.targets must be a list, and payload.extra_data a dict")
    if not isinstance(settings, dict) or not isinstance(export, dict | None):
        raise BadInputError("payload.settings and payload.export must be dicts")
    return Plan(
        Workflow.from_api(graph, name=name),
        extra,
        tuple(str(each) for each in targets),
        files,
        suffixes,
        settings.get("strict") is True,
        export,
    )
