"""What a request says, judged before anything else sees it.

A body that makes ComfyUI answer 500, or that kills its worker or its whole
process, is refused here with a clear 400 in ComfyUI's own shape. What ComfyUI
takes, odd as it may be, is taken: a number written as text, a prompt without
nodes. Pure: bytes in, a value or a `Refusal` out. Nothing here recurses, so
no nesting exhausts the stack.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import quote

from holdfast.comfyui.gateway.forbidden import read_path

MAX_PROMPT_BYTES = 48 * 2**20
"""A larger body of `POST /prompt` is refused. ComfyUI takes 100 MiB, and keeps it in memory."""
MAX_SMALL_BYTES = 2 * 2**20
"""For bodies that hold no more than ids and switches."""
MAX_DEPTH = 100
"""Lists and objects inside one another."""
MAX_PARTS = 2_000_000
"""Commas, braces and brackets in a body: what bounds the memory its parsed form takes."""
MAX_ID = 200
"""Characters of a prompt id or a client id."""
MAX_LISTED = 10_000
"""Ids in one request."""

SENSITIVE = ("auth_token_comfy_org", "api_key_comfy_org")
"""Keys of ``extra_data`` that are for the server alone."""


class Refusal(Exception):  # noqa: N818 - an answer, which travels as an exception
    """What was sent cannot be taken; says why in ComfyUI's own shape."""

    def __init__(
        self,
        kind: str,
        message: str,
        details: str = "",
        *,
        status: int = 400,
        node_errors: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.details = details
        self.status = status
        self.node_errors = node_errors or {}
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """What the client is answered."""
        error = {
            "type": self.kind,
            "message": self.message,
            "details": self.details,
            "extra_info": {},
        }
        return {"error": error, "node_errors": dict(self.node_errors)}


@dataclass(frozen=True, slots=True)
class Submission:
    """What a good body of `POST /prompt` says."""

    graph: dict[str, Any]
    """Node ids to whatever stands there; each is an object with a ``class_type`` that is text."""
    extra_data: dict[str, Any]
    """With ``client_id`` in it, if one was given."""
    client_id: str
    prompt_id: str
    """Empty if the client leaves it to the server."""
    number: float | None
    """Where the client wants it in the queue; the lowest goes first."""
    front: bool
    targets: tuple[str, ...] | None
    """Output nodes to run; None for all."""
    digest: str
    """The same for bodies that say the same."""


@dataclass(frozen=True, slots=True)
class QueueWish:
    """What a body of `POST /queue` or `POST /history` asks for."""

    clear: bool
    delete: tuple[str, ...]


def judge_prompt(raw: bytes, *, limit: int = MAX_PROMPT_BYTES) -> Submission:
    """Read a body of `POST /prompt`.

    Args:
        raw: the body.
        limit: bytes it may have.

    Raises:
        Refusal: it cannot be taken.
    """
    body = _parsed(raw, limit)
    if isinstance(body, list | str):
        body = {}  # as ComfyUI, which looks for a key in it and finds none
    if not isinstance(body, dict):
        raise Refusal("invalid_body", "The body must be a JSON object", _named("It is", body))
    if "prompt" not in body:
        raise Refusal("no_prompt", "No prompt provided", "No prompt provided")
    graph = _graph(body["prompt"])
    client_id = _client_id("client_id", body.get("client_id"))
    extra = _extra_data(body)
    if "client_id" in body:
        extra["client_id"] = client_id or None
    else:
        client_id = _client_id("extra_data.client_id", extra.get("client_id"))
    if not client_id:
        extra.pop("client_id", None)
    return Submission(
        graph,
        extra,
        client_id,
        _prompt_id(body.get("prompt_id")),
        _number(body["number"]) if "number" in body else None,
        bool(body.get("front", False)),
        _targets(body.get("partial_execution_targets")),
        _digest(body),
    )


def judge_object(raw: bytes, *, limit: int = MAX_SMALL_BYTES) -> dict[str, Any]:
    """Read a body that must be a JSON object.

    Raises:
        Refusal: it is none, or too large.
    """
    body = _parsed(raw, limit)
    if not isinstance(body, dict):
        raise Refusal("invalid_body", "The body must be a JSON object", _named("It is", body))
    return body


def judge_queue_wish(raw: bytes) -> QueueWish:
    """Read a body of `POST /queue` or `POST /history`.

    Raises:
        Refusal: it cannot be taken.
    """
    body = judge_object(raw)
    return QueueWish(bool(body.get("clear")), ids("delete", body.get("delete", [])))


def judge_interrupt(raw: bytes) -> str:
    """Read a body of `POST /interrupt`: the id of a prompt, or nothing for whatever runs.

    Raises:
        Refusal: it cannot be taken. An empty body is fine, and so is one that is no JSON, as it
            is for ComfyUI.
    """
    if len(raw) > MAX_SMALL_BYTES:
        raise too_large(MAX_SMALL_BYTES)
    try:
        body = json.loads(raw) if raw.strip() else {}
    except (ValueError, RecursionError):
        return ""
    if not isinstance(body, dict):
        raise Refusal("invalid_body", "The body must be a JSON object", _named("It is", body))
    given = body.get("prompt_id")
    if given is not None and not isinstance(given, str):
        raise Refusal("invalid_prompt_id", "prompt_id must be text", _named("It is", given))
    return given or ""


def ids(name: str, given: Any) -> tuple[str, ...]:
    """A list of ids.

    Raises:
        Refusal: it is none.
    """
    if not isinstance(given, list):
        raise Refusal("invalid_body", f"{name} must be a list of ids", _named("It is", given))
    if len(given) > MAX_LISTED:
        words = f"It has {len(given)}; at most {MAX_LISTED} may be given at once"
        raise Refusal("invalid_body", f"{name} has too many ids", words)
    for each in given:
        if not isinstance(each, str):
            raise Refusal("invalid_body", f"{name} must be a list of ids", _named("It has", each))
    return tuple(dict.fromkeys(given))


def whole_number(
    query: Mapping[str, str], name: str, default: int | None, *, low: int = 0, high: int = 1_000_000
) -> int | None:
    """A whole number of a query string, no higher than ``high``.

    Raises:
        Refusal: it is none, or lower than ``low``.
    """
    given = query.get(name)
    if given is None:
        return default
    try:
        value = int(given)
    except ValueError:
        raise Refusal(
            "invalid_query", f"{name} must be a whole number", f"It is {given[:80]!r}"
        ) from None
    if value < low:
        raise Refusal("invalid_query", f"{name} must be at least {low}", f"It is {value}")
    return min(value, high)


def too_large(limit: int) -> Refusal:
    """The answer to a body that is too large."""
    words = f"Maximum request body size {limit} exceeded."
    return Refusal("body_too_large", words, status=413)


# The parts of a body ---------------------------------------------------------------------


def _parsed(raw: bytes, limit: int) -> Any:
    if len(raw) > limit:
        raise too_large(limit)
    parts = sum(raw.count(each) for each in (b",", b"{", b"["))
    if parts > MAX_PARTS:
        raise Refusal("body_too_large", "The body has too many parts", status=413)
    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=_no_number)
    except UnicodeDecodeError:
        raise Refusal("invalid_json", "The body is not UTF-8") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise Refusal("invalid_json", "The body is not JSON", str(error)[:200]) from None
    _look_over(body)
    return body


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _look_over(body: Any) -> None:
    level = [body]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += each.values()
            elif isinstance(each, list):
                below += each
            elif isinstance(each, float) and not math.isfinite(each):
                raise Refusal("invalid_json", "The body has a number that no float can hold")
        if not below:
            return
        level = below
    raise _too_deep()


