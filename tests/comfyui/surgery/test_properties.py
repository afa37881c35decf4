"""Any edit on any workflow leaves one the server takes, and every ladder comes to an end."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.comfyui import surgery
from holdfast.comfyui.edit import Edit
from holdfast.comfyui.surgery import KnobLimits, Split
from holdfast.comfyui.workflow import Workflow, is_link
from holdfast.errors import BadInputError
from tests.comfyui.surgery.graphs import HANDMADE, catalog, complaints, templates

thorough = settings(
    deadline=None, max_examples=150, suppress_health_check=list(HealthCheck), derandomize=True
)

Change = Callable[[Workflow, random.Random], Edit | Split | None]


def _node(workflow: Workflow, chance: random.Random) -> str | None:
    return chance.choice([None, *workflow.graph])


def _share(chance: random.Random) -> float:
    return chance.uniform(0.05, 0.95)


EDITS: dict[str, Change] = {
    "tile": lambda w, c: surgery.tile(w, catalog(), _node(w, c)),
    "windows": lambda w, _: surgery.context_windows(w, catalog()),
    "cpu": lambda w, _: surgery.text_encoder_on_cpu(w, catalog()),
    "encoder": lambda w, _: surgery.smaller_text_encoder(w, catalog()),
    "precision": lambda w, _: surgery.lower_precision(w, catalog()),
    "split": lambda w, c: surgery.split_batch(w, catalog(), parts=c.randint(2, 9)),
    "size": lambda w, c: surgery.split_batch(w, catalog(), size=c.randint(1, 9)),
    "bypass": lambda w, c: surgery.bypass(w, catalog(), [c.choice(list(w.graph))]),
    "pair": lambda w, c: surgery.bypass(w, catalog(), c.choices(list(w.graph), k=2)),
    "optional": lambda w, c: surgery.bypass_optional(w, catalog(), c.choice(list(w.graph))),
    "polish": lambda w, c: surgery.drop_polish(w, catalog(), before=_node(w, c)),
    "pass": lambda w, c: surgery.drop_second_pass(w, catalog(), before=_node(w, c)),
    "previews": lambda w, _: surgery.drop_previews(w, catalog()),
    "lora": lambda w, _: surgery.drop_lora(w, catalog()),
    "control": lambda w, _: surgery.drop_control(w, catalog()),
    "frames": lambda w, c: surgery.fewer_frames(w, catalog(), _share(c)),
    "resolution": lambda w, c: surgery.lower_resolution(w, catalog(), _share(c)),
    "steps": lambda w, c: surgery.fewer_steps(w, catalog(), _share(c)),
    "sampler": lambda w, _: surgery.cheaper_sampler(w, catalog()),
    "names": lambda w, _: surgery.mend_model_names(w, catalog()),
    "models": lambda w, _: surgery.replace_models(
        w, catalog(), {"sd15.safetensors": ["sd_xl_base.safetensors"]}
    ),
    "class": lambda w, c: surgery.without_class(
        w, catalog(), c.choice([each["class_type"] for each in w.graph.values()])
    ),
    "ladder": lambda w, c: surgery.next_memory_edit(w, catalog(), _node(w, c)),
}  # fmt: skip

workflows = st.sampled_from([*HANDMADE, *templates()])


def results(made: Edit | Split) -> tuple[Workflow, ...]:
    return made.workflows if isinstance(made, Split) else (made.workflow,)


@thorough
@given(workflows, st.lists(st.sampled_from(sorted(EDITS)), min_size=1, max_size=8), st.randoms())
def test_whatever_is_changed_in_whatever_order_the_server_still_takes_it(workflow, names, chance):
    before = complaints(workflow, catalog())
    for name in names:
        untouched = workflow.to_api()
        made = EDITS[name](workflow, chance)
        assert workflow.graph == untouched, "an edit changes a copy"
        if made is None:
            continue
        for result in results(made):
            assert complaints(result, catalog()) <= before, name
            assert result.graph != workflow.graph, name
        assert made.change.name
        assert made.change.words
        assert made.change.nodes
        workflow = chance.choice(results(made))


@pytest.mark.parametrize("workflow", [*HANDMADE, *templates()], ids=lambda each: each.name)
def test_every_single_edit_on_every_workflow_leaves_one_the_server_takes(workflow):
    before = complaints(workflow, catalog())
    chance = random.Random(7)
    for name, edit in EDITS.items():
        made = edit(workflow, chance)
        for result in () if made is None else results(made):
            assert complaints(result, catalog()) <= before, name


@pytest.mark.parametrize("workflow", [*HANDMADE, *templates()], ids=lambda each: each.name)
def test_the_ladder_ends_for_every_node_and_never_repeats_a_workflow(workflow):
    limits = KnobLimits(least_area=0.25, least_frames=0.25)
    before = complaints(workflow, catalog())
    outputs = [None, *random.Random(3).sample(sorted(workflow.graph), min(4, len(workflow.graph)))]
    for node in outputs:
        seen = [workflow.graph]
        steps = list(surgery.memory_steps(workflow, catalog(), node, limits))
        assert len(steps) < 40
        for step in steps:
            now = results(step)[0]
            assert now.graph not in seen
            assert complaints(now, catalog()) <= before
            seen.append(now.graph)


@pytest.mark.parametrize("workflow", HANDMADE, ids=lambda each: each.name)
@pytest.mark.parametrize("name", sorted(EDITS))
def test_every_edit_repeated_comes_to_an_end(workflow, name):
    for _ in range(60):
        made = EDITS[name](workflow, random.Random(1))
        if made is None:
            return
        workflow = results(made)[0]
    pytest.fail(f"{name} never ends")


def test_an_edit_says_the_same_every_time():
    for workflow in HANDMADE:
        for name, edit in EDITS.items():
            assert edit(workflow, random.Random(2)) == edit(workflow, random.Random(2)), name


# Fuzzed workflows -----------------------------------------------------------------------

KINDS = sorted({each["class_type"] for workflow in HANDMADE for each in workflow.graph.values()})
NAMES = sorted({
    name for workflow in HANDMADE for each in workflow.graph.values() for name in each["inputs"]
})  # fmt: skip
ODD = [0, -1, 1, 8, 64, 512, 1024, 10**400, 2**64, 0.0, -0.5, 0.5, 16.0, 1e308, float("nan"),
    float("inf"), True, False, None, "", "64", "euler", "x" * 5_000, [], {}, ["1"], ["1", 0],
    ["2", 9], ["3", -1], ["4", True], ["1", 0, 0], {"a": [1]}, "sd15.safetensors"]  # fmt: skip

fuzzed = st.dictionaries(
    st.sampled_from([str(number) for number in range(1, 9)]),
    st.fixed_dictionaries(
        {
            "class_type": st.sampled_from([*KINDS, "Unheard Of", "LatentFromBatch"]),
            "inputs": st.dictionaries(st.sampled_from(NAMES), st.sampled_from(ODD), max_size=8),
        }
    ),
    min_size=1,
)


@settings(thorough, max_examples=1_000)
@given(fuzzed, st.randoms())
def test_a_fuzzed_workflow_is_refused_clearly_or_left_alone(graph, chance):
    try:
        workflow = Workflow.from_api(graph)
    except BadInputError:
        return
    check_all(workflow, chance)


def check_all(workflow: Workflow, chance: random.Random) -> None:
    for edit in EDITS.values():
        made = edit(workflow, chance)
        for result in () if made is None else results(made):
            for each in result.graph.values():
                for value in each["inputs"].values():
                    assert not is_link(value) or value[0] in result.graph
    surgery.family_of(workflow)
    surgery.batch_of(workflow, catalog())


@settings(thorough, max_examples=150)
@given(workflows, st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6),
    st.sampled_from(ODD)), max_size=6), st.randoms())  # fmt: skip
def test_a_real_workflow_with_odd_values_is_refused_clearly_or_left_alone(workflow, odds, chance):
    graph = workflow.to_api()
    for at, which, value in odds:
        inputs = graph[sorted(graph)[at % len(graph)]]["inputs"]
        if inputs:
            inputs[sorted(inputs)[which % len(inputs)]] = value
    try:
        broken = Workflow.from_api(graph)
    except BadInputError:
        return
    check_all(broken, chance)


@functools.cache
def chain(length: int) -> Workflow:
    graph: dict[str, Any] = {"0": {"class_type": "EmptyLatentImage", "inputs": {"width": 64,
        "height": 64, "batch_size": 2}}}  # fmt: skip
    for number in range(1, length):
        graph[str(number)] = {
            "class_type": "RepeatLatentBatch",
            "inputs": {"samples": [str(number - 1), 0], "amount": 1},
        }
    return Workflow.from_api(graph)


@pytest.mark.parametrize("length", [1_900, 20_000])
def test_a_very_long_workflow_takes_no_stack_and_little_time(length):
    check_all(chain(length), random.Random(4))
