"""One `/object_info` of several servers' answers: their union. Pure.

A class stands there as the first server that has it describes it, and a list
of values holds what any of them takes, so the page offers every model there
is. Which server then gets the job is the pool's to find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.comfyui.gateway.references import is_ours
from holdfast.comfyui.preflight.values import UPLOADS


def merged(infos: Sequence[Mapping[str, Any]], uploads: Sequence[str] = ()) -> dict[str, Any]:
    """The union of what servers know.

    Args:
        infos: what each answers to `/object_info`; those that come first go first.
        uploads: files the gateway holds for whoever asks, to be offered where files are chosen.

    Returns:
        The union, without the names under which users' files lie on the servers.
    """
    result: dict[str, Any] = {}
    for info in infos:
        for name, given in info.items():
            known = result.get(name)
            if known is None:
                result[name] = given
            elif known is not given and isinstance(known, dict) and isinstance(given, dict):
                result[name] = _both(known, given)
    return {name: _offering(given, uploads) for name, given in result.items()}


def _both(known: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    ours, theirs = known.get("input"), given.get("input")
    if ours == theirs or not isinstance(ours, dict) or not isinstance(theirs, dict):
        return known
    groups = dict(ours)
    for group in ("required", "optional"):
        mine, other = ours.get(group), theirs.get(group)
        if not isinstance(mine, dict) or not isinstance(other, dict) or mine == other:
            continue
        groups[group] = {
            name: _union(spec, other[name]) if name in other else spec
            for name, spec in mine.items()
        }
    return {**known, "input": groups}


def _union(mine: Any, other: Any) -> Any:
    if mine == other:
        return mine
    values, more = _choices(mine), _choices(other)
    if values is None or more is None:
        return mine
    seen = {repr(each) for each in values}
    new = [each for each in more if repr(each) not in seen]
    return _with_choices(mine, [*values, *new]) if new else mine


def _choices(spec: Any) -> list[Any] | None:
    if not isinstance(spec, list) or not spec:
        return None
    if isinstance(spec[0], list):
        return spec[0]
    options = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    listed = options.get("options")
    return listed if spec[0] == "COMBO" and isinstance(listed, list) else None


def _with_choices(spec: list[Any], values: list[Any]) -> list[Any]:
    if isinstance(spec[0], list):
        return [values, *spec[1:]]
    return [spec[0], {**spec[1], "options": values}, *spec[2:]]


def _offering(given: Any, uploads: Sequence[str]) -> Any:
    groups = given.get("input") if isinstance(given, dict) else None
    if not isinstance(groups, dict):
        return given
    changed = dict(groups)
    for group in ("required", "optional"):
        listed = groups.get(group)
        if not isinstance(listed, dict):
            continue
        for name, spec in listed.items():
            values = _choices(spec)
            if values is None:
                continue
            # What others have sent lies in the same folder.
            offered = [each for each in values if not (isinstance(each, str) and is_ours(each))]
            if uploads and _is_upload(spec):
                known = set(map(repr, offered))
                offered += [each for each in uploads if repr(each) not in known]
            if len(offered) != len(values):
                changed[group] = {**changed[group], name: _with_choices(spec, offered)}
    return given if changed == groups else {**given, "input": changed}


def _is_upload(spec: list[Any]) -> bool:
    options = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    return any(options.get(each) is True for each in UPLOADS)
