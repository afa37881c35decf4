"""What ComfyUI says on its WebSocket, as values. Pure: bytes in, messages out.

Laws:

- Nothing a server sends raises here. What cannot be read becomes `Unreadable`,
  what is not known becomes `Other`; both are harmless to whoever watches.
- A message is evidence, never the verdict: `Finished(node=None)` ends *every*
  kind of run, and success is only what `/history` says (see `watch`).
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from typing import Any

from holdfast.comfyui.failures import NodeFault, clip


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The queue changed; sent to everyone. `sid` comes with a socket's first message only."""

    remaining: int | None
    sid: str | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The prompt left the queue."""

    prompt_id: str


@dataclass(frozen=True, slots=True)
class Cached:
    """These nodes need not run again."""

    prompt_id: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Executing:
    """A node begins. On reconnection the server leaves out the prompt's id."""

    node: str
    prompt_id: str | None


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over, well or not: success, error and interruption all end with it."""

    prompt_id: str | None


@dataclass(frozen=True, slots=True)
class Executed:
    """A node made something to show; also sent again for cached output nodes."""

    prompt_id: str
    node: str


@dataclass(frozen=True, slots=True)
class Stepped:
    """A node got on: `value` of `maximum` steps."""

    prompt_id: str | None
    node: str
    value: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Progressed:
    """A `progress_state` came: something about the run changed."""

    prompt_id: str


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The server says the run went through. The outputs still have to be looked at."""

    prompt_id: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A node raised. Not the end for `ExecutionBlocked`, after which the run 'succeeds'."""

    prompt_id: str
    fault: NodeFault


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run was interrupted, by us or by somebody else."""

    prompt_id: str
    fault: NodeFault


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture of work in progress. Plain previews carry no prompt id."""

    image: bytes
    image_type: str
    prompt_id: str | None = None
    node: str | None = None


@dataclass(frozen=True, slots=True)
class NodeText:
    """A line of text from a node."""

    node: str
    text: str


@dataclass(frozen=True, slots=True)
class Other:
    """A message of a type we do not need."""

    type: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Not a message at all."""

    reason: str


Message = (
    QueueStatus
    | Started
    | Cached
    | Executing
    | Finished
    | Executed
    | Stepped
    | Progressed
    | Succeeded
    | Failed
    | Stopped
    | Preview
    | NodeText
    | Other
    | Unreadable
)

_PREVIEW, _TEXT, _PREVIEW_WITH_METADATA = 1, 3, 4
_IMAGE_TYPES = {1: "image/jpeg", 2: "image/png"}


def parse_text(raw: str) -> Message:
    """Read one text frame."""
    try:
        loaded = json.loads(raw)
    except (ValueError, RecursionError) as error:
        return Unreadable(clip(str(error), 200))
    if not isinstance(loaded, dict) or not isinstance(loaded.get("type"), str):
        return Unreadable("not an object with a type")
    data = loaded.get("data")
    return _read(loaded["type"], data if isinstance(data, dict) else {})


def _read(kind: str, data: dict[str, Any]) -> Message:  # noqa: C901, PLR0911 - a table in code
    prompt_id = _text(data.get("prompt_id"))
    node = _text(data.get("node"))
    match kind:
        case "status":
            return _status(data)
        case "executing":
            return Finished(prompt_id) if node is None else Executing(node, prompt_id)
        case "progress" if node is not None:
            return Stepped(
                prompt_id, node, _number(data.get("value")), _number(data.get("max"), 1.0)
            )
        case _ if prompt_id is None:
            return Other(clip(kind, 80))
        case "execution_start":
            return Started(prompt_id)
        case "execution_cached":
            nodes = data.get("nodes")
            listed = nodes if isinstance(nodes, list) else []
            return Cached(prompt_id, tuple(str(each) for each in listed))
        case "executed" if node is not None:
            return Executed(prompt_id, node)
        case "progress_state":
            return Progressed(prompt_id)
        case "execution_success":
            return Succeeded(prompt_id)
        case "execution_error":
            return Failed(prompt_id, NodeFault.read(data))
        case "execution_interrupted":
            return Stopped(prompt_id, NodeFault.read(data))
        case _:
            return Other(clip(kind, 80))


def parse_binary(raw: bytes) -> Message:
    """Read one binary frame: a big-endian event number, then what that event holds."""
    if len(raw) < 8:
        return Unreadable(f"binary frame of {len(raw)} bytes")
    event, second = struct.unpack_from(">II", raw)
    if event == _PREVIEW:
        return Preview(raw[8:], _IMAGE_TYPES.get(second, "application/octet-stream"))
    if event not in (_TEXT, _PREVIEW_WITH_METADATA):
        return Other(f"binary event {event}")
    head, rest = raw[8 : 8 + second], raw[8 + second :]
    if len(head) < second:
        return Unreadable(f"binary event {event} is cut off")
    if event == _TEXT:
        return NodeText(head.decode(errors="replace"), rest.decode(errors="replace"))
    return _preview_with_metadata(head, rest)


def _preview_with_metadata(head: bytes, image: bytes) -> Message:
    try:
        data = json.loads(head)
    except (ValueError, RecursionError) as error:
        return Unreadable(clip(str(error), 200))
    if not isinstance(data, dict):
        return Unreadable("preview metadata is not an object")
    return Preview(
        image,
        _text(data.get("image_type")) or "image/jpeg",
        _text(data.get("prompt_id")),
        _text(data.get("node_id")),
    )


def _status(data: dict[str, Any]) -> QueueStatus:
    status = data.get("status")
    info = status.get("exec_info") if isinstance(status, dict) else None
    remaining = info.get("queue_remaining") if isinstance(info, dict) else None
    return QueueStatus(
        remaining if isinstance(remaining, int) else None,
        _text(data.get("sid")),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any, default: float = 0.0) -> float:
    try:
        number = float(value) if isinstance(value, int | float) else default
    except OverflowError:
        return default
    return number if math.isfinite(number) else default
