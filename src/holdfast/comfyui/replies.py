"""What ComfyUI answers over HTTP, as values. Pure: parsed JSON in, facts out.

Servers are not trusted: every field may be absent, of the wrong type or
enormous. Nothing here raises on what a server sends; what cannot be read is
left out or becomes `None`, and the caller decides what that means.

How a submission is told from another with the same prompt id: we send a
*token* in ``extra_data.holdfast``, which the server keeps with the job in
`/queue` and `/history`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from holdfast.comfyui.failures import Failure, FailureKind, NodeFault, clip, node_name
from holdfast.comfyui.preflight.packs import pack_of
from holdfast.errors import ErrorCategory

TOKEN_KEY = "holdfast"  # noqa: S105 - a key of the protocol, no secret


@dataclass(frozen=True, slots=True)
class NodeProblem:
    """One reason why a server refuses a node."""

    node_id: str | None
    node_type: str | None
    type: str
    """The server's own word, such as ``value_not_in_list``."""
    words: str
    """What is wrong and what would be right."""
    missing_model: bool = False
    """Whether a model file is asked for that the server does not have."""


_MISSING_HERE = frozenset({"value_not_in_list", "custom_validation_failed"})


_UNKNOWN_NODE = re.compile(r"node '?([^\s']{1,200})'? (?:does not exist|not found)")


def rejection(body: Any, server: str, graph: Mapping[str, Any] | None = None) -> Failure:
    """Read a 400 answer, or a 200 with `node_errors`, into a failure with every reason in words."""
    body = body if isinstance(body, dict) else {}
    error = body.get("error")
    error = error if isinstance(error, dict) else {"message": error}
    kind = _text(error.get("type"))
    problems = tuple(_problems(body.get("node_errors"), graph or {}))
    unknown_node = kind == "missing_node_type" or (
        kind == "invalid_prompt" and "does not exist" in _text(error.get("message"))
    )
    missing = bool(problems) and all(problem.type in _MISSING_HERE for problem in problems)
    reasons = [problem.words for problem in problems] or [_headline(kind, error)]
    if unknown_node and not problems:
        reasons += _where_to_get(error)
    category = ErrorCategory.VALIDATION
    if missing and any(problem.missing_model for problem in problems):
        category = ErrorCategory.MODEL
    first = problems[0] if problems else None
    return Failure(
        FailureKind.REJECTED,
        clip("; ".join(reasons)),
        server,
        first.node_id if first else None,
        first.node_type if first else None,
        problems=problems,
        elsewhere=unknown_node or missing,
        category=category,
    )


def _where_to_get(error: Mapping[str, Any]) -> list[str]:
    named = _UNKNOWN_NODE.search(_text(error.get("message")))
    pack = pack_of(named[1]) if named is not None else None
    return [] if pack is None else [f"the node is part of {pack}"]


def _headline(kind: str, error: Mapping[str, Any]) -> str:
    message = _text(error.get("message")) or "the server gave no reason"
    details = _text(error.get("details"))
    if kind == "prompt_no_outputs":
        return "the workflow has no output node (add a SaveImage or PreviewImage)"
    if kind == "prompt_outputs_failed_validation" and not details:
        return "the workflow cannot be run: its nodes most likely form a cycle"
    return clip(f"{message} ({details})" if details else message, 600)


def _problems(node_errors: Any, graph: Mapping[str, Any]) -> Iterator[NodeProblem]:
    if not isinstance(node_errors, dict):
        return
    for node_id, entry in node_errors.items():
        if not isinstance(entry, dict):
            continue
        node_type = clip(_text(entry.get("class_type")), 100) or None
        errors = entry.get("errors")
        for error in errors if isinstance(errors, list) else []:
            if isinstance(error, dict):
                yield _problem(str(node_id), node_type, error, graph)


