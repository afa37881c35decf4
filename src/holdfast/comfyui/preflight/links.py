"""Is a link fit for its input? By the server's own rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.comfyui.catalog import ANY, COMBO, Catalog, InputSpec, NodeClass
from holdfast.comfyui.failures import clip
from holdfast.comfyui.preflight.report import Problem, called, shown
from holdfast.comfyui.preflight.values import Place, is_upload, written_type
from holdfast.comfyui.preflight.wiring import is_dynamic

Graph = Mapping[str, Mapping[str, Any]]


def judge_link(place: Place, link: list[Any], graph: Graph, catalog: Catalog) -> list[Problem]:
    """What is wrong with a list that stands at an input; empty if nothing."""
    if len(link) != 2:
        words = f"is a list, {shown(link)}; the server takes lists for links: [node id, number]"
        return [place.problem("bad_linked_input", words, link)]
    source = link[0]
    if not isinstance(source, str) or source not in graph:
        return [place.problem(exception_kind(place.node), nowhere(source, graph), link)]
    cls = catalog.get(graph[source]["class_type"])
    if cls is None:
        return []  # told at that node
    found = _judge_output(place, link, cls)
    if found is None and is_upload(place.node, place.spec):
        words = "cannot be linked: the server looks for the file before anything runs"
        found = place.problem("exception_during_inner_validation", words, link)
    return [] if found is None else [found]


def _judge_output(place: Place, link: list[Any], cls: NodeClass) -> Problem | None:
    source, slot = link
    where = called(source, cls.name)
    produced = cls.raw.get("output")
    outputs = produced if isinstance(produced, list) else []
    if not isinstance(slot, int) or not -len(outputs) <= slot < len(outputs):
        words = f"is linked to output {shown(slot)} of {where}, which has {_listed(cls)}"
        return place.problem(exception_kind(place.node), words, link)
    received, wanted = outputs[slot], written_type(place.node, place.spec)
    if link_fits(received, wanted):
        return None
    words = (
        f"takes {type_words(wanted)}, and output {slot} of {where} is {type_words(received)}"
        f"{_right_slot(cls, source, place.spec)}"
    )
    return place.problem("return_type_mismatch", words, link)


def nowhere(source: Any, graph: Graph) -> str:
    """Words for a link that leads to no node."""
    if isinstance(source, int) and str(source) in graph:
        return f"is linked from node {source} as a number; an id is text: '{source}'"
    return f"is linked from node {shown(source)}, which does not exist"


def link_fits(received: Any, wanted: Any) -> bool:
    """Whether an output of type ``received`` may feed an input of type ``wanted``.

    The server's own rule: types are names, or several joined by commas, of which one in common is
    enough; ``*`` fits all; a list of values fits the very same list.
    """
    if received == wanted or ANY in (received, wanted):
        return True
    # Newer servers only, and they leave it to the node: types that stand for others, and lists of
    # values where one of any list is wanted.
    if is_dynamic(received) or is_dynamic(wanted):
        return True
    if isinstance(received, list) and wanted == COMBO:
        return True
    if not isinstance(received, str) or not isinstance(wanted, str):
        return False
    ours, theirs = ({part.strip() for part in each.split(",")} for each in (received, wanted))
    return bool(ours & theirs)


def type_words(kind: Any) -> str:
    """A type as words show it."""
    return clip(kind, 60) if isinstance(kind, str) else "one of a list of values"


def _listed(cls: NodeClass) -> str:
    if not cls.outputs:
        return "no outputs"
    first = [f"{number} ({clip(each, 40)})" for number, each in enumerate(cls.outputs[:8])]
    return f"{', '.join(first)}{' and more' if len(cls.outputs) > 8 else ''}"


def _right_slot(cls: NodeClass, source: str, spec: InputSpec) -> str:
    right = [number for number, kind in enumerate(cls.outputs) if spec.accepts(kind)]
    return f"; its output {right[0]} would fit: ['{clip(source, 40)}', {right[0]}]" if right else ""


def exception_kind(cls: NodeClass) -> str:
    """What the server calls it when looking at a node of this class fails."""
    where = "validation" if cls.output_node else "inner_validation"
    return f"exception_during_{where}"
