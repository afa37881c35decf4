"""Jobs under which server after server died: known, so that they take down no further one."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from holdfast.comfyui.failures import Failure
from holdfast.comfyui.workflow import SEED_INPUTS

MOST = 1_000
"""Jobs remembered; the one met longest ago is forgotten first."""


class Quarantine:
    """Workflows that are not run any more, whatever their seeds. A value of one client."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Failure] = OrderedDict()

    def add(self, graph: Mapping[str, Any], failure: Failure) -> None:
        """Hold a workflow, for this reason."""
        self._held[_key(graph)] = failure
        while len(self._held) > MOST:
            self._held.popitem(last=False)

    def reason(self, graph: Mapping[str, Any]) -> Failure | None:
        """Why a workflow is held; None if it is not."""
        return self._held.get(_key(graph))

    def release(self, graph: Mapping[str, Any]) -> bool:
        """Let a workflow run again; whether it was held."""
        return self._held.pop(_key(graph), None) is not None

    def __len__(self) -> int:
        """How many workflows are held."""
        return len(self._held)


def _key(graph: Mapping[str, Any]) -> str:
    # Another seed of the same workflow needs the same memory and runs the same code.
    plain = {
        node_id: [
            node["class_type"],
            {name: value for name, value in node["inputs"].items() if name not in SEED_INPUTS},
        ]
        for node_id, node in graph.items()
    }
    text = json.dumps(plain, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