def _problem(
    node_id: str, node_type: str | None, error: Mapping[str, Any], graph: Mapping[str, Any]
) -> NodeProblem:
    kind = _text(error.get("type"))
    info = error.get("extra_info")
    info = info if isinstance(info, dict) else {}
    name = clip(_text(info.get("input_name")), 80)
    value = info.get("received_value")
    if value is None:
        node = graph.get(node_id)
        inputs = node.get("inputs") if isinstance(node, dict) else None
        value = inputs.get(name) if isinstance(inputs, dict) else None
    words = _words(kind, name, value, info.get("input_config"), error)
    where = node_name(clip(node_id, 100), node_type)
    missing_model = kind == "value_not_in_list" and _looks_like_model(value)
    return NodeProblem(node_id, node_type, kind, f"{where}: {words}", missing_model)


def _words(  # noqa: PLR0911 - a table in code
    kind: str, name: str, value: Any, config: Any, error: Mapping[str, Any]
) -> str:
    limits = config[1] if isinstance(config, list) and len(config) > 1 else {}
    limits = limits if isinstance(limits, dict) else {}
    shown = clip(repr(value), 120)
    match kind:
        case "required_input_missing":
            return f"the input {name!r} is missing"
        case "value_smaller_than_min":
            return f"{name} is {shown}; the least allowed is {_short(limits.get('min'))}"
        case "value_bigger_than_max":
            return f"{name} is {shown}; the most allowed is {_short(limits.get('max'))}"
        case "value_not_in_list":
            return _not_in_list(name, shown, value, config, limits)
        case "return_type_mismatch":
            return f"{name} gets the wrong kind of link ({clip(_text(error.get('details')), 200)})"
        case "bad_linked_input":
            return f"{name} is {shown}; a link must be [node id, output number]"
        case _:
            message = _text(error.get("message"))
            details = _text(error.get("details"))
            return clip(f"{message}: {details}" if details else message or kind, 400)


def _not_in_list(name: str, shown: str, value: Any, config: Any, limits: Mapping[str, Any]) -> str:
    listed = config[0] if isinstance(config, list) and config else None
    if not isinstance(listed, list):
        listed = limits.get("options")
    choices = [str(each) for each in listed] if isinstance(listed, list) else []
    what = "model file" if _looks_like_model(value) else "value"
    if not choices:
        return f"{name} {shown} is not a {what} this server has; it has none"
    near = difflib.get_close_matches(str(value), choices[:2_000], n=3, cutoff=0.5)
    offered = near or choices[:5]
    more = f" and {len(choices) - len(offered)} more" if len(choices) > len(offered) else ""
    return (
        f"{name} {shown} is not a {what} this server has; "
        f"it has {', '.join(clip(each, 80) for each in offered)}{more}"
    )


def _short(value: Any) -> str:
    return clip(str(value), 40)


def _looks_like_model(name: Any) -> bool:
    return isinstance(name, str) and name.lower().endswith(
        (".safetensors", ".ckpt", ".pt", ".pth", ".gguf", ".sft", ".bin")
    )


@dataclass(frozen=True, slots=True)
class QueueItem:
    """A job in a server's queue."""

    number: float
    prompt_id: str
    token: str | None

    def is_(self, prompt_id: str, token: str) -> bool:
        """Whether this is the submission with that token.

        A server that drops extra_data shows no token at all; then the prompt id must do.
        """
        return self.token == token if self.token is not None else self.prompt_id == prompt_id


@dataclass(frozen=True, slots=True)
class Queue:
    """What runs and what waits, in the order in which it will run."""

    running: tuple[QueueItem, ...]
    pending: tuple[QueueItem, ...]


def parse_queue(body: Any) -> Queue | None:
    """Read `GET /queue`, or None if this is not a queue."""
    if not isinstance(body, dict) or not isinstance(body.get("queue_running"), list):
        return None
    pending = body.get("queue_pending")
    return Queue(
        tuple(_items(body["queue_running"])),
        # The server answers in heap order, which is not the running order.
        tuple(sorted(_items(pending), key=lambda item: (item.number, item.prompt_id))),
    )


