"""A simpler workflow shows what the given one would have shown, as far as it can be told."""

from __future__ import annotations

from pathlib import Path

from holdfast.comfyui import Workflow
from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.simpler import carried, uploads_for
from tests.comfyui.graphs import node, painting, picture

INFO = Catalog.load("tests/data/object_info.json.gz")
PHOTO = Path("photo.png")


def test_prompts_go_where_their_role_is_and_the_seed_where_seeds_are():
    given = painting(seed=5).with_inputs({"2.text": "a red cat", "3.text": "dogs"})
    made, words = carried(given, painting(seed=9, size=64), INFO)
    assert made == painting(seed=5, size=64).with_inputs({"2.text": "a red cat", "3.text": "dogs"})
    assert words == "with the positive prompt, the negative prompt, the seed of the one given"


def test_what_cannot_be_carried_is_said():
    made, words = carried(picture(), painting(seed=9), INFO)
    assert made == painting(seed=9)
    assert words == "as it is, but its own positive prompt, its own negative prompt, its own seed"


def test_a_workflow_without_prompts_and_seeds_is_taken_as_it_is():
    made, words = carried(painting(), picture(), INFO)
    assert (made, words) == (picture(), "as it is")


def test_a_file_goes_to_its_input_or_to_the_only_one_of_its_name():
    one = Workflow.from_api({"7": node("LoadImage", image="x.png"), "8": node("Other", image=3)})
    assert uploads_for(one, {("7", "image"): PHOTO}) == ({("7", "image"): PHOTO}, [])
    assert uploads_for(one, {("3", "image"): PHOTO}) == ({("7", "image"): PHOTO}, [])
    two = Workflow.from_api({"7": node("LoadImage", image="x"), "8": node("LoadImage", image="y")})
    assert uploads_for(two, {("3", "image"): PHOTO}) == ({}, ["3.image"])
