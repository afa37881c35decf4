"""Can the workflow have wanted a picture that is the same all over?

A half-precision decode that went wrong gives a black picture, and the server
calls it a success. A workflow that draws masks, or fills a picture with one
colour, wants just that. The graph tells which it is.
"""

from __future__ import annotations

import re

from holdfast.comfyui.workflow import Workflow, is_link

_PAINTS = re.compile(r"sampler", re.IGNORECASE)
_NO_PAINTER = frozenset({"KSamplerSelect", "SamplerCustomSelect"})
_DRAWS = re.compile(
    r"mask|emptyimage|solid|threshold|canny|lineart|edge|depth|blank|composite|crop|matte|alpha",
    re.IGNORECASE,
)
"""Nodes whose pictures may well be of one colour."""


def suspect(workflow: Workflow, node_id: str, plain: str) -> str:
    """Why a picture that is ``plain`` all over is not what the node should have saved.

    Empty if nothing speaks for it: the picture is not plain, nothing was sampled for it, or
    something on the way draws masks or areas of one colour.
    """
    if not plain:
        return ""
    painted = False
    waiting, seen = [node_id], {node_id}
    while waiting:
        node = workflow.graph.get(waiting.pop())
        if node is None:
            continue
        name = node["class_type"]
        if _DRAWS.search(name):
            return ""
        if _PAINTS.search(name) and name not in _NO_PAINTER:
            painted = True  # what lies before it steers it, and is not to be seen
            continue
        above = {value[0] for value in node["inputs"].values() if is_link(value)} - seen
        seen |= above
        waiting += above
    return f"the picture is {plain}, which sampling hardly makes" if painted else ""
