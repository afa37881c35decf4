"""What travels to a WebSocket: text messages and binary frames, byte for byte.

Pure functions, and one small record of progress; no sockets. Binary frames
start with a big-endian event number: 1 a preview, 3 text, 4 a preview with
metadata.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

PREVIEW = 1
TEXT = 3
PREVIEW_WITH_METADATA = 4

JPEG = 1
PNG = 2

PREVIEW_EDGE = 512
"""Previews are scaled to fit a square of so many pixels."""


def message(event: str, data: object) -> str:
    """One text message."""
    return json.dumps({"type": event, "data": data})


def node_names(node_id: str, prompt_id: str) -> dict[str, Any]:
    """The ids that name a node in progress messages; none of ours has a parent."""
    return {
        "node_id": node_id,
        "prompt_id": prompt_id,
        "display_node_id": node_id,
        "parent_node_id": None,
        "real_node_id": node_id,
    }


def shown_meta(node_id: str) -> dict[str, Any]:
    """What the history says beside a node's output."""
    names = {"node_id": node_id, "display_node": node_id}
    return {**names, "parent_node": None, "real_node_id": node_id}


def blocked(told: dict[str, Any], message: str) -> dict[str, Any]:
    """The error that is none: a branch was blocked, and the run goes on."""
    return {
        **told,
        "exception_message": f"Execution Blocked: {message}",
        "exception_type": "ExecutionBlocked",
        "traceback": [],
        "current_inputs": [],
        "current_outputs": [],
    }


def preview(image: bytes, kind: int = JPEG) -> bytes:
    """Frame 1: an encoded picture, without a word on whose it is."""
    return struct.pack(">II", PREVIEW, kind) + image


def text(node_id: str, words: str) -> bytes:
    """Frame 3: words of a node."""
    name = node_id.encode()
    return struct.pack(">II", TEXT, len(name)) + name + words.encode()


def preview_with_metadata(
    image: bytes, node_id: str, prompt_id: str, mimetype: str = "image/jpeg"
) -> bytes:
    """Frame 4: an encoded picture, and which node of which prompt made it."""
    metadata = {**node_names(node_id, prompt_id), "image_type": mimetype}
    header = json.dumps(metadata).encode()
    return struct.pack(">II", PREVIEW_WITH_METADATA, len(header)) + header + image


def encode_preview(image: Image) -> bytes:
    """A picture as the JPEG that previews carry."""
    from PIL import Image as Pictures  # noqa: PLC0415 - only servers that show previews pay for it
    from PIL import ImageOps  # noqa: PLC0415

    edge = (PREVIEW_EDGE, PREVIEW_EDGE)
    fitted = ImageOps.contain(image, edge, Pictures.Resampling.BILINEAR)
    encoded = BytesIO()
    fitted.convert("RGB").save(encoded, format="JPEG", quality=95)
    return encoded.getvalue()


@dataclass(frozen=True, slots=True)
class ShownImage:
    """An encoded picture that goes over a socket; `kind` is its number in frame 1."""

    content: bytes
    kind: int
    mimetype: str


def encode_shown(image: Image, *, whole: bool) -> ShownImage:
    """A picture as a preview, or as the result itself: a PNG of its full size."""
    if not whole:
        return ShownImage(encode_preview(image), JPEG, "image/jpeg")
    encoded = BytesIO()
    image.save(encoded, format="PNG", compress_level=1)
    return ShownImage(encoded.getvalue(), PNG, "image/png")


class ProgressBoard:
    """How far each node of one prompt has come; every change is told in full."""

    def __init__(self, prompt_id: str) -> None:
        self._prompt_id = prompt_id
        self._nodes: dict[str, dict[str, Any]] = {}

    def start(self, node_id: str) -> dict[str, Any]:
        """The node runs now. Returns the message's data, like the other two."""
        return self._told(node_id, 0.0, 1.0, "running")

    def update(self, node_id: str, value: float, maximum: float) -> dict[str, Any]:
        """The node has done ``value`` of ``maximum`` steps."""
        return self._told(node_id, value, maximum, "running")

    def finish(self, node_id: str) -> dict[str, Any]:
        """The node is done. One that never started (a cached one) counts 1 of 1."""
        maximum = self._nodes.get(node_id, {"max": 1})["max"]
        return self._told(node_id, maximum, maximum, "finished")

    def _told(self, node_id: str, value: float, maximum: float, state: str) -> dict[str, Any]:
        names = node_names(node_id, self._prompt_id)
        self._nodes[node_id] = {"value": value, "max": maximum, "state": state, **names}
        return {
            "prompt_id": self._prompt_id,
            "nodes": {key: dict(entry) for key, entry in self._nodes.items()},
        }
