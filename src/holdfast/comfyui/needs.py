"""What a job needs of a server, read from its graph: models, node classes, and how much work.

Two jobs with the same signature take about as long as each other on the same
server, so what was learned from one says what to expect of the next.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.comfyui.model_inputs import looks_like_model, slashed
from holdfast.comfyui.workflow import Workflow

_PATCHES = ("lora", "embedding", "hypernetwork")
"""Loaders of small files that are put on top of a model: they hardly cost anything."""
SIZES = ("width", "height", "batch_size", "length", "num_frames", "frames", "video_frames")
"""Inputs that say how much there is to make; multiplied, they are the pixels of it all."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a job needs. A job nobody described needs nothing in particular."""

    models: frozenset[str] = frozenset()
    """Files that must be in the server's memory, with ``/`` in their names."""
    classes: frozenset[str] = frozenset()
    """Node classes the graph uses."""
    signature: str = ""
    """The same for jobs that take about as long as each other."""

    @property
    def names(self) -> frozenset[str]:
        """Everything a server might lack."""
        return self.models | self.classes | {f"#{self.signature}"}


def needs_of(workflow: Workflow) -> Needs:
    """Read a workflow's needs from its graph."""
    models: set[str] = set()
    classes: list[str] = []
    size, steps = 1.0, 1.0
    for node in workflow.graph.values():
        kind, inputs = str(node["class_type"]), node["inputs"]
        classes.append(kind)
        size = max(size, _size(inputs))
        steps += _number(inputs, "steps")
        if not any(word in kind.lower() for word in _PATCHES):
            models |= {
                slashed(value)
                for value in inputs.values()
                if looks_like_model(value) and len(value) < 1_000
            }
    # Doublings of the work; what lies between makes little difference to where a job goes.
    bucket = round(math.log2(size) + math.log2(steps))
    said = "\n".join([*sorted(classes), *sorted(models), str(bucket)])
    digest = hashlib.sha256(said.encode(errors="replace")).hexdigest()
    return Needs(frozenset(models), frozenset(classes), digest[:16])


def lacking(failure: Failure, needs: Needs) -> frozenset[str]:
    """What a server that refused a job has said that it lacks; empty if it is not for that."""
    if failure.kind is not FailureKind.REJECTED or not failure.elsewhere:
        return frozenset()
    text = " ".join([failure.message, *(each.words for each in failure.problems)])
    text = text.replace("\\\\", "/").replace("\\", "/")
    models = {name for name in needs.models if name in text}
    classes = {
        name
        for name in needs.classes
        if not failure.problems and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)
    }
    return frozenset(models | classes) or frozenset({f"#{needs.signature}"})


def _size(inputs: Mapping[str, Any]) -> float:
    product = 1.0
    for name in SIZES:
        product *= max(1.0, _number(inputs, name))
    return product


def _number(inputs: Mapping[str, Any], name: str) -> float:
    value = inputs.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    # JSON as ComfyUI reads it knows NaN, and numbers no float can hold.
    number = min(max(value, 0), 1_000_000)
    return 0.0 if math.isnan(number) else float(number)