def _items(listed: Any) -> Iterator[QueueItem]:
    for item in listed if isinstance(listed, list) else []:
        if isinstance(item, list) and len(item) >= 2 and isinstance(item[1], str):
            number = item[0] if isinstance(item[0], int | float) else 0
            yield QueueItem(number, item[1], token_of(item[3] if len(item) > 3 else None))


def token_of(extra_data: Any) -> str | None:
    """Our mark on a submission, or None if it is not ours."""
    mark = extra_data.get(TOKEN_KEY) if isinstance(extra_data, dict) else None
    token = mark.get("token") if isinstance(mark, dict) else None
    return token if isinstance(token, str) else None


class Ending(StrEnum):
    """How a run ended, read from the last message of its history, not from `status_str` alone."""

    SUCCESS = "success"
    ERROR = "error"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file a server says it made."""

    node_id: str
    filename: str
    subfolder: str = ""
    type: str = "output"
    list_name: str = "images"
    """Under which key the node listed it: ``images``, ``gifs``, ``audio``, ..."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """How a run ended and what it made."""

    prompt_id: str
    ending: Ending
    token: str | None = None
    files: tuple[FileRef, ...] = ()
    nodes_with_output: frozenset[str] = frozenset()
    fault: NodeFault | None = None
    cached: frozenset[str] = field(default_factory=frozenset)
    """Nodes whose results were taken from the server's cache."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """What each node showed, as the server lists it."""


_FILES_LIMIT = 10_000


def parse_history(body: Any, prompt_id: str) -> HistoryEntry | None:
    """Read `GET /history/{id}`: None while the job waits, runs or is unknown."""
    entry = body.get(prompt_id) if isinstance(body, dict) else None
    if not isinstance(entry, dict):
        return None
    prompt = entry.get("prompt")
    extra = prompt[3] if isinstance(prompt, list) and len(prompt) > 3 else None
    outputs = entry.get("outputs")
    outputs = outputs if isinstance(outputs, dict) else {}
    messages = list(_messages(entry.get("status")))
    ending, fault = _ending(entry.get("status"), messages)
    cached = next(
        (data.get("nodes") for name, data in messages if name == "execution_cached"), None
    )
    return HistoryEntry(
        prompt_id,
        ending,
        token_of(extra),
        tuple(_files(outputs))[:_FILES_LIMIT],
        frozenset(str(node) for node, shown in outputs.items() if shown),
        fault,
        frozenset(str(node) for node in cached) if isinstance(cached, list) else frozenset(),
        outputs,
    )


def _messages(status: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    listed = status.get("messages") if isinstance(status, dict) else None
    for item in listed if isinstance(listed, list) else []:
        if isinstance(item, list) and len(item) == 2 and isinstance(item[1], dict):
            yield str(item[0]), item[1]


def _ending(
    status: Any, messages: list[tuple[str, Mapping[str, Any]]]
) -> tuple[Ending, NodeFault | None]:
    # Errors and interruptions share status_str 'error'; only the messages separate them, and
    # a cycle made while running leaves even the success flag wrong. So: messages first.
    for name, data in reversed(messages):
        if name == "execution_error" and not NodeFault.read(data).blocked:
            return Ending.ERROR, NodeFault.read(data)
        if name == "execution_interrupted":
            return Ending.INTERRUPTED, NodeFault.read(data)
        if name == "execution_success":
            return Ending.SUCCESS, None
    said = status.get("status_str") if isinstance(status, dict) else None
    return (Ending.ERROR if said == "error" else Ending.SUCCESS), None


def _files(outputs: Mapping[str, Any]) -> Iterator[FileRef]:
    for node_id, shown in outputs.items():
        for list_name, listed in shown.items() if isinstance(shown, dict) else ():
            for item in listed if isinstance(listed, list) else []:
                if isinstance(item, dict) and isinstance(item.get("filename"), str):
                    yield FileRef(
                        str(node_id),
                        item["filename"],
                        _text(item.get("subfolder")),
                        _text(item.get("type")) or "output",
                        str(list_name),
                    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
