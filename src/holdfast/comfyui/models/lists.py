"""Lists of models that others keep: ComfyUI-Manager's, and the hints inside workflows.

Both come from strangers. What is not shaped as it should be is left out; no
more than a bounded number of entries is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

MOST_ENTRIES = 20_000
"""The list in use has 562."""
MOST_NODES = 50_000
MOST_DEPTH = 20
"""Subgraphs within subgraphs."""

TYPE_FOLDERS: Mapping[str, str] = MappingProxyType(
    {
        "checkpoint": "checkpoints",
        "checkpoints": "checkpoints",
        "unclip": "checkpoints",
        "clip": "text_encoders",
        "text_encoders": "text_encoders",
        "vae": "vae",
        "lora": "loras",
        "t2i-adapter": "controlnet",
        "t2i-style": "controlnet",
        "controlnet": "controlnet",
        "clip_vision": "clip_vision",
        "gligen": "gligen",
        "upscale": "upscale_models",
        "embedding": "embeddings",
        "embeddings": "embeddings",
        "unet": "diffusion_models",
        "diffusion_model": "diffusion_models",
    }
)
"""Folders by the type an entry names, for those whose place is "default"."""

_OLD_FOLDERS = {"unet": "diffusion_models", "clip": "text_encoders"}
_SIZE = re.compile(r"\s*(\d{1,6}(?:\.\d{1,6})?)\s*([KMGT]?)i?B?\s*", re.IGNORECASE)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry of a list, not checked yet."""

    url: str
    name: str
    folder: str | None
    limit: int | None = None
    """Bytes."""
    sha256: str | None = None


def read_model_list(loaded: Mapping[str, Any]) -> Iterator[Listed]:
    """The files in a list in ComfyUI-Manager's format; whole repositories are left out."""
    models = loaded.get("models")
    for entry in models[:MOST_ENTRIES] if isinstance(models, list) else []:
        if not isinstance(entry, Mapping):
            continue
        url, filename = entry.get("url"), entry.get("filename")
        place = _place(entry.get("save_path"), entry.get("type"))
        if not isinstance(url, str) or not isinstance(filename, str) or place is None:
            continue
        folder, below = place
        name = f"{below}/{filename}" if below else filename
        yield Listed(url, name, folder, largest(entry.get("size")))


def _place(save_path: Any, kind: Any) -> tuple[str, str] | None:
    """The folder and the path below it, None if it is not among the models."""
    if not isinstance(save_path, str) or save_path == "default":
        folder = TYPE_FOLDERS.get(kind.lower()) if isinstance(kind, str) else None
        return None if folder is None else (folder, "")
    folder, _, below = save_path.replace("\\", "/").rstrip("/").partition("/")
    return _OLD_FOLDERS.get(folder, folder), below


def largest(size: Any) -> int | None:
    """The most bytes that a size such as ``4.71MB`` can mean, rounding and units considered."""
    found = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if found is None:
        return None
    plain = float(found[1]) * _UNITS[found[2].upper()]
    return int(plain * 1.1) + 2**20 if plain > 0 else None


def read_hints(loaded: Mapping[str, Any]) -> Iterator[Listed]:
    """Where a workflow in the web page's format says its models come from.

    Looked for in ``properties.models`` of every node, in subgraphs too, and in ``models`` of the
    workflow itself, which older ones have.
    """
    yield from _hinted(loaded.get("models"))
    left = MOST_NODES
    level: list[Any] = [loaded]
    for _ in range(MOST_DEPTH):
        below: list[Any] = []
        for graph in level:
            nodes = graph.get("nodes") if isinstance(graph, Mapping) else None
            for node in nodes[:left] if isinstance(nodes, list) else []:
                left -= 1
                properties = node.get("properties") if isinstance(node, Mapping) else None
                if isinstance(properties, Mapping):
                    yield from _hinted(properties.get("models"))
            definitions = graph.get("definitions") if isinstance(graph, Mapping) else None
            inner = definitions.get("subgraphs") if isinstance(definitions, Mapping) else None
            below += inner[:MOST_NODES] if isinstance(inner, list) else []
        if not below or left <= 0:
            return
        level = below


def _hinted(models: Any) -> Iterator[Listed]:
    for entry in models[:1_000] if isinstance(models, list) else []:
        if not isinstance(entry, Mapping):
            continue
        url, name, folder = entry.get("url"), entry.get("name"), entry.get("directory")
        if not isinstance(url, str) or not isinstance(name, str) or not isinstance(folder, str):
            continue
        kind, digest = entry.get("hash_type"), entry.get("hash")
        known = isinstance(digest, str) and str(kind).lower() in {"sha256", "none"}
        yield Listed(
            url,
            name,
            _OLD_FOLDERS.get(folder, folder),
            sha256=digest if known and len(str(digest)) == 64 else None,
        )
