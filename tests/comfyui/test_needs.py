"""What a job needs is in its graph."""

from __future__ import annotations

from holdfast.comfyui import Failure, FailureKind, Workflow
from holdfast.comfyui.needs import lacking, needs_of
from holdfast.comfyui.replies import rejection
from tests.comfyui.graphs import node, painting, picture


def test_the_models_are_the_files_the_loaders_name_with_one_kind_of_slash():
    graph = painting().to_api()
    graph["1"]["inputs"]["ckpt_name"] = "sd\\sd15.safetensors"
    assert needs_of(Workflow.from_api(graph)).models == {"sd/sd15.safetensors"}
    assert needs_of(picture()).models == frozenset()


def test_a_lora_is_no_model_to_be_loaded():
    graph = painting().to_api()
    graph["9"] = node("LoraLoader", lora_name="style.safetensors", model=["1", 0], clip=["1", 1])
    assert needs_of(Workflow.from_api(graph)).models == {"sd15.safetensors"}


def test_seeds_and_prompts_make_no_difference_but_sizes_steps_and_models_do():
    plain = needs_of(painting(seed=1)).signature
    assert needs_of(painting(seed=2)).signature == plain
    assert needs_of(painting(size=512)).signature != plain
    assert needs_of(painting(steps=40)).signature != plain
    assert needs_of(painting(batch=8)).signature != plain
    other = painting().with_inputs({"ckpt_name": "sdxl.safetensors"})
    assert needs_of(other).signature != plain


def test_a_refusal_says_which_model_is_lacking():
    words = "Value not in list: ckpt_name: 'sd15.safetensors' not in ['sdxl.safetensors']"
    extra = {"input_name": "ckpt_name", "received_value": "sd15.safetensors"}
    errors = [
        {"type": "value_not_in_list", "message": words, "details": words, "extra_info": extra}
    ]
    body = {
        "error": {"type": "prompt_outputs_failed_validation", "message": "no"},
        "node_errors": {"1": {"class_type": "CheckpointLoaderSimple", "errors": errors}},
    }
    graph = painting().to_api()
    failure = rejection(body, "http://gpu1", graph)
    assert failure.elsewhere
    assert lacking(failure, needs_of(painting())) == {"sd15.safetensors"}


def test_a_refusal_says_which_node_is_lacking():
    failure = Failure(FailureKind.REJECTED, "there is no KSampler here", elsewhere=True)
    assert lacking(failure, needs_of(painting())) == {"KSampler"}


def test_a_refusal_that_names_nothing_is_remembered_for_such_jobs_only():
    needs = needs_of(painting())
    failure = Failure(FailureKind.REJECTED, "no", elsewhere=True)
    assert lacking(failure, needs) == {f"#{needs.signature}"}
    assert lacking(Failure(FailureKind.REJECTED, "steps is 0"), needs) == frozenset()


def test_a_workflow_with_wild_numbers_has_a_signature():
    graph = painting().to_api()
    graph["4"]["inputs"] |= {"width": 10**400, "height": -5, "batch_size": True}
    assert needs_of(Workflow.from_api(graph)).signature
