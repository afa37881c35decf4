"""``POST /prompt``: is this graph fit to run, and if not, what is said about it?

Pure, given the catalog and the files. The answers have the shapes, the words
and the gaps of the real server, because clients must cope with exactly those:

- Nodes that no output needs are not looked at, except for their class.
- One good output is enough; bad branches are reported and silently not run.
- A cycle is refused without a word on why.
- Values are coerced in place: what is queued is the coerced graph.
- A graph so odd that even looking at it fails raises; the server answers 500.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.comfyui.standin.graph import is_link
from holdfast.comfyui.standin.node import NodeClass, ServerFiles
from holdfast.comfyui.standin.objectinfo import input_types

Problem = dict[str, Any]

LONG_LIST = 20
"""A list of more values than this is not repeated in an error."""

COERCIONS: Mapping[str, type] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}

NO_PROMPT: Problem = {
    "type": "no_prompt",
    "message": "No prompt provided",
    "details": "No prompt provided",
    "extra_info": {},
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the server thinks of a graph."""

    error: Problem | None
    """Why it is refused, or None if it is accepted."""
    outputs: list[str] = field(default_factory=list)
    """Output nodes that will run."""
    node_errors: dict[str, Any] = field(default_factory=dict)
    """What is wrong, by node id; may hold something even if the graph is accepted."""


def validate_prompt(
    prompt: Any,
    catalog: Mapping[str, NodeClass],
    files: ServerFiles,
    targets: Any = None,
) -> Verdict:
    """Judge a graph; ``targets`` limits which output nodes count, None is all.

    Raises:
        Exception: the graph is not even a graph. The real server answers 500 then.
    """
    outputs = []
    for node_id in prompt:
        node = prompt[node_id]
        if "class_type" not in node:
            return _invalid(
                "Cannot execute because a node is missing the class_type property.", node_id
            )
        cls = catalog.get(node["class_type"])
        if cls is None:
            name = node["class_type"]
            return _invalid(f"Cannot execute because node {name} does not exist.", node_id)
        if cls.output_node and (targets is None or node_id in targets):
            outputs.append(node_id)
    if not outputs:
        return Verdict(_problem("prompt_no_outputs", "Prompt has no outputs", ""))
    return _Inspection(prompt, catalog, files).judge(outputs)


def _problem(kind: str, message: str, details: str, **extra: Any) -> Problem:
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def _invalid(message: str, node_id: object) -> Verdict:
    return Verdict(_problem("invalid_prompt", message, f"Node ID '#{node_id}'"))


