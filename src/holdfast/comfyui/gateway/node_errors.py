"""Problems that `preflight` finds, in the very words and shapes of a ComfyUI server. Pure.

Clients show what they find in ``node_errors`` beside the node it is about, and
some look for a missing model there, so each kind has the keys the server gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.preflight import Problem
from holdfast.comfyui.preflight.values import CONVERSIONS

Graph = Mapping[str, Mapping[str, Any]]

LONG_LIST = 20
"""A list of more values than this is not repeated in an error."""


def said(problem: Problem, graph: Graph, catalog: Catalog) -> dict[str, Any]:
    """One problem as a server tells it."""
    found = _SAYING.get(problem.kind, _in_our_words)
    return found(_Told(problem, graph, catalog))


@dataclass(frozen=True, slots=True)
class _Told:
    """A problem and where it is."""

    problem: Problem
    graph: Graph
    catalog: Catalog

    @property
    def name(self) -> str:
        return self.problem.input or ""

    @property
    def config(self) -> list[Any]:
        return _config_of(self.problem.class_type or "", self.problem.input, self.catalog)

    @property
    def full(self) -> dict[str, Any]:
        return {
            "input_name": self.name,
            "input_config": self.config,
            "received_value": self.problem.value,
        }


def _error(kind: str, message: str, details: str, extra: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


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


def _missing(told: _Told) -> dict[str, Any]:
    kind, extra = told.problem.kind, {"input_name": told.name}
    return _error(kind, "Required input is missing", told.name, extra)


def _bad_link(told: _Told) -> dict[str, Any]:
    message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
    return _error(told.problem.kind, message, told.name, told.full)


def _too_small(told: _Told) -> dict[str, Any]:
    message = f"Value {told.problem.value} smaller than min of {_option(told.config, 'min')}"
    return _error(told.problem.kind, message, told.name, told.full)


def _too_big(told: _Told) -> dict[str, Any]:
    message = f"Value {told.problem.value} bigger than max of {_option(told.config, 'max')}"
    return _error(told.problem.kind, message, told.name, told.full)


def _no_file(told: _Told) -> dict[str, Any]:
    details = f"{told.name} - Invalid image file: {told.problem.value}"
    message, extra = "Custom validation failed for node", {"input_name": told.name}
    return _error("custom_validation_failed", message, details, extra)


def _in_our_words(told: _Told) -> dict[str, Any]:
    """What no server finds, and its worker dies of."""
    return _error(told.problem.kind, told.problem.words, told.problem.words, told.full)


def _mismatch(told: _Told) -> dict[str, Any]:
    received: Any = None
    source, slot = told.problem.value
    cls = told.catalog.get(told.graph[source]["class_type"]) if source in told.graph else None
    outputs = cls.raw.get("output") if cls is not None else None
    if isinstance(outputs, list) and isinstance(slot, int) and -len(outputs) <= slot < len(outputs):
        received = outputs[slot]
    wanted = told.config[0]
    details = f"{told.name}, received_type({received}) mismatch input_type({wanted})"
    extra = {
        "input_name": told.name,
        "input_config": told.config,
        "received_type": received,
        "linked_node": told.problem.value,
    }
    message = "Return type mismatch between linked nodes"
    return _error(told.problem.kind, message, details, extra)


def _not_convertible(told: _Told) -> dict[str, Any]:
    value = told.problem.value
    kind = told.config[0] if isinstance(told.config[0], str) else ""
    words = "it cannot be converted"
    try:
        CONVERSIONS[kind](value)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        words = str(error)[:1_000]
    message = f"Failed to convert an input value to a {kind} value"
    details = f"{told.name}, {value}, {words}"
    return _error(told.problem.kind, message, details, told.full | {"exception_message": words})


def _not_in_list(told: _Told) -> dict[str, Any]:
    config, full = told.config, told.full
    choices = config[0] if isinstance(config[0], list) else _option(config, "options") or []
    listed = str(choices)
    if len(choices) > LONG_LIST:
        listed = f"(list of length {len(choices)})"
        full |= {"input_config": None}
    details = f"{told.name}: '{told.problem.value}' not in {listed}"
    return _error(told.problem.kind, "Value not in list", details, full)


def _outer(told: _Told) -> dict[str, Any]:
    details, kind = _exception(told.problem, told.graph, told.catalog)
    extra = {"exception_type": kind, "traceback": []}
    return _error(told.problem.kind, "Exception when validating node", details, extra)


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


def _inner(told: _Told) -> dict[str, Any]:
    """An exception while a node is looked at that another node needs."""
    details, kind = _exception(told.problem, told.graph, told.catalog)
    return _raised(told.problem.node_id or "", told.graph, told.catalog, details, kind)


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
    return _error("exception_during_validation", "Exception when validating node", details, told)


_SAYING: Mapping[str, Callable[[_Told], dict[str, Any]]] = {
    "required_input_missing": _missing,
    "bad_linked_input": _bad_link,
    "return_type_mismatch": _mismatch,
    "invalid_input_type": _not_convertible,
    "value_smaller_than_min": _too_small,
    "value_bigger_than_max": _too_big,
    "value_not_in_list": _not_in_list,
    "image_not_there": _no_file,
    "exception_during_validation": _outer,
    "exception_during_inner_validation": _inner,
}
