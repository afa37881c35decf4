"""Runs that may have cost money: which nodes are paid for, and whether one may have run.

A partner's node calls a service that bills each call. A run that fails after
that is not simply run again: nobody but its owner can say whether the bill
should be paid twice.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.comfyui.partners import named_as_paid
from holdfast.comfyui.workflow import Workflow

_NEVER_BEGAN = frozenset(
    {
        FailureKind.REJECTED,
        FailureKind.UNREACHABLE,
        FailureKind.NEVER_ACCEPTED,
        FailureKind.NOT_COMFYUI,
    }
)
_HEARD_OUT = frozenset({FailureKind.NODE_ERROR, FailureKind.OUT_OF_MEMORY, FailureKind.INTERRUPTED})
"""The server lived to tell what ran, so that what was not heard to begin did not begin."""


def paid_nodes(workflow: Workflow, catalog: Catalog | None) -> dict[str, str]:
    """Nodes that call a paid service: node id to class name."""
    found: dict[str, str] = {}
    for node_id, node in workflow.graph.items():
        name = node["class_type"]
        known = catalog.get(name) if catalog is not None else None
        if known.api_node if known is not None else named_as_paid(name):
            found[node_id] = name
    return found


def never_began(failure: Failure) -> bool:
    """Whether the run certainly did not begin, so that nothing can have been paid for."""
    return failure.kind in _NEVER_BEGAN


def may_have_been_paid(
    failure: Failure, paid: Iterable[str], begun: Iterable[str], *, joined: bool
) -> bool:
    """Whether one of the ``paid`` nodes may have run before the failure.

    Args:
        failure: how the run ended.
        paid: the paid nodes of the workflow.
        begun: nodes that were heard to begin.
        joined: whether the run had begun before anybody listened.
    """
    if never_began(failure):
        return False
    if joined or failure.kind not in _HEARD_OUT:
        return bool(set(paid))
    return bool(set(paid) & ({*begun, failure.node_id}))
