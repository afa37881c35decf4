"""Steps are saved where there are many, together where shared, and never from fast models."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.comfyui.surgery import cheaper_sampler, fewer_steps
from holdfast.errors import BadInputError
from tests.comfyui.surgery.graphs import catalog, flux, of, sd15, sdxl_refined, wan, without


def test_steps_are_taken_away_down_to_a_floor():
    edit = fewer_steps(sd15(), catalog(), 0.75)
    assert edit.workflow.graph["ks"]["inputs"]["steps"] == 15
    assert edit.change.words == "15 steps instead of 20"
    edit = fewer_steps(edit.workflow, catalog(), 0.5)
    assert edit.workflow.graph["ks"]["inputs"]["steps"] == 12
    assert fewer_steps(edit.workflow, catalog(), 0.5) is None


def test_a_schedule_apart_from_the_sampler_is_found():
    edit = fewer_steps(flux(), catalog(), 0.75)
    assert edit.workflow.graph["sig"]["inputs"]["steps"] == 15


def test_samplers_that_share_steps_still_meet():
    graph = fewer_steps(sdxl_refined(), catalog(), 0.75).workflow.graph
    first, second = graph["k1"]["inputs"], graph["k2"]["inputs"]
    assert (first["steps"], second["steps"]) == (15, 15)
    assert first["start_at_step"] == 0
    assert first["end_at_step"] == second["start_at_step"] == 12
    assert second["end_at_step"] == 10_000


@given(st.integers(1, 100), st.integers(0, 120), st.floats(0.05, 0.95))
def test_wherever_they_meet_they_meet_afterwards(steps, at, share):
    workflow = wan().with_inputs({"steps": steps, "k1.end_at_step": at, "k2.start_at_step": at})
    edit = fewer_steps(workflow, catalog(), share)
    if edit is None:
        return
    first, second = (edit.workflow.graph[name]["inputs"] for name in ("k1", "k2"))
    assert first["steps"] == second["steps"] < steps
    assert first["steps"] >= max(12, steps * share)
    assert first["end_at_step"] == second["start_at_step"]
    assert (first["end_at_step"] < first["steps"]) or at >= steps * 0.9


@pytest.mark.parametrize(
    "inputs",
    [
        {"steps": 8},
        {"steps": 4},
        {"ckpt_name": "sd_turbo.safetensors"},
        {"ckpt_name": "dreamshaperXL_lightning.safetensors"},
    ],
)
def test_a_model_made_for_few_steps_is_left_alone(inputs):
    workflow = sd15(sampler_name="heun").with_inputs(inputs)
    assert fewer_steps(workflow, catalog()) is None
    assert cheaper_sampler(workflow, catalog()) is None


def test_steps_that_differ_or_are_computed_are_left():
    assert fewer_steps(wan().with_inputs({"k2.steps": 30}), catalog()) is None
    graph = wan().to_api()
    graph["k2"]["inputs"]["start_at_step"] = ["k1", 0]
    assert fewer_steps(of(graph), catalog()) is None


@pytest.mark.parametrize(
    ("name", "cheaper"),
    [("dpmpp_sde", "dpmpp_2m"), ("heun", "euler"), ("dpm_2_ancestral", "euler_ancestral")],
)
def test_a_sampler_that_asks_twice_a_step_gives_way(name, cheaper):
    edit = cheaper_sampler(sd15(sampler_name=name), catalog())
    assert edit.workflow.graph["ks"]["inputs"]["sampler_name"] == cheaper
    assert not edit.change.keeps_result
    assert cheaper_sampler(edit.workflow, catalog()) is None


@pytest.mark.parametrize("name", ["euler", "lcm", "euler_cfg_pp", "dpmpp_2m", "unheard of"])
def test_other_samplers_stay(name):
    assert cheaper_sampler(sd15(sampler_name=name), catalog()) is None
    assert cheaper_sampler(sd15(sampler_name="heun"), without("KSampler")) is None


@pytest.mark.parametrize("least", [0, -1, 1.5, True, None])
def test_what_is_no_number_of_steps_is_refused(least):
    with pytest.raises(BadInputError, match=r"least is .*; it is a whole number of steps"):
        fewer_steps(sd15(), catalog(), least=least)
