"""A job: what is to be made, however many attempts it takes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.comfyui.diary import Diary
from holdfast.comfyui.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be made, and where it goes."""

    name: str
    workflow: Workflow
    prompt_id: str
    """Our own id, kept over all attempts."""
    folder: Path | None
    """Where files go, prepared; None keeps them in memory."""
    file_name: str
    """What to call the files, safe for every system."""
    uploads: dict[tuple[str, str], Path] = field(default_factory=dict)
    """Local files to upload: (node id, input name) to path."""
    suffixes: Mapping[str, str] = field(default_factory=dict)
    """How a file's name ends on a server, by its local name, where that ends otherwise."""
    before: Mapping[str, int] | None = None
    """Files each node has made in earlier runs of this job, when one run was split into several;
    None if it is made in one."""
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    """What this job is known by among ours; names, and even prompt ids, may come twice."""

    changed: bool = False
    """Whether the workflow is not the one that was given."""
    extra_data: Mapping[str, Any] = field(default_factory=dict)
    """What the server is to keep with the job, and to write into its pictures."""
    targets: tuple[str, ...] = ()
    """The output nodes that are wanted; all if empty."""
    temps: bool = False
    """Whether pictures that are only shown are brought home as well as those that are saved."""
    diary: Diary | None = field(default=None, compare=False)
    """Told of everything that is sent, before it is."""
    listens: bool = True
    """Whether the diary hears what comes over the socket."""

    def class_of(self, node_id: str) -> str | None:
        """The class of a node, None if the workflow has no such node."""
        node = self.workflow.graph.get(node_id)
        return node["class_type"] if node is not None else None
