"""Prompts: the texts that guide what is made, and which of them are to be avoided.

A text encoder does not say whether its text is wanted or unwanted. That is
decided where its conditioning arrives: at the ``positive`` or ``negative``
input of a sampler or guider, after any number of nodes that combine, limit or
pass it on. So the links are followed back from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.comfyui.views.knobs import Knob, Sight, follow
from holdfast.comfyui.workflow import is_link

Role = Literal["positive", "negative", "both", "unused"]

_TEXTS = frozenset(
    {"text", "text_g", "text_l", "clip_l", "clip_g", "t5xxl", "llama", "bert", "mt5xl"}
    | {"prompt", "positive_prompt", "user_prompt", "tags", "lyrics", "text_positive"}
)
_UNWANTED = ("negative_prompt", "text_negative", "negative_text")
_ENDS = {
    "BasicGuider": {"conditioning": "positive"},
    "DualCFGGuider": {"cond1": "positive", "cond2": "positive", "negative": "negative"},
    "PerpNegGuider": {
        "positive": "positive",
        "negative": "negative",
        "empty_conditioning": "unused",
    },
}
"""Guiders whose inputs are not called ``positive`` and ``negative``."""

_SAMPLER = {"positive": "positive", "negative": "negative"}

_SILENCES = frozenset({"ConditioningZeroOut"})
"""What comes out of these says nothing, whatever went in."""

_JOINS = frozenset({"string_a", "string_b", "string", "text", "text_a", "text_b", "value"})
_JOINS |= {"text1", "text2", "string1", "string2", "prefix", "suffix", "prompt", "text_c", "text_d"}
"""Inputs of nodes that make one text of several."""

DEEPEST_TEXT = 8
"""Nodes of text that are looked through."""


@dataclass(frozen=True, slots=True)
class Prompt(Knob):
    """A text that guides what is made. Its value may be empty."""

    role: Role = "unused"


def prompts(sight: Sight) -> tuple[Prompt, ...]:
    """Every prompt, in the order of the workflow; one that is used twice is told once."""
    roles = _roles(sight)
    found: list[Prompt] = []
    for node_id, node in sight.graph.items():
        for name in node["inputs"]:
            role = _role_of(sight, node_id, name, roles.get(node_id))
            if role is not None:
                found += _texts(sight, node_id, name, role)
    return tuple(found)


def _role_of(sight: Sight, node_id: str, name: str, reached: set[str] | None) -> Role | None:
    if not _is_text(sight, node_id, name):
        return None
    if name in _UNWANTED:
        return "negative"
    named = name in ("positive_prompt", "text_positive")
    paired = any(each in sight.graph[node_id]["inputs"] for each in _UNWANTED)
    if named or (paired and not reached):
        return "positive"
    if reached:
        return "both" if len(reached) > 1 else _role(next(iter(reached)))
    if reached is None and _is_encoder(sight, node_id):
        return "unused"
    # Nodes that call services have prompts without conditioning.
    return "positive" if name in ("prompt", "user_prompt") else None


def _role(name: str) -> Role:
    return "negative" if name == "negative" else "positive"


def _is_text(sight: Sight, node_id: str, name: str) -> bool:
    if name not in _TEXTS and name not in _UNWANTED:
        return False
    kind = sight.input_type(node_id, name)
    value = sight.graph[node_id]["inputs"][name]
    return kind in (None, "STRING") and (isinstance(value, str) or is_link(value))


def _is_encoder(sight: Sight, node_id: str) -> bool:
    if "clip" in sight.graph[node_id]["inputs"]:
        return True
    return "TextEncode" in sight.class_of(node_id)


def _roles(sight: Sight) -> dict[str, set[str]]:
    """Which nodes' conditioning arrives as what."""
    found: dict[str, set[str]] = {}
    handed_on = {
        value[0]
        for node_id, node in sight.graph.items()
        for name, value in node["inputs"].items()
        if is_link(value) and _brings_conditioning(sight, node_id, name)
    }
    for node_id, node in sight.graph.items():
        if node_id in handed_on:
            continue  # what its conditioning is used for is decided later
        ends = _ENDS.get(sight.class_of(node_id), _SAMPLER)
        for name, role in ends.items():
            link = node["inputs"].get(name)
            if is_link(link) and role != "unused":
                _trace(sight, link, _side(sight, link) if name == "cond2" else role, found)
    return found


_CONDITIONINGS = frozenset(
    {"positive", "negative", "conditioning", "cond1", "cond2", "empty_conditioning"}
)
"""What inputs of conditioning are called, for when no server says what type they are."""


def _side(sight: Sight, link: list[Any]) -> str:
    """What the second conditioning of a guider with two is: that depends on where it comes from."""
    node = sight.graph.get(link[0])
    paired = node is not None and all(is_link(node["inputs"].get(each)) for each in _SAMPLER)
    return "negative" if paired and link[1] == 1 else "positive"


def _trace(sight: Sight, link: list[Any], role: str, found: dict[str, set[str]]) -> None:
    left = [(link[0], link[1])]
    seen = set(left)
    while left:
        node_id, slot = left.pop()
        if node_id not in sight.graph or sight.class_of(node_id) in _SILENCES:
            continue
        found.setdefault(node_id, set()).add(role)
        for source in _conditionings(sight, node_id, slot):
            if source not in seen:
                seen.add(source)
                left.append(source)


def _conditionings(sight: Sight, node_id: str, slot: int) -> Iterator[tuple[str, int]]:
    """The links that bring the conditioning which comes out at ``slot``."""
    inputs = sight.graph[node_id]["inputs"]
    pair = tuple(_SAMPLER)
    if all(is_link(inputs.get(name)) for name in pair):
        # Both go in and both come out, in this order on every node that does so.
        names = (pair[slot],) if slot in (0, 1) else pair
    else:
        names = tuple(each for each in inputs if _brings_conditioning(sight, node_id, each))
    for name in names:
        if is_link(inputs[name]):
            yield inputs[name][0], inputs[name][1]


def _brings_conditioning(sight: Sight, node_id: str, name: str) -> bool:
    kind = sight.input_type(node_id, name)
    if kind is not None:
        return kind in ("CONDITIONING", "WANVIDEOTEXTEMBEDS")
    return name in _CONDITIONINGS or "conditioning" in name


def _texts(sight: Sight, node_id: str, name: str, role: Role) -> Iterator[Prompt]:
    """The prompt that stands at an input, or those it is put together from."""
    knob = follow(sight.workflow, node_id, name)
    if knob.settable:
        if isinstance(knob.value, str):
            yield _prompt(knob, role)
        return
    parts = list(_parts(sight, sight.graph[node_id]["inputs"][name][0], DEEPEST_TEXT, set()))
    for at, key in parts:
        value = sight.graph[at]["inputs"][key]
        source = f"{sight.called(at)}: {key}"
        used_by = sight.class_of(node_id)
        yield Prompt(node_id, used_by, name, value, (at, key), source, role)
    if not parts:
        yield _prompt(knob, role)


def _prompt(knob: Knob, role: Role) -> Prompt:
    return Prompt(
        knob.node_id, knob.class_type, knob.input, knob.value, knob.set_at, knob.source, role
    )


def _parts(sight: Sight, node_id: str, depth: int, seen: set[str]) -> Iterator[tuple[str, str]]:
    if depth == 0 or node_id in seen or node_id not in sight.graph:
        return
    seen.add(node_id)
    for name, value in sight.graph[node_id]["inputs"].items():
        if name not in _JOINS:
            continue
        if is_link(value):
            yield from _parts(sight, value[0], depth - 1, seen)
        elif isinstance(value, str):
            yield node_id, name
