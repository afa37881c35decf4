"""``GET /object_info``: what a server says its nodes are.

Pure, given the catalog and the files. Lists of model names are read live, so
two calls may differ. Classes of the newer kind have a few keys more, and no
display name unless they say one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.comfyui.standin.node import InputSpec, NodeClass, ServerFiles

Catalog = Mapping[str, NodeClass]


def live_spec(node: NodeClass, name: str, spec: InputSpec, files: ServerFiles) -> InputSpec:
    """``spec`` with its list of values as it is now."""
    if node.modern and len(spec) == 1:
        spec = (*spec, {})
    lister = node.choices.get(name)
    if lister is None:
        return (list(spec[0]), *spec[1:]) if isinstance(spec[0], tuple) else spec
    names = lister(files)
    if spec and spec[0] == "COMBO":
        extra = spec[1] if len(spec) > 1 else {}
        return ("COMBO", {**extra, "options": names})
    return (names, *spec[1:])


def input_types(node: NodeClass, files: ServerFiles) -> dict[str, dict[str, Any]]:
    """Inputs by category, as nodes declare them; an empty category is left out."""
    required = {key: live_spec(node, key, spec, files) for key, spec in node.required.items()}
    optional = {key: live_spec(node, key, spec, files) for key, spec in node.optional.items()}
    declared: dict[str, dict[str, Any]] = {"required": required}
    if optional:
        declared["optional"] = optional
    if node.hidden:
        declared["hidden"] = {
            name: [kind] if node.modern else kind for name, kind in node.hidden.items()
        }
    return declared


def describe(node: NodeClass, files: ServerFiles) -> dict[str, Any]:
    """One node class, with the keys and the order of a real server."""
    declared = input_types(node, files)
    names = node.outputs if node.output_names is None else node.output_names
    tooltips = {"output_tooltips": [None] * len(node.outputs)}
    marks = {"deprecated": False, "experimental": False, "api_node": False}
    return {
        "input": declared,
        "input_order": {category: list(specs) for category, specs in declared.items()},
        "output": list(node.outputs),
        "output_is_list": [False] * len(node.outputs),
        "output_name": list(names),
        **(tooltips if node.modern else {}),
        "name": node.name,
        "display_name": node.display_name or (None if node.modern else node.name),
        "description": node.description,
        "python_module": node.python_module,
        "category": node.category,
        "output_node": node.output_node,
        **(marks if node.modern else {}),
    }


def object_info(catalog: Catalog, files: ServerFiles) -> dict[str, Any]:
    """Every node class of the server."""
    return {name: describe(node, files) for name, node in catalog.items()}
