"""Ten thousand damaged workflows: each converts, or is refused with words."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from typing import Any

import pytest

from holdfast.comfyui import Workflow
from holdfast.errors import BadInputError
from tests.comfyui.page.pages import (
    HERE,
    NEW_TEMPLATES,
    OLD_TEMPLATES,
    catalog,
    folder,
    nested,
)

SEEDS = range(20)
PER_SEED = 500
MAX_BYTES = 20_000

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2, 4, -10, -20, 10**30, 1.5, "", "x", "1", "-10", [], {}, [1, 2],
    {"a": 1}, "KSampler", "PrimitiveNode", "Reroute", "SetNode", "GetNode", "workflow>two",
]  # fmt: skip


def sources(chance: random.Random) -> list[bytes]:
    """Official workflows, and our own with everything they have not."""
    paths = [
        path
        for package in (OLD_TEMPLATES, NEW_TEMPLATES)
        for path in sorted(folder(package).glob("*.json"))
        if path.stat().st_size < MAX_BYTES and not path.name.startswith("index")
    ]
    ours = [json.dumps(nested()).encode()]
    ours += [
        json.dumps(json.loads(path.read_bytes())["document"]).encode()
        for path in sorted((HERE / "measured").glob("*.json"))
    ]
    return [path.read_bytes() for path in chance.sample(paths, 8)] + ours


def spots(document: Any) -> list[tuple[Any, Any]]:
    found = []
    waiting = [document]
    while waiting:
        each = waiting.pop()
        keys = list(each) if isinstance(each, dict) else range(len(each))
        for key in keys:
            found.append((each, key))
            if isinstance(each[key], dict | list):
                waiting.append(each[key])
    return found


def damage(document: Any, chance: random.Random) -> None:
    places = spots(document)
    for _ in range(chance.choice([1, 1, 2, 4, 10])):
        holder, key = chance.choice(places)
        other, its_key = chance.choice(places)
        try:
            match chance.randrange(4):
                case 0 | 1:
                    holder[key] = chance.choice(ODD)
                case 2:
                    del holder[key]
                case 3:
                    holder[key] = copy.deepcopy(other[its_key])
        except (KeyError, IndexError):
            continue  # An earlier blow took the place away.


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_workflow_converts_or_is_refused(seed):
    chance = random.Random(seed)
    originals = sources(chance)
    outcomes: Counter[str] = Counter()
    for _ in range(PER_SEED):
        document = json.loads(chance.choice(originals))
        damage(document, chance)
        try:
            workflow = Workflow.parse(json.dumps(document), object_info=catalog())
        except BadInputError:
            outcomes["refused"] += 1
        else:
            outcomes["converted"] += 1
            json.dumps(workflow.to_api())
    assert outcomes["converted"] > PER_SEED // 20
    assert outcomes["refused"] > PER_SEED // 20
