"""Nodes left out, and what they fed linked to what they were fed: as the page's bypass does.

For each output that is in use the page takes the input at the same place if
it has the same type, otherwise the first linked one that has. If there is
none, the node cannot be left out, and nothing is changed. What only the
bypassed nodes needed goes as well.
"""

from __future__ import annotations

from collections.abc import Collection

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.edit import Edit
from holdfast.comfyui.surgery.draft import Draft, Use, listed
from holdfast.comfyui.workflow import SAVING_NODES, Workflow, is_link


def bypass(
    workflow: Workflow,
    catalog: Catalog,
    node_ids: Collection[str],
    *,
    name: str = "bypassed",
    words: str | None = None,
    keeps_result: bool = False,
) -> Edit | None:
    """Leave nodes out.

    Args:
        workflow: to change.
        catalog: what the server knows.
        node_ids: the nodes; all are left out, or nothing is changed.
        name: of the kind of change.
        words: for people, to be followed by the nodes.
        keeps_result: whether what is made is the same without them.

    Returns:
        None if one of them is not there or cannot be left out.
    """
    draft = Draft(workflow, catalog)
    doomed = list(dict.fromkeys(node_ids))
    if not doomed or any(node not in draft.graph for node in doomed):
        return None
    told = f"{words or 'left out'}: {listed(draft, doomed)}"
    was_running = draft.running()
    if not remove(draft, doomed):
        return None
    draft.prune(was_running)
    return draft.finish(name, told, keeps_result=keeps_result, nodes=doomed)


def remove(draft: Draft, nodes: Collection[str]) -> bool:
    """Take nodes out of a draft and link past them; False if one cannot be, and all is void."""
    for node in nodes:
        links = _links_past(draft, node)
        if links is None:
            return False
        for use, (source, slot) in links.items():
            draft.relink([use], source, slot)
        del draft.graph[node]
    return True


def without_class(workflow: Workflow, catalog: Catalog, name: str) -> Edit | None:
    """Leave out every node of a class that the server lacks.

    Returns:
        None if the server has the class, no node is of it, one cannot be left out, or one of them
        is what saves the result.
    """
    if name in catalog:
        return None
    draft = Draft(workflow, catalog)
    nodes = draft.of([name])
    if any(_saves(draft, node) for node in nodes):
        return None
    return bypass(
        workflow,
        catalog,
        nodes,
        name="without_class",
        words=f"left out, as the server has no {name}",
    )


def _saves(draft: Draft, node: str) -> bool:
    """Whether a node of an unknown class ends a branch that nothing else ends."""
    if draft.kind(node) in SAVING_NODES:
        return True
    return not draft.uses(node) and not any(
        draft.is_output(other) for other in draft.graph if other != node
    )


def _links_past(draft: Draft, node: str) -> dict[Use, tuple[str, int]] | None:
    linked = _linked_inputs(draft, node)
    past: dict[Use, tuple[str, int]] = {}
    for use in draft.uses(node):
        if use.node == node:
            return None
        wanted = draft.output_type(node, use.slot)
        if wanted is None:
            spec = draft.spec(use.node, use.name)
            wanted = None if spec is None else spec.type
        source = _match(linked, use.slot, wanted)
        if source is None or source[0] == node:
            return None
        past[use] = source
    return past


def _match(
    linked: list[tuple[str | None, tuple[str, int] | None]], slot: int, wanted: str | None
) -> tuple[str, int] | None:
    if wanted is None:
        return None
    if 0 <= slot < len(linked) and linked[slot][0] == wanted and linked[slot][1] is not None:
        return linked[slot][1]
    return next((each for kind, each in linked if kind == wanted and each is not None), None)


def _linked_inputs(draft: Draft, node: str) -> list[tuple[str | None, tuple[str, int] | None]]:
    """The sockets of a node: their types, and what they are linked from."""
    known = draft.catalog.get(draft.kind(node))
    if known is not None:
        return [
            (spec.type, draft.source(node, spec.name))
            for spec in known.inputs.values()
            if not spec.is_plain
        ]
    return [
        (draft.output_type(*source), source)
        for name, value in draft.inputs(node).items()
        if is_link(value) and (source := draft.source(node, name)) is not None
    ]