def _too_deep() -> Refusal:
    words = f"At most {MAX_DEPTH} lists and objects may stand inside one another"
    return Refusal("invalid_json", "The body is nested too deeply", words)


def _graph(given: Any) -> dict[str, Any]:
    if isinstance(given, list) and not given:
        given = {}
    if not isinstance(given, dict):
        words = _named("It is", given)
        raise Refusal("invalid_prompt", "The prompt must be an object of nodes", words)
    if not given:
        raise Refusal("prompt_no_outputs", "Prompt has no outputs")
    for node_id, node in given.items():
        where = f"Node ID '#{node_id[:200]}'"
        if not isinstance(node, dict) or "class_type" not in node:
            words = "Cannot execute because a node is missing the class_type property."
            raise Refusal("invalid_prompt", words, where)
        name = node["class_type"]
        if not isinstance(name, str):
            words = "Cannot execute because the class_type of a node is not text."
            raise Refusal("invalid_prompt", words, where)
    return given


def _client_id(name: str, given: Any) -> str:
    if given is None:
        return ""
    if isinstance(given, int | float):
        given = str(given)  # ComfyUI takes it, and never finds the socket it means
    if not isinstance(given, str) or len(given) > MAX_ID or _has_controls(given):
        words = f"{name} must be text of at most {MAX_ID} characters"
        raise Refusal("invalid_client_id", words, _named("It is", given))
    return given


