"""What a workflow says about the models it needs, and where they can be had."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_HINTS = 1_000
"""Models named by one workflow; more are not listed."""


@dataclass(frozen=True, slots=True)
class ModelHint:
    """A model file, as named by the author of a workflow. Nothing here is checked."""

    name: str
    """Of the file: ``flux1-schnell.safetensors``."""
    url: str
    directory: str
    """The folder of the server's models it belongs into: ``checkpoints``."""
    hash: str = ""
    hash_type: str = ""
    """Such as ``SHA256``."""


def hints(listed: Iterable[Any]) -> tuple[ModelHint, ...]:
    """The models in ``listed``, each once, in order; what is not shaped as one is left out."""
    found: dict[ModelHint, None] = {}
    for each in _read(listed):
        if len(found) >= MAX_HINTS:
            break
        found[each] = None
    return tuple(found)


def _read(listed: Iterable[Any]) -> Iterator[ModelHint]:
    for each in listed:
        if not isinstance(each, Mapping):
            continue
        name, url, folder, digest, kind = (
            value if isinstance(value := each.get(key), str) else ""
            for key in ("name", "url", "directory", "hash", "hash_type")
        )
        if name:
            yield ModelHint(name, url, folder, digest, kind)
