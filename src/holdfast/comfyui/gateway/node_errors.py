"""Problems that `preflight` finds, in the very words and shapes of a ComfyUI server. Pure.

Clients show what they find in ``node_errors`` beside the node it is about, and
some look for a missing model there, so each kind has the keys the server gives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.preflight import Problem
from holdfast.comfyui.preflight.values import CONVERSIONS

Graph = Mapping[str, Mapping[str, Any]]

LONG_LIST = 20
"""A list of more values than this is not repeated in an error."""


def said(problem: Problem, graph: Graph, catalog: Catalog) -> dict[str, Any]:
    """One problem as a server tells it."""
    name = problem.input or ""
    config = _config(problem, catalog)
    extra: dict[str, Any] = {"input_name": name}
    full = extra | {"input_config": config, "received_value": problem.value}
    match problem.kind:
        case "required_input_missing":
            return _error(problem.kind, "Required input is missing", name, extra)
        case "bad_linked_input":
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            return _error(problem.kind, message, name, full)
        case "return_type_mismatch":
            return _mismatch(problem, graph, catalog, config)
        case "invalid_input_type":
            return _not_convertible(problem, config, full)
        case "value_smaller_than_min":
            low = _option(config, "min")
            message = f"Value {problem.value} smaller than min of {low}"
            return _error(problem.kind, message, name, full)
        case "value_bigger_than_max":
            high = _option(config, "max")
            message = f"Value {problem.value} bigger than max of {high}"
            return _error(problem.kind, message, name, full)
        case "value_not_in_list":
            return _not_in_list(problem, config, full)
        case "image_not_there":
            message = "Custom validation failed for node"
            details = f"{name} - Invalid image file: {problem.value}"
            return _error("custom_validation_failed", message, details, extra)
        case "exception_during_validation":
            details, kind = _exception(problem, graph, catalog)
            told = {"exception_type": kind, "traceback": []}
            return _error(problem.kind, "Exception when validating node", details, told)
        case "exception_during_inner_validation":
            return _inner(problem, graph, catalog)
    # What no server finds, and its worker dies of.
    return _error(problem.kind, problem.words, problem.words, full)


def _error(kind: str, message: str, details: str, extra: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def _config(problem: Problem, catalog: Catalog) -> list[Any]:
    return _config_of(problem.class_type or "", problem.input, catalog)


def _config_of(class_type: str, name: str | None, catalog: Catalog) -> list[Any]:
    cls = catalog.get(class_type)
    groups = cls.raw.get("input") if cls is not None else None
    if not isinstance(groups, Mapping):
        return [None, {}]
    for group in ("required", "optional"):
        listed = groups.get(group)
        given = listed.get(name) if isinstance(listed, Mapping) else None
        if given is not None:
            parts = given if isinstance(given, list) and given else [given]
            return [parts[0], parts[1] if len(parts) > 1 else {}]
    return [None, {}]


def _option(config: list[Any], name: str) -> Any:
    return config[1].get(name) if isinstance(config[1], Mapping) else None


def _mismatch(
    problem: Problem, graph: Graph, catalog: Catalog, config: list[Any]
) -> dict[str, Any]:
    received: Any = None
    source, slot = problem.value
    cls = catalog.get(graph[source]["class_type"]) if source in graph else None
    outputs = cls.raw.get("output") if cls is not None else None
    if isinstance(outputs, list) and isinstance(slot, int) and abs(slot) < len(outputs) + 1:
        received = outputs[slot] if -len(outputs) <= slot < len(outputs) else None
    details = f"{problem.input}, received_type({received}) mismatch input_type({config[0]})"
    extra = {
        "input_name": problem.input,
        "input_config": config,
        "received_type": received,
        "linked_node": problem.value,
    }
    return _error(problem.kind, "Return type mismatch between linked nodes", details, extra)


def _not_convertible(
    problem: Problem, config: list[Any], full: dict[str, Any]
) -> dict[str, Any]:
    kind = config[0] if isinstance(config[0], str) else ""
    words = "it cannot be converted"
    try:
        CONVERSIONS[kind](problem.value)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        words = str(error)[:1_000]
    message = f"Failed to convert an input value to a {kind} value"
    details = f"{problem.input}, {problem.value}, {words}"
    return _error(problem.kind, message, details, full | {"exception_message": words})


def _not_in_list(problem: Problem, config: list[Any], full: dict[str, Any]) -> dict[str, Any]:
    choices = config[0] if isinstance(config[0], list) else _option(config, "options") or []
    listed = str(choices)
    if len(choices) > LONG_LIST:
        listed = f"(list of length {len(choices)})"
        full = full | {"input_config": None}
    details = f"{problem.input}: '{problem.value}' not in {listed}"
    return _error(problem.kind, "Value not in list", details, full)


def _exception(problem: Problem, graph: Graph, catalog: Catalog) -> tuple[str, str]:
    """What Python says when the server trips over a link."""
    value = problem.value
    if not isinstance(value, list) or len(value) != 2:
        return repr(value)[:200], "TypeError"
    source, slot = value
    if not isinstance(source, str) or source not in graph:
        return repr(source)[:200], "KeyError"
    cls = catalog.get(graph[source]["class_type"])
    outputs = tuple(cls.outputs) if cls is not None else ()
    try:
        outputs[slot]
    except (IndexError, TypeError) as error:
        return str(error), type(error).__name__
    return problem.words, "ValueError"


def _inner(problem: Problem, graph: Graph, catalog: Catalog) -> dict[str, Any]:
    """An exception while a node is looked at that another node needs."""
    details, kind = _exception(problem, graph, catalog)
    return _raised(problem.node_id or "", graph, catalog, details, kind)


def without_inputs(node_id: str, graph: Graph, catalog: Catalog) -> dict[str, Any]:
    """What a server says of a node that has no inputs, and that an output needs."""
    return _raised(node_id, graph, catalog, "'inputs'", "KeyError")


def _raised(
    node_id: str, graph: Graph, catalog: Catalog, details: str, kind: str
) -> dict[str, Any]:
    # It is told of the node itself, with the input of the node that needs it.
    for node in graph.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list) and len(value) == 2 and value[0] == node_id:
                told = {
                    "input_name": name,
                    "input_config": _config_of(node["class_type"], name, catalog),
                    "exception_message": details,
                    "exception_type": kind,
                    "traceback": [],
                    "linked_node": value,
                }
                where = "exception_during_inner_validation"
                return _error(where, "Exception when validating inner node", details, told)
    told = {"exception_type": kind, "traceback": []}
    return _error(
        "exception_during_validation", "Exception when validating node", details, told
    )
