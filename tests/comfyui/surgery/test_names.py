"""Model names are written as the server does, and replaced only as declared."""

from __future__ import annotations

import pytest

from holdfast.comfyui.surgery import mend_model_names, replace_models, with_the_rest
from holdfast.errors import BadInputError
from tests.comfyui.surgery.graphs import catalog, flux, sd15


def test_slashes_are_written_as_the_server_does():
    edit = mend_model_names(sd15().with_inputs({"ckpt_name": "xl/turbo.safetensors"}), catalog())
    assert edit.workflow.graph["ckpt"]["inputs"]["ckpt_name"] == "xl\\turbo.safetensors"
    assert edit.change.keeps_result
    assert "xl\\turbo.safetensors for xl/turbo.safetensors" in edit.change.words
    edit = mend_model_names(flux(unet="sdxl\\base.safetensors"), catalog())
    assert edit.workflow.graph["unet"]["inputs"]["unet_name"] == "sdxl/base.safetensors"


@pytest.mark.parametrize("name", ["sd15.safetensors", "turbo.safetensors", "SD15.safetensors", ""])
def test_a_name_that_is_right_or_another_one_is_not_guessed(name):
    assert mend_model_names(sd15().with_inputs({"ckpt_name": name}), catalog()) is None


def test_the_first_declared_model_that_is_there_is_taken_for_one_that_is_missing():
    missing = sd15().with_inputs({"ckpt_name": "gone.safetensors"})
    fallbacks = {"gone.safetensors": ["also gone", "xl/turbo.safetensors", "sd15.safetensors"]}
    edit = replace_models(missing, catalog(), fallbacks)
    assert edit.workflow.graph["ckpt"]["inputs"]["ckpt_name"] == "xl\\turbo.safetensors"
    assert not edit.change.keeps_result
    assert "xl\\turbo.safetensors instead of gone.safetensors" in edit.change.words
    assert replace_models(missing, catalog(), {"gone.safetensors": ["also gone"]}) is None
    assert replace_models(missing, catalog(), {}) is None


def test_a_model_that_is_there_is_replaced_only_where_it_is_said_to_be_damaged():
    fallbacks = {"sd15.safetensors": ["sd15.safetensors", "sd3.5.safetensors"]}
    assert replace_models(sd15(), catalog(), fallbacks) is None
    assert replace_models(sd15(), catalog(), fallbacks, node_id="ks") is None
    edit = replace_models(
        sd15(), catalog(), {"sd15.safetensors": ["sd3.5.safetensors"]}, node_id="ckpt"
    )
    assert edit.workflow.graph["ckpt"]["inputs"]["ckpt_name"] == "sd3.5.safetensors"


def test_after_a_fallback_come_the_ones_declared_after_it_unless_they_differ():
    declared = {"a": ["x", "y", "z"], "b": ["z", "w"], "y": ["own"]}
    known = with_the_rest(declared)
    assert known["x"] == ("y", "z")
    assert known["y"] == ("own",)
    assert known["a"] == ("x", "y", "z")
    assert "z" not in known


@pytest.mark.parametrize("others", ["b", [1]])
def test_fallbacks_that_are_no_lists_are_refused(others):
    with pytest.raises(BadInputError, match=r"fallbacks of 'a' are .*; they must be a list"):
        replace_models(sd15(), catalog(), {"a": others})
