"""Which inputs of a prompt name a file, and which file: `LoadImage` and its like. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.preflight.values import is_upload

FOLDERS = ("input", "output", "temp")
"""The folders of a server that files are named in."""
MOST = 500
"""Inputs of one prompt that are looked up."""
LONGEST = 600
"""Characters of a name."""

_LIKELY = frozenset({"image", "mask", "video", "audio", "file", "latent", "model_file"})
"""Inputs that name files on classes nobody knows yet."""


_SENT = re.compile(r"(?i)(^|[/\\])holdfast_[0-9a-f]{16}")
"""What we call on the servers what users have sent."""


@dataclass(frozen=True, slots=True)
class Named:
    """A file as clients name it."""

    filename: str
    subfolder: str
    type: str


@dataclass(frozen=True, slots=True)
class Reference:
    """An input that names a file."""

    node_id: str
    input: str
    file: Named

    @property
    def key(self) -> str:
        """``node.input``."""
        return f"{self.node_id}.{self.input}"


def references(
    graph: Mapping[str, Any], catalogs: Sequence[Catalog | None]
) -> tuple[Reference, ...]:
    """The inputs of a prompt that name files, up to `MOST`."""
    found = []
    for reference in _all(graph, [each for each in catalogs if each is not None]):
        found.append(reference)
        if len(found) == MOST:
            break
    return tuple(found)


def texts(graph: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Every input that is a text: the node's id, the input's name, and what it says."""
    for node_id, node in graph.items():
        inputs = node.get("inputs")
        for name, value in inputs.items() if isinstance(inputs, dict) else ():
            if isinstance(value, dict):
                value = value.get("__value__")  # noqa: PLW2901 - as a server reads it
            if isinstance(value, str):
                yield node_id, name, value


def _all(graph: Mapping[str, Any], catalogs: Sequence[Catalog]) -> Iterator[Reference]:
    for node_id, name, value in texts(graph):
        if not value or len(value) > LONGEST:
            continue
        if is_upload_input(graph[node_id]["class_type"], name, catalogs):
            file = named(value)
            if file is not None:
                yield Reference(node_id, name, file)


def is_upload_input(class_type: str, name: str, catalogs: Sequence[Catalog | None]) -> bool:
    """Whether an input of a class names a file in a server's folders."""
    known = [each[class_type] for each in catalogs if each is not None and class_type in each]
    if not known:
        return name in _LIKELY
    return any(name in cls.inputs and is_upload(cls, cls.inputs[name]) for cls in known)


def named(text: str, default: str = "input") -> Named | None:
    """Read ``folder/picture.png [output]``; None if no file can be called so."""
    type_ = default
    for each in FOLDERS:
        if text.endswith(f"[{each}]"):
            text, type_ = text[: -len(each) - 2].rstrip(" "), each
            break
    parts = safe_parts(text)
    if not parts:
        return None
    return Named(parts[-1], "/".join(parts[:-1]), type_)


def is_ours(text: str) -> bool:
    """Whether this names a file on a server that some user has sent through us."""
    return _SENT.search(text) is not None


def unsafe(text: str) -> bool:
    """Whether a name leads out of its folder."""
    parts = text.replace("\\", "/").split("/")
    return text.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]


def safe_parts(text: str) -> list[str] | None:
    """The parts of a path that stays in its folder; None if it leaves it, or cannot be one."""
    if len(text) > LONGEST or text.startswith(("/", "\\")):
        return None
    parts = [each for each in text.replace("\\", "/").split("/") if each not in ("", ".")]
    if any(each == ".." or not is_name(each) for each in parts):
        return None
    return parts


def is_name(text: str) -> bool:
    """Whether a file or folder may be called so here."""
    return (
        0 < len(text) <= 255
        and text not in (".", "..")
        and ":" not in text
        and not any(ord(each) < 32 or each in "/\\\x7f" for each in text)
        and not any(0xD800 <= ord(each) < 0xE000 for each in text)
    )