def _prompt_id(given: Any) -> str:
    if given is None:
        return ""
    if not isinstance(given, str) or len(given) > MAX_ID or _has_controls(given):
        words = f"prompt_id must be text of at most {MAX_ID} characters"
        raise Refusal("invalid_prompt_id", words, _named("It is", given))
    # The same reading as that of `/history/{prompt_id}`, by which the job is asked for later.
    refusal = read_path("/" + quote(given, safe=""))
    if given and isinstance(refusal, str):
        words = "prompt_id must be a name that a path can hold: no slashes, dots alone or %41"
        raise Refusal("invalid_prompt_id", words, f"As a path it is refused: {refusal}")
    return given


def _has_controls(text: str) -> bool:
    return any(ord(each) < 32 or ord(each) == 127 or 0xD800 <= ord(each) < 0xE000 for each in text)


def _extra_data(body: Mapping[str, Any]) -> dict[str, Any]:
    given = body.get("extra_data", {})
    if not isinstance(given, dict):
        words = _named("It is", given)
        raise Refusal("invalid_extra_data", "extra_data must be an object", words)
    extra = dict(given)
    extra.pop("holdfast", None)  # by this we know our own submissions again
    extra.pop("create_time", None)  # the server's to say
    info = extra.get("extra_pnginfo")
    if info is None:
        extra.pop("extra_pnginfo", None)
        return extra
    if not isinstance(info, dict):
        # A newer server lists no jobs any more, for nobody, once such a one is in its queue.
        words = _named("It is", info)
        raise Refusal("invalid_extra_data", "extra_pnginfo must be an object", words)
    if "workflow" in info and not isinstance(info["workflow"], dict):
        if info["workflow"] is not None:
            words = _named("It is", info["workflow"])
            raise Refusal("invalid_extra_data", "extra_pnginfo.workflow must be an object", words)
        extra["extra_pnginfo"] = {key: each for key, each in info.items() if key != "workflow"}
    return extra


def _number(given: Any) -> float:
    try:
        number = float(given) if isinstance(given, str | int | float) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        words = _named("It is", given)
        raise Refusal("invalid_number", "number must be a finite number", words)
    return number


def _targets(given: Any) -> tuple[str, ...] | None:
    return None if given is None else ids("partial_execution_targets", given)


def _digest(body: Mapping[str, Any]) -> str:
    said = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(said.encode()).hexdigest()


def _named(lead: str, value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    if value is None:
        return f"{lead} null"
    if type(value) in names:
        return f"{lead} {names[type(value)]}"
    return f"{lead} a number"
