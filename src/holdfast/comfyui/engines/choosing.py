"""Which model files a recipe runs with, from what the servers say they have. Pure.

Files are named in `models`, or recognised by name in the order their role
prefers. Of several sets of files the one that most servers have is taken; of
those as many have, the one preferred most.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.engines.recipe import Recipe, Role, Settings
from holdfast.errors import BadInputError

Declared = Mapping[str, tuple[str, ...]]
"""File names by role, the one to take first."""

_SHOWN = 5
_MOST_SETS = 64
"""Sets of files looked at for each server."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a recipe is run with."""

    files: Mapping[str, str]
    """By role, as the servers call them; LoRAs too."""
    settings: Settings
    """As given, but for the LoRAs' names, which are the servers' own."""
    servers: tuple[str, ...]
    """Those that have all of it."""


@dataclass(frozen=True, slots=True)
class Lack:
    """Why a server cannot run a recipe."""

    server: str
    words: str


def declared_models(given: Mapping[str, Any] | None) -> Declared:
    """``models=`` as people write it: a name for each role, or several, the first that is there.

    Raises:
        BadInputError: it is something else.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise BadInputError(
            f"models must be file names by role, such as {{'checkpoint': ...}}, got {given!r:.100}"
        )
    return {role: _names(role, value) for role, value in given.items()}


def _names(role: Any, value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else value
    texts = isinstance(names, Iterable) and all(isinstance(each, str) and each for each in names)
    found = tuple(names) if texts and not isinstance(names, Mapping) else ()
    if not isinstance(role, str) or not found:
        raise BadInputError(
            f"models[{role!r:.50}] must be a file name or several, got {value!r:.100}"
        )
    return found


def check_roles(declared: Declared, recipes: Sequence[Recipe]) -> None:
    """Refuse a role that none of these recipes has.

    Raises:
        BadInputError: naming it, and those there are.
    """
    known = dict.fromkeys(role.name for recipe in recipes for role in recipe.roles)
    for name in declared:
        if name not in known:
            raise BadInputError(
                f"models has {name!r:.50}; {recipes[0].family} knows {', '.join(known)}"
            )


def choose(
    recipe: Recipe, settings: Settings, stock: Mapping[str, Catalog], declared: Declared
) -> Choice | tuple[Lack, ...]:
    """The files to run a recipe with, or what each server lacks for it.

    Args:
        recipe: what is to be run.
        settings: with which settings; they decide on node classes and LoRAs.
        stock: what each server knows, by its name.
        declared: names given for some of the roles.
    """
    sample = recipe.build(settings, {role.name: role.example for role in recipe.roles})
    classes = frozenset(node["class_type"] for node in sample.graph.values())
    lacks: list[Lack] = []
    offers: dict[str, list[dict[str, str]]] = {}
    for server, catalog in stock.items():
        found = _offers(recipe, settings, classes, catalog, declared)
        if isinstance(found, str):
            lacks.append(Lack(server, found))
        else:
            offers[server] = found
    if not offers:
        return tuple(lacks)
    files = _most_common(offers)
    servers = tuple(server for server, listed in offers.items() if files in listed)
    loras = tuple(
        replace(lora, name=files[_lora_role(number)]) for number, lora in enumerate(settings.loras)
    )
    return Choice(files, replace(settings, loras=loras), servers)


def _lora_role(number: int) -> str:
    return f"lora {number + 1}"


def _most_common(offers: Mapping[str, list[dict[str, str]]]) -> dict[str, str]:
    sets = [(rank, each) for listed in offers.values() for rank, each in enumerate(listed)]

    def worth(ranked: tuple[int, dict[str, str]]) -> tuple[int, int]:
        return -sum(ranked[1] in listed for listed in offers.values()), ranked[0]

    return min(sets, key=worth)[1]


def _offers(
    recipe: Recipe,
    settings: Settings,
    classes: frozenset[str],
    catalog: Catalog,
    declared: Declared,
) -> list[dict[str, str]] | str:
    """Sets of files this server has for it, best first; or what it lacks, in words."""
    unknown = sorted(classes - catalog.keys())
    if unknown:
        return f"it does not know {', '.join(unknown)}"
    wrong = _wrong_setting(settings, catalog)
    if wrong:
        return wrong
    by_role: list[list[str]] = []
    for role in recipe.roles:
        names = listed(catalog, role.loader, role.input)
        wanted = declared.get(role.name)
        fitting = role.preferred(names) if wanted is None else given_names(wanted, names)
        if not fitting:
            return _missing(role, wanted, names)
        by_role.append(fitting)
    keys = [role.name for role in recipe.roles]
    for number, lora in enumerate(settings.loras):
        names = listed(catalog, "LoraLoader", "lora_name")
        fitting = given_names((lora.name,), names)
        if not fitting:
            return f"no LoRA {lora.name!r} in models/loras{_near(lora.name, names)}"
        by_role.append(fitting)
        keys.append(_lora_role(number))
    # Like a clock: the first role's choice is kept longest.
    sets = itertools.islice(itertools.product(*by_role), _MOST_SETS)
    return [dict(zip(keys, each, strict=True)) for each in sets]


def _wrong_setting(settings: Settings, catalog: Catalog) -> str:
    for field, value, places in (
        ("sampler", settings.sampler, (("KSampler", "sampler_name"),)),
        ("scheduler", settings.scheduler, (("KSampler", "scheduler"),)),
    ):
        for place in places:
            known = listed(catalog, *place)
            if known and value not in known:
                return f"{field} {value!r} is not known to it{_near(value, known)}"
    return ""


def listed(catalog: Catalog, loader: str, name: str) -> list[str]:
    """The values a server offers for an input."""
    node = catalog.get(loader)
    spec = None if node is None else node.inputs.get(name)
    return [each for each in (spec.choices if spec else None) or () if isinstance(each, str)]


def given_names(wanted: Sequence[str], names: Sequence[str]) -> list[str]:
    """Of the names a server has those that were asked for, whichever way folders are parted."""
    found = []
    for want in wanted:
        exact = [each for each in names if each == want]
        found += exact or [each for each in names if _plain(each) == _plain(want)]
    return found


def _plain(name: str) -> str:
    """A name as every system writes it: servers on Windows part folders the other way."""
    return name.replace("\\", "/")


def _missing(role: Role, wanted: tuple[str, ...] | None, names: Sequence[str]) -> str:
    where = f"models/{role.folder}"
    if wanted is not None:
        return (
            f"no {role.name} {' or '.join(map(repr, wanted))} in {where}{_near(wanted[0], names)}"
        )
    there = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    has = f"there is {there}" if names else "there is nothing"
    return f"no {role.name} such as {role.example} in {where} ({has})"


def _near(name: str, names: Sequence[str]) -> str:
    folded = {re.split(r"[/\\]", each)[-1].lower(): each for each in names}
    close = difflib.get_close_matches(name.lower(), folded, n=3)
    if close:
        return f"; near it: {', '.join(folded[each] for each in close)}"
    return f" ({len(names)} others are there)" if names else ""
