"""Nodes that a workflow needs and a server does not have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.errors import BadInputError

_SHOWN_IDS = 5
_SHOWN_CLASSES = 100


@dataclass(frozen=True, slots=True)
class MissingNode:
    """A node class that the server does not know."""

    class_type: str
    node_ids: tuple[str, ...]
    """The nodes of this class, as ids of the API format."""
    hint: str = ""
    """Where to get it, if the workflow says: ``in the pack comfyui-kjnodes 1.1.2``."""

    def __str__(self) -> str:
        """In words: ``SetUnion (nodes 3, 8; in the pack x)``."""
        shown = ", ".join(self.node_ids[:_SHOWN_IDS])
        more = f" and {len(self.node_ids) - _SHOWN_IDS} more"
        ids = f"node{'s' if len(self.node_ids) > 1 else ''} {shown}"
        told = ids + (more if len(self.node_ids) > _SHOWN_IDS else "")
        return f"{self.class_type[:120]} ({told}{'; ' + self.hint if self.hint else ''})"


class MissingNodesError(BadInputError):
    """A workflow needs node classes that the server does not have.

    Attributes:
        missing: all of them, not only the first.
    """

    def __init__(self, source: str, missing: Iterable[MissingNode]) -> None:
        self.missing = tuple(missing)
        listed = "; ".join(str(each) for each in self.missing[:_SHOWN_CLASSES])
        count = len(self.missing)
        if count > _SHOWN_CLASSES:
            listed += f"; and {count - _SHOWN_CLASSES:,} more"
        super().__init__(
            f"{source}: the server does not have {count} node "
            f"class{'es' if count > 1 else ''} of this workflow: {listed}"
        )


def where_from(properties: Mapping[str, Any]) -> str:
    """What a node's properties say about the pack it is from, in words; empty if nothing."""
    version = _word(properties.get("ver"))
    registered = _word(properties.get("cnr_id"))
    if registered == "comfy-core":
        return f"in ComfyUI {version} or newer" if version else "in a newer ComfyUI"
    if registered:
        return f"in the pack {registered}{' ' + version if version else ''}"
    repository = _word(properties.get("aux_id"))
    if repository:
        return f"in the pack https://github.com/{repository}"
    return ""


def _word(value: Any) -> str:
    good = isinstance(value, str) and value.isprintable()
    return value.strip()[:80] if good else ""
