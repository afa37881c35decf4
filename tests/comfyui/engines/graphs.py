"""Ways to look at a graph regardless of what its nodes are numbered."""

from __future__ import annotations

import json
from collections import Counter
from importlib.resources import files
from pathlib import Path

from holdfast.comfyui.workflow import is_link

GOLD = Path(__file__).parents[1] / "page" / "gold"


def edges(graph):
    """Each link as (class, input, class it comes from, output), and each class, counted."""
    found = Counter(node["class_type"] for node in graph.values())
    for node in graph.values():
        for name, value in node["inputs"].items():
            if is_link(value):
                found[node["class_type"], name, graph[value[0]]["class_type"], value[1]] += 1
    return found


def unrolled(graph, node_id):
    """A node with everything that leads to it, in place of the links."""
    node = graph[node_id]
    inputs = {
        name: (unrolled(graph, value[0]), value[1]) if is_link(value) else value
        for name, value in node["inputs"].items()
    }
    return node["class_type"], inputs


def ends(graph):
    """The nodes that save, unrolled."""
    return [unrolled(graph, each) for each, node in graph.items() if "Save" in node["class_type"]]


def gold(name):
    """What the real page made of a template."""
    loaded = json.loads((GOLD / f"{name}.json").read_text())
    return loaded.get("output", loaded)


def template_edges(name, mode=0):
    """The edges of an official template's nodes of one mode, notes and primitives left out."""
    text = (files("comfyui_workflow_templates") / "templates" / f"{name}.json").read_text("utf-8")
    loaded = json.loads(text)
    aside = {"MarkdownNote", "Note", "PrimitiveNode"}
    nodes = {
        each["id"]: each
        for each in loaded["nodes"]
        if each["mode"] == mode and each["type"] not in aside
    }
    source = {link[0]: (link[1], link[2]) for link in loaded["links"]}
    found = Counter(node["type"] for node in nodes.values())
    for node in nodes.values():
        for given in node.get("inputs") or []:
            start, slot = source.get(given.get("link"), (None, 0))
            if start in nodes:
                found[node["type"], given["name"], nodes[start]["type"], slot] += 1
    return found
