"""A change made to a workflow to get a result, and the words for it.

Whatever turns a workflow into another one, to save memory or to go without a
node, returns an `Edit`: the new workflow together with its `Change`. So
nothing is changed that cannot be told.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.comfyui.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Change:
    """What was changed in a workflow."""

    name: str
    """Of the kind of change, such as ``tiled_vae``."""
    words: str
    """For people: ``node 8 (VAEDecode) decodes in tiles of 512 pixels``."""
    nodes: tuple[str, ...] = ()
    """The nodes that are not what they were."""
    keeps_result: bool = False
    """Whether what is made is the same: same size, same count, and the same picture but for
    rounding. Where it is not, somebody who forbids changes must not get it."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A changed workflow."""

    workflow: Workflow
    change: Change