class _Inspection:
    """One look at one graph; remembers each node's result."""

    def __init__(self, prompt: Any, catalog: Mapping[str, NodeClass], files: ServerFiles) -> None:
        self._prompt = prompt
        self._catalog = catalog
        self._files = files
        self._results: dict[str, tuple[bool, list[Problem]]] = {}
        self._path: set[str] = set()

    def judge(self, outputs: list[str]) -> Verdict:
        good: list[str] = []
        reasons: list[Problem] = []
        node_errors: dict[str, Any] = {}
        for output in outputs:
            fine, problems = self._inspect_output(output)
            if fine:
                good.append(output)
                continue
            reasons += problems
            for node_id, (node_fine, node_problems) in self._results.items():
                if node_fine or not node_problems:
                    continue
                entry = node_errors.setdefault(
                    node_id,
                    {
                        "errors": node_problems,
                        "dependent_outputs": [],
                        "class_type": self._prompt[node_id]["class_type"],
                    },
                )
                entry["dependent_outputs"].append(output)
        if good:
            return Verdict(None, good, node_errors)
        details = "\n".join(f"{reason['message']}: {reason['details']}" for reason in reasons)
        kind, message = "prompt_outputs_failed_validation", "Prompt outputs failed validation"
        return Verdict(_problem(kind, message, details), [], node_errors)

    def _inspect_output(self, node_id: str) -> tuple[bool, list[Problem]]:
        try:
            return self._inspect(node_id)
        except Exception as error:  # noqa: BLE001 - reported, as the real server does
            self._path.clear()
            problem = _problem(
                "exception_during_validation",
                "Exception when validating node",
                str(error),
                exception_type=type_name(error),
                traceback=traceback.format_tb(error.__traceback__),
            )
            self._results[node_id] = (False, [problem])
            return self._results[node_id]

    def _inspect(self, node_id: str) -> tuple[bool, list[Problem]]:
        if node_id in self._results:
            return self._results[node_id]
        if node_id in self._path:
            # The real server recurses here until it gives up, and ends with the same answer.
            return False, []
        self._path.add(node_id)
        inputs = self._prompt[node_id]["inputs"]
        cls = self._catalog[self._prompt[node_id]["class_type"]]
        declared = input_types(cls, self._files)
        problems: list[Problem] = []
        fine = True
        for category in ("required", "optional"):
            for name, spec in declared.get(category, {}).items():
                if name not in inputs:
                    if category == "required":
                        message = "Required input is missing"
                        problems.append(
                            _problem("required_input_missing", message, name, input_name=name)
                        )
                    continue
                config = (spec[0], spec[1] if len(spec) > 1 else {})
                if isinstance(inputs[name], list):
                    fine &= self._inspect_link(name, inputs[name], config, problems)
                else:
                    problem = _inspect_value(cls, name, inputs, config)
                    problems += [] if problem is None else [problem]
        problems += self._ask_class(cls, inputs)
        self._path.discard(node_id)
        self._results[node_id] = (fine and not problems, problems)
        return self._results[node_id]

    def _inspect_link(
        self, name: str, link: list[Any], config: tuple[Any, Any], problems: list[Problem]
    ) -> bool:
        """Look at a link and at the node behind it; say whether that node is fine."""
        if len(link) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            extra = {"input_name": name, "input_config": config, "received_value": link}
            problems.append(_problem("bad_linked_input", message, name, **extra))
            return True
        source, slot = link
        received = self._catalog[self._prompt[source]["class_type"]].outputs[slot]
        if not fits(received, config[0]):
            problems.append(
                _problem(
                    "return_type_mismatch",
                    "Return type mismatch between linked nodes",
                    f"{name}, received_type({received}) mismatch input_type({config[0]})",
                    input_name=name,
                    input_config=config,
                    received_type=received,
                    linked_node=link,
                )
            )
            return True
        try:
            return self._inspect(source)[0]
        except Exception as error:  # noqa: BLE001 - reported, as the real server does
            self._path.discard(source)
            problem = _problem(
                "exception_during_inner_validation",
                "Exception when validating inner node",
                str(error),
                input_name=name,
                input_config=config,
                exception_message=str(error),
                exception_type=type_name(error),
                traceback=traceback.format_tb(error.__traceback__),
                linked_node=link,
            )
            self._results[source] = (False, [problem])
            return False

    def _ask_class(self, cls: NodeClass, inputs: Mapping[str, Any]) -> list[Problem]:
        """Let the class look at the inputs it wants to judge itself.

        Raises:
            TypeError: one of them is missing.
            Exception: the class cannot cope with a value.
        """
        if cls.validate is None:
            return []
        missing = [name for name in cls.validates if name not in inputs]
        if missing:
            call = f"{cls.name}.VALIDATE_INPUTS()"
            raise TypeError(f"{call} missing 1 required positional argument: '{missing[0]}'")
        asked = {
            name: None if is_link(inputs[name]) else inputs[name]
            for name in inputs
            if name in cls.validates
        }
        complaint = cls.validate(self._files, asked)
        if complaint is None:
            return []
        message = "Custom validation failed for node"
        return [
            _problem("custom_validation_failed", message, f"{name} - {complaint}", input_name=name)
            for name in asked
        ]


def _inspect_value(
    cls: NodeClass, name: str, inputs: dict[str, Any], config: tuple[Any, Any]
) -> Problem | None:
    """Coerce a constant in place and see whether it is allowed."""
    kind, limits = config
    value = inputs[name]
    try:
        if isinstance(value, dict) and "__value__" in value:
            value = inputs[name] = value["__value__"]
        if isinstance(kind, str) and kind in COERCIONS:
            value = inputs[name] = COERCIONS[kind](value)
    except Exception as error:  # noqa: BLE001 - reported, as the real server does
        return _problem(
            "invalid_input_type",
            f"Failed to convert an input value to a {kind} value",
            f"{name}, {value}, {error}",
            input_name=name,
            input_config=config,
            received_value=value,
            exception_message=str(error),
        )
    if name in cls.validates:
        return None
    extra = {"input_name": name, "input_config": config, "received_value": value}
    if "min" in limits and value < limits["min"]:
        message = f"Value {value} smaller than min of {limits['min']}"
        return _problem("value_smaller_than_min", message, name, **extra)
    if "max" in limits and value > limits["max"]:
        message = f"Value {value} bigger than max of {limits['max']}"
        return _problem("value_bigger_than_max", message, name, **extra)
    if isinstance(kind, list) and value not in kind:
        long = len(kind) > LONG_LIST
        listed = f"(list of length {len(kind)})" if long else str(kind)
        extra["input_config"] = None if long else config
        return _problem(
            "value_not_in_list", "Value not in list", f"{name}: '{value}' not in {listed}", **extra
        )
    return None


def fits(received: Any, wanted: Any) -> bool:
    """Say whether an output of type ``received`` may feed an input of type ``wanted``.

    Types are names, or several joined by commas; one in common is enough. ``*`` fits all.
    """
    if received == wanted or "*" in (received, wanted):
        return True
    if not isinstance(received, str) or not isinstance(wanted, str):
        return False
    ours, theirs = ({part.strip() for part in types.split(",")} for types in (received, wanted))
    return bool(ours & theirs)


def type_name(error: BaseException) -> str:
    """The full class name of an exception, as it goes over the wire."""
    cls = type(error)
    if cls.__module__ == "builtins":
        return cls.__qualname__
    return f"{cls.__module__}.{cls.__qualname__}"
