"""What a lower level of service means for a workflow: fewer steps, smaller pictures. Pure.

Only for jobs that may be changed, and everything that was turned down is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.comfyui.workflow import Workflow

GRID = 8
"""Pixels that sizes are rounded to, down."""
_MAKES_SIZE = re.compile(r"Empty\w*Latent\w*|EmptyImage")


Adjust = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""As `GracefulDegradation.adjust_parameters`: equal parameters come back at the full level."""


def turned_down(workflow: Workflow, adjust: Adjust, level: str) -> tuple[Workflow, tuple[str, ...]]:
    """The workflow as a level of service allows it, and what was changed, in words.

    Args:
        workflow: as it was accepted.
        adjust: turns parameters down.
        level: what the level is called.
    """
    changes: dict[str, Any] = {}
    words: list[str] = []
    for node_id, node in workflow.graph.items():
        inputs = node["inputs"]
        steps = inputs.get("steps")
        if _is_number(steps):
            fewer = adjust({"steps": steps})["steps"]
            if fewer != steps:
                changes[f"{node_id}.steps"] = max(1, int(fewer))
                words.append(f"{steps} steps became {changes[f'{node_id}.steps']}")
        width, height = inputs.get("width"), inputs.get("height")
        if _MAKES_SIZE.fullmatch(node["class_type"]) and _is_number(width) and _is_number(height):
            smaller = adjust({"resolution": (width, height)})["resolution"]
            size = tuple(max(64, int(each) // GRID * GRID) for each in smaller)
            if size != (width, height) and size[0] <= width and size[1] <= height:
                changes |= {f"{node_id}.width": size[0], f"{node_id}.height": size[1]}
                words.append(f"{width}x{height} became {size[0]}x{size[1]}")
    if not changes:
        return workflow, ()
    told = tuple(f"at the service level {level}: {each}" for each in dict.fromkeys(words))
    return workflow.with_inputs(changes), told


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
