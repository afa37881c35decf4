"""ComfyUI's raw WebSocket frames: read, rewritten and turned into one another. Pure.

`holdfast.comfyui.messages` reads frames to act on them; here they are read to be
passed on, so the raw frame is kept, and a frame that needs no change is passed
on as it came, byte by byte.

Laws:

- Nothing that a server or a client sends raises here. What cannot be read, or is
  larger than its kind may be, becomes `Nonsense`, and is passed on to nobody.
- A frame that says nothing about a prompt is never given one.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Raw = str | bytes
"""A frame as a socket carries it: text or binary."""

TEXT_BYTES = 16 * 1024 * 1024
"""The largest text passed on, in characters: `progress_state` grows with the graph."""
BINARY_BYTES = 32 * 1024 * 1024
"""The largest binary frame passed on."""

_PREVIEW, _TEXT, _PREVIEW_WITH_METADATA = 1, 3, 4
_NUMBERS = {"image/jpeg": 1, "image/png": 2}
_MIME = {1: "image/jpeg", 2: "image/png"}
_HEAD = struct.Struct(">II")
_UNREADABLE = (ValueError, RecursionError)


@dataclass(frozen=True, slots=True)
class Event:
    """A text frame: a type and what it says."""

    type: str
    data: Mapping[str, Any]
    raw: str

    @property
    def prompt_id(self) -> str | None:
        """The prompt it is about."""
        return _string(self.data.get("prompt_id"))

    @property
    def node(self) -> str | None:
        """The node it is about."""
        return _string(self.data.get("node"))


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture of work in progress; ``described`` if it says of which node and prompt."""

    image: bytes
    image_type: str
    raw: bytes
    described: bool = False
    prompt_id: str | None = None
    node: str | None = None

    def plain(self) -> bytes:
        """The same picture for a client that did not ask to be told more."""
        if not self.described:
            return self.raw
        return _HEAD.pack(_PREVIEW, _NUMBERS.get(self.image_type, 1)) + self.image


@dataclass(frozen=True, slots=True)
class NodeText:
    """A line of text from a node."""

    node: str
    text: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Unknown:
    """A binary event that only a custom node and its page understand."""

    number: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Nonsense:
    """Not a frame of ComfyUI's, or one that is too large."""

    reason: str


Frame = Event | Preview | NodeText | Unknown | Nonsense


def parse(raw: object) -> Frame:
    """Read a frame."""
    if isinstance(raw, str):
        return _event(raw)
    if isinstance(raw, bytes | bytearray | memoryview):
        return _binary(bytes(raw))
    return Nonsense("neither text nor bytes")


def event(kind: str, data: Mapping[str, Any]) -> str:
    """A text frame, written as ComfyUI writes it."""
    return json.dumps({"type": kind, "data": data})


def described_preview(image: bytes, metadata: Mapping[str, Any]) -> bytes:
    """A preview that says of which node and prompt it is."""
    head = json.dumps(metadata).encode()
    return _HEAD.pack(_PREVIEW_WITH_METADATA, len(head)) + head + image


def rewrite(raw: Raw, *, prompt_id: str | None = None, sid: str | None = None) -> Raw:
    """The frame with another prompt's id, or another client's, wherever it names one.

    A frame that names none, or has the right one, comes back as it is; so does
    nonsense.
    """
    frame = parse(raw)
    if isinstance(frame, Event):
        changes = {"prompt_id": prompt_id, "sid": sid}
        data = _renamed(frame.data, {k: v for k, v in changes.items() if v is not None})
        return frame.raw if data is frame.data else _event_or(frame.raw, frame.type, data)
    if isinstance(frame, Preview) and frame.described and prompt_id is not None:
        metadata = _metadata(frame.raw)
        if frame.prompt_id is not None and frame.prompt_id != prompt_id and metadata is not None:
            return described_preview(frame.image, {**metadata, "prompt_id": prompt_id})
    return raw


def files_of(output: object) -> Iterator[Mapping[str, Any]]:
    """Each file that an `executed` frame's output names, of whatever kind."""
    if not isinstance(output, Mapping):
        return
    for listed in output.values():
        for each in listed if isinstance(listed, list) else ():
            if isinstance(each, Mapping) and isinstance(each.get("filename"), str):
                yield each


def _event(raw: str) -> Frame:
    if len(raw) > TEXT_BYTES:
        return Nonsense(f"a text of {len(raw):,} characters")
    try:
        raw.encode()
        said = json.loads(raw)
    except _UNREADABLE:
        return Nonsense("not JSON")
    if not isinstance(said, dict) or not isinstance(said.get("type"), str):
        return Nonsense("not an object with a type")
    data = said.get("data")
    return Event(said["type"], data if isinstance(data, dict) else {}, raw)


def _binary(raw: bytes) -> Frame:
    if not _HEAD.size <= len(raw) <= BINARY_BYTES:
        return Nonsense(f"a binary frame of {len(raw):,} bytes")
    number, second = _HEAD.unpack_from(raw)
    if number == _PREVIEW:
        return Preview(raw[8:], _MIME.get(second, "application/octet-stream"), raw)
    if number not in (_TEXT, _PREVIEW_WITH_METADATA):
        return Unknown(number, raw)
    if len(raw) < _HEAD.size + second:
        return Nonsense(f"binary event {number} is cut off")
    rest = raw[8 + second :]
    if number == _PREVIEW_WITH_METADATA:
        return _described(raw, rest)
    node = raw[8 : 8 + second].decode(errors="replace")
    return NodeText(node, rest.decode(errors="replace"), raw)


def _described(raw: bytes, rest: bytes) -> Preview | Nonsense:
    metadata = _metadata(raw)
    if metadata is None:
        return Nonsense("a preview whose description cannot be read")
    return Preview(
        rest,
        _string(metadata.get("image_type")) or "image/jpeg",
        raw,
        described=True,
        prompt_id=_string(metadata.get("prompt_id")),
        node=_string(metadata.get("node_id")),
    )


def _metadata(raw: bytes) -> dict[str, Any] | None:
    length = _HEAD.unpack_from(raw)[1]
    try:
        metadata = json.loads(raw[8 : 8 + length])
    except _UNREADABLE:
        return None
    return metadata if isinstance(metadata, dict) else None


def _renamed(data: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
    """The data with the ids in ``names``, also in the nodes of a `progress_state`."""
    changed = {
        key: value
        for key, value in names.items()
        if isinstance(data.get(key), str) and data[key] != value
    }
    nodes = data.get("nodes")
    if "prompt_id" in names and isinstance(nodes, dict):
        new = {
            name: _renamed(node, {"prompt_id": names["prompt_id"]})
            if isinstance(node, dict)
            else node
            for name, node in nodes.items()
        }
        if any(new[name] is not node for name, node in nodes.items()):
            return {**data, **changed, "nodes": new}
    return {**data, **changed} if changed else data


def _event_or(raw: str, kind: str, data: Mapping[str, Any]) -> str:
    """The new frame; or the old one, should the new one nest too deep to be written."""
    try:
        return event(kind, data)
    except RecursionError:
        return raw


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None
