"""Ladders go down, fit their families, and begin where the service's level says."""

import pytest

from holdfast.comfyui.engines import FAMILIES, LADDERS, Rung
from holdfast.comfyui.engines.ladders import first_rung, ladder_of
from holdfast.comfyui.engines.recipes import recipes_of
from holdfast.errors import BadInputError
from holdfast.system.degradation import DegradationLevel

KINDS = [(family, kind) for kind, families in FAMILIES.items() for family in families]


@pytest.mark.parametrize(("family", "kind"), KINDS)
def test_every_family_has_a_ladder_of_three_that_begins_with_itself(family, kind):
    ladder = LADDERS[family]
    assert [each.name for each in ladder] == ["quality", "standard", "basic"]
    assert ladder[0] == Rung("quality", family)
    for rung in ladder:
        assert recipes_of(rung.family, kind)


def test_a_single_recipe_is_the_first_choice_on_its_familys_ladder():
    ladder = ladder_of(None, "flux-schnell", "image")
    assert ladder[0] == Rung("quality", "flux-schnell")
    assert ladder[1:] == LADDERS["flux"][1:]


def test_a_ladder_may_be_given_as_plain_data():
    ladder = ladder_of([{"name": "one", "family": "sd15", "pixels": 512 * 512}], "", "image")
    assert ladder == (Rung("one", "sd15", pixels=512 * 512),)


@pytest.mark.parametrize(
    "given",
    [
        "sdxl",
        5,
        [],
        [5],
        [{"name": "a"}],
        [{"name": "a", "family": "sd15", "size": 5}],
        [Rung("a", "sd15"), Rung("a", "sdxl")],
        [Rung(str(number), "sd15") for number in range(21)],
    ],
)
def test_what_is_no_ladder_is_refused(given):
    with pytest.raises(BadInputError, match="ladder"):
        ladder_of(given, "", "image")


def test_a_rung_of_no_family_is_refused_with_those_there_are():
    with pytest.raises(BadInputError, match=r"one of .*sdxl"):
        ladder_of([Rung("a", "sd9")], "", "image")


@pytest.mark.parametrize(
    "wrong", [{"pixels": 5}, {"steps": 0}, {"frames": 0}, {"weights": "fp1"}, {"name": 5}]
)
def test_a_rung_that_cannot_be_meant_is_refused(wrong):
    with pytest.raises(BadInputError, match="ladder"):
        Rung(**({"name": "a", "family": "sd15"} | wrong))


def test_a_lower_level_of_service_begins_lower():
    levels = list(DegradationLevel)
    assert [first_rung(each, 3) for each in levels] == [0, 0, 1, 1, 2]
    assert [first_rung(each, 1) for each in levels] == [0] * 5
