"""What preflight says, and in which words."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.page import ModelHint
from holdfast.comfyui.preflight import Severity, pack_of, preflight
from holdfast.comfyui.preflight.links import link_fits
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError
from tests.comfyui.graphs import node, painting

KNOWN = Catalog.load("tests/data/object_info.json.gz")
MODELS = ["sd15.safetensors", "sub/xl.safetensors"]


def knowing(**changes):
    """The real server's classes, with a few checkpoints on its disk."""
    raw = {name: dict(each.raw) for name, each in KNOWN.items()} | changes
    raw["CheckpointLoaderSimple"] = {
        **raw["CheckpointLoaderSimple"],
        "input": {"required": {"ckpt_name": [MODELS, {}]}},
    }
    return Catalog.parse(raw)


INFO = knowing()


def look(graph, info=INFO):
    return preflight(Workflow(graph), info)


def only(report):
    (problem,) = report.problems
    return problem


def changed(node_id, **inputs):
    graph = painting().to_api()
    graph[node_id]["inputs"] |= inputs
    return graph


def test_a_good_workflow_is_fine():
    report = look(painting().to_api())
    assert report.fine
    assert report.problems == ()
    assert (report.runs, report.dropped) == (("7",), ())
    assert not report.refused


def test_a_parsed_answer_does_as_well_as_a_catalog():
    assert preflight(painting(), {name: each.raw for name, each in INFO.items()}).fine
    with pytest.raises(BadInputError, match="no node class"):
        preflight(painting(), {"a": 5})


def test_an_unknown_class_is_told_with_the_nearest_wherever_it_stands():
    graph = painting().to_api() | {"9": node("KSamplerAdvancd")}
    report = look(graph)
    problem = only(report)
    assert problem.kind == "invalid_prompt"
    assert problem.words.startswith(
        "node 9 (KSamplerAdvancd): this server does not have the node class; near it: "
        "KSamplerAdvanced"
    )
    assert (report.missing_classes, report.runs, report.dropped) == (
        ("KSamplerAdvancd",),
        (),
        ("7",),
    )


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("VHS_VideoCombine", "https://github.com/Kosinkadink/ComfyUI-VideoHelperSuite"),
        ("Seed (rgthree)", "https://github.com/rgthree/rgthree-comfy"),
        ("UnetLoaderGGUF", "https://github.com/city96/ComfyUI-GGUF"),
        ("ImageResize+", "https://github.com/cubiq/ComfyUI_essentials"),
        ("NoSuchThing", None),
    ],
)
def test_the_pack_of_a_missing_class_is_told_where_its_name_tells(name, pack):
    problem = look(painting().to_api() | {"9": node(name)}).errors[0]
    assert problem.url == pack
    assert ("; it is known from the pack" in problem.words) is (pack is not None)


def test_no_class_of_core_is_taken_for_a_packs():
    assert [name for name in KNOWN if pack_of(name) is not None] == []


def test_a_workflow_without_outputs_is_told_what_to_add():
    graph = painting().to_api()
    del graph["7"]
    report = look(graph)
    assert [each.kind for each in report.errors] == ["prompt_no_outputs"]
    assert "SaveImage" in report.errors[0].words


def test_a_missing_input_is_told_with_what_belongs_there():
    graph = painting().to_api()
    del graph["5"]["inputs"]["model"]
    del graph["5"]["inputs"]["steps"]
    model, steps = look(graph).errors
    assert model.words == "node 5 (KSampler): model is missing; link it to MODEL"
    assert steps.words == "node 5 (KSampler): steps is missing; the page would fill in 20"
    assert (steps.suggestion.value, steps.suggestion.certain) == (20, False)


@pytest.mark.parametrize(
    ("inputs", "kind", "words", "right"),
    [
        ({"steps": 0}, "value_smaller_than_min", "is 0, which is too small; from 1 to 10000", 1),
        ({"cfg": 200}, "value_bigger_than_max", "is 200, which is too big; from 0.0 to 100.0", 100),
        (
            {"steps": "64.9"},
            "invalid_input_type",
            "must be a whole number, not '64.9'; write 64",
            64,
        ),
        (
            {"steps": None},
            "invalid_input_type",
            "must be a whole number, not None; from 1 to 10000",
            None,
        ),
        ({"steps": 1e400}, "invalid_input_type", "must be a whole number, not inf", None),
        ({"cfg": "much"}, "invalid_input_type", "must be a number, not 'much'; from 0.0", None),
        ({"scheduler": "Karras"}, "value_not_in_list", "this server writes it 'karras'", "karras"),
        ({"scheduler": "karas"}, "value_not_in_list", "near it: 'karras'", "karras"),
        ({"scheduler": 5}, "value_not_in_list", "there are 'simple', 'sgm_uniform'", None),
        ({"model": ["1", 0, 0]}, "bad_linked_input", "the server takes lists for links", None),
        (
            {"model": ["1", 2]},
            "return_type_mismatch",
            "output 2 of node 1 (CheckpointLoaderSimple) is VAE; its output 0 would fit: ['1', 0]",
            None,
        ),
        (
            {"model": ["1", 7]},
            "exception_during_inner_validation",
            "output 7 of node 1 (CheckpointLoaderSimple), which has 0 (MODEL), 1 (CLIP), 2 (VAE)",
            None,
        ),
        (
            {"model": ["99", 0]},
            "exception_during_inner_validation",
            "is linked from node '99', which does not exist",
            None,
        ),
        (
            {"model": [1, 0]},
            "exception_during_inner_validation",
            "is linked from node 1 as a number; an id is text: '1'",
            None,
        ),
    ],
)
def test_an_error_at_an_input(inputs, kind, words, right):
    report = look(changed("5", **inputs))
    (problem,) = report.errors
    (name,) = inputs
    assert (problem.kind, problem.input, problem.node_id) == (kind, name, "5")
    assert words in problem.words
    assert (problem.suggestion and problem.suggestion.value) == right
    assert report.dropped == ("7",)


def test_a_missing_model_is_called_one_with_its_folder_and_the_nearest():
    report = look(changed("1", ckpt_name="xl.safetensors"))
    (problem,) = report.missing_models
    assert problem.model_folder == "checkpoints"
    assert problem.near == ("sub/xl.safetensors",)
    assert problem.suggestion.certain is False  # the same name elsewhere may be another file
    assert problem.words == (
        "node 1 (CheckpointLoaderSimple): ckpt_name is the model 'xl.safetensors', which this "
        "server does not have in models/checkpoints; near it: 'sub/xl.safetensors'"
    )


def test_where_the_author_says_a_missing_model_can_be_had_is_told():
    hint = ModelHint("far.safetensors", "https://example.com/far.safetensors", "checkpoints")
    workflow = Workflow(changed("1", ckpt_name="far.safetensors"), "w", (hint,))
    (problem,) = preflight(workflow, INFO).missing_models
    assert problem.url == hint.url
    assert problem.words.endswith(f"its author names {hint.url}")


@pytest.mark.parametrize("written", ["sub\\xl.safetensors", "SUB/XL.safetensors"])
def test_a_model_written_as_another_system_does_is_certain(written):
    (problem,) = look(changed("1", ckpt_name=written)).missing_models
    assert (problem.suggestion.value, problem.suggestion.certain) == ("sub/xl.safetensors", True)


def test_a_circle_is_named_once_from_its_first_node():
    graph = painting().to_api()
    graph["8"] = node("LatentUpscaleBy", samples=["5", 0], upscale_method="area", scale_by=2.0)
    graph["9"] = node("LatentUpscaleBy", samples=["8", 0], upscale_method="area", scale_by=2.0)
    graph["5"]["inputs"]["latent_image"] = ["9", 0]
    (problem,) = look(graph).errors
    assert problem.kind == "dependency_cycle"
    assert problem.at_submission
    assert "goes in a circle, 5 -> 8 -> 9 -> 5" in problem.words


def test_a_node_linked_to_itself_is_a_circle():
    graph = changed("5", latent_image=["5", 0])
    assert "5 -> 5" in look(graph).errors[0].words


def test_a_circle_that_no_output_needs_is_no_error():
    graph = painting().to_api()
    for one, other in (("8", "9"), ("9", "8")):
        graph[one] = node("ImageInvert", image=[other, 0])
    report = look(graph)
    assert report.fine
    assert {each.kind for each in report.warnings} == {"not_needed"}


def test_a_circle_through_an_input_the_class_does_not_know_fails_when_it_runs():
    graph = changed("4", unknown=["7", 0])
    (problem,) = look(graph).errors
    assert (problem.kind, problem.at_submission) == ("dependency_cycle", False)
    assert look(graph).runs == ("7",)


@pytest.mark.parametrize("slot", [0, 0.5])
def test_a_link_to_nowhere_in_an_unknown_input_kills_the_worker(slot):
    report = look(changed("4", unknown=["99", slot]))
    (problem,) = report.errors
    assert (problem.kind, problem.input, problem.at_submission) == (
        "dangling_link",
        "unknown",
        False,
    )
    assert "worker dies of it" in problem.words
    assert not report.refused


def test_what_an_unknown_input_drags_in_fails_when_it_runs():
    graph = changed("4", unknown=["8", 0]) | {"8": node("EmptyImage", width=0)}
    report = look(graph)
    assert {each.node_id for each in report.errors} == {"8"}
    assert not report.refused


def test_lists_of_the_new_kind_are_errors_that_some_servers_notice_late():
    graph = painting().to_api()
    graph["8"] = node("UpscaleModelLoader", model_name="4x.pth")
    graph["9"] = node("ImageUpscaleWithModel", upscale_model=["8", 0], image=["6", 0])
    graph["7"]["inputs"]["images"] = ["9", 0]
    report = look(graph)
    (problem,) = report.missing_models
    assert (problem.at_submission, problem.model_folder) == (False, "upscale_models")
    assert report.runs == ("7",)


def test_several_of_a_list_may_be_chosen_where_the_class_says_so():
    spec = ["COMBO", {"options": ["a", "b"], "multiselect": True}]
    info = knowing(Pick={"input": {"required": {"x": spec}}, "output_node": True})
    assert look({"1": node("Pick", x={"__value__": ["a", "b"]})}, info).fine
    assert not look({"1": node("Pick", x={"__value__": ["a", "c"]})}, info).fine


def test_the_branch_that_will_not_run_is_named_when_others_do():
    graph = painting().to_api() | {
        "8": node("EmptyImage", width=0, height=64, batch_size=1, color=0),
        "9": node("SaveImage", images=["8", 0], filename_prefix="x"),
    }
    report = look(graph)
    assert (report.runs, report.dropped) == (("7",), ("9",))
    assert [each.node_id for each in report.warnings if each.kind == "branch_dropped"] == ["9"]
    assert report.refused


def test_a_picture_that_is_not_there_is_a_warning_since_it_may_be_uploaded():
    graph = {"1": node("LoadImage", image="me.png"), "2": node("PreviewImage", images=["1", 0])}
    report = look(graph)
    assert report.fine
    assert only(report).kind == "image_not_there"
    assert not look({**graph, "1": node("LoadImage", image=5)}).fine


def test_a_number_where_a_link_belongs_is_a_warning():
    (problem,) = look(changed("5", model="sd15")).warnings[:1]
    assert problem.kind == "value_for_link"
    assert "takes a link to MODEL, not 'sd15'" in problem.words


@pytest.mark.parametrize(
    ("class_type", "name", "value", "right", "keeps"),
    [
        ("EmptyLatentImage", "width", 900, 896, True),
        ("EmptyLTXVLatentVideo", "height", 500, 480, True),
        ("EmptyLTXVLatentVideo", "length", 100, 97, True),
        ("EmptyHunyuanLatentVideo", "length", 80, 77, True),
        ("EmptyMochiLatentVideo", "length", 24, 19, True),
        ("EmptySD3LatentImage", "width", 1000, 992, False),
        ("WanImageToVideo", "length", 82, 81, True),
    ],
)
def test_a_size_off_the_models_grid_is_told_with_the_one_that_comes_out(
    class_type, name, value, right, keeps
):
    spec = INFO[class_type].inputs
    inputs = {each: spec[each].default for each in spec if spec[each].is_plain}
    graph = {
        "1": node(class_type, **inputs | {name: value}),
        "2": node(
            "SaveLatent", samples=["1", len(INFO[class_type].outputs) - 1], filename_prefix="x"
        ),
    }
    (problem,) = (each for each in look(graph).warnings if each.kind == "off_grid")
    assert (problem.input, problem.value) == (name, value)
    assert (problem.suggestion.value, problem.suggestion.keeps_result) == (right, keeps)


def test_a_size_that_is_scaled_to_is_on_no_grid():
    graph = painting().to_api()
    graph["8"] = node(
        "ImageScale", image=["6", 0], upscale_method="area", width=333, height=77, crop="disabled"
    )
    graph["7"]["inputs"]["images"] = ["8", 0]
    assert look(graph).problems == ()


@pytest.mark.parametrize(
    ("inputs", "words", "right"),
    [
        ({"steps": "20"}, "steps is '20'; the server makes 20 of it", 20),
        ({"steps": 20.9}, "steps is 20.9; the server makes 20 of it", 20),
        ({"steps": True}, "steps is True; the server makes 1 of it", 1),
    ],
)
def test_what_the_server_converts_is_a_warning(inputs, words, right):
    problem = only(look(changed("5", **inputs)))
    assert (problem.kind, problem.severity) == ("value_converted", Severity.WARNING)
    assert words in problem.words
    assert problem.suggestion.value == right


def test_the_word_false_is_true_to_the_server():
    info = knowing(B={"input": {"required": {"x": ["BOOLEAN", {}]}}, "output_node": True})
    problem = only(look({"1": node("B", x="false")}, info))
    assert (
        "the server makes True of it, since it takes any text for true; write False"
        in problem.words
    )
    assert (problem.suggestion.value, problem.suggestion.keeps_result) == (False, False)
    assert only(look({"1": node("B", x="maybe")}, info)).suggestion is None


def test_a_whole_number_for_a_fraction_needs_no_word():
    assert look(changed("5", cfg=7, steps=20.0)).problems == ()
    assert only(look(changed("5", cfg=float("nan")))).kind == "not_finite"


def test_paid_and_deprecated_nodes_are_told():
    raw = INFO["EmptyImage"].raw
    info = knowing(Paid={**raw, "api_node": True}, Old={**raw, "deprecated": True})
    graph = {}
    for name in ("Paid", "Old"):
        graph[name] = node(name, width=64, height=64, batch_size=1, color=0)
        graph[f"{name}2"] = node("PreviewImage", images=[name, 0])
    assert [(each.kind, each.node_id) for each in look(graph, info).warnings] == [
        ("paid", "Paid"),
        ("deprecated", "Old"),
    ]


def test_a_node_no_output_needs_is_a_warning_and_its_errors_do_not_count():
    report = look(painting().to_api() | {"9": node("EmptyImage", width=0)})
    assert report.fine
    assert only(report).kind == "not_needed"


def test_escapes_in_names_do_not_reach_the_words():
    graph = {
        "\x1b[31m": node("\x1b]0;x", **{"\x9b": "\x1b"}),
        "2": node("SaveImage", images="\x1b"),
    }
    for problem in look(graph).problems:
        assert not {"\x1b", "\x9b"} & set(problem.words)


def test_inputs_that_grow_on_newer_servers_are_looked_through():
    grown = {"input": {"required": {"images": ["COMFY_AUTOGROW_V3", {}]}}, "output": ["IMAGE"]}
    info = knowing(Batch=grown)
    graph = {
        "1": node("EmptyImage", width=0, height=64, batch_size=1, color=0),
        "2": node("Batch", **{"images.image0": ["1", 0], "images.image1": ["1", 0]}),
        "3": node("PreviewImage", images=["2", 0]),
    }
    report = look(graph, info)
    assert [(each.node_id, each.kind) for each in report.errors] == [
        ("1", "value_smaller_than_min")
    ]
    assert report.refused
    graph["1"]["inputs"]["width"] = 64
    assert look(graph, info).problems == ()
    graph["2"]["inputs"]["images.image1"] = ["9", 0]
    (problem,) = look(graph, info).errors
    assert (problem.kind, problem.at_submission) == ("exception_during_inner_validation", True)


def test_types_that_stand_for_others_fit():
    assert link_fits("COMFY_MATCHTYPE_V3", "IMAGE")
    assert link_fits("IMAGE", "COMFY_MATCHTYPE_V3,X")
    assert link_fits(["a", "b"], "COMBO")
    assert link_fits(["a"], ["a"])
    assert not link_fits(["a"], ["b"])
    assert not link_fits("STRING", ["a"])


# Size -----------------------------------------------------------------------------------


def test_a_chain_of_thousands_of_nodes_is_looked_at_without_recursion():
    graph = {"0": node("EmptyImage", width=0, height=64, batch_size=1, color=0)}
    for number in range(1, 20_000):
        graph[str(number)] = node("ImageInvert", image=[str(number - 1), 0])
    graph["end"] = node("SaveImage", images=["19999", 0], filename_prefix="x")
    report = look(graph)
    assert [each.node_id for each in report.errors] == ["0"]
    graph["0"] = node("ImageInvert", image=["19999", 0])
    (problem,) = look(graph).errors
    assert "... (19988 more)" in problem.words


def test_thousands_of_unknown_names_are_not_all_guessed_at():
    graph = {str(number): node(f"KSampler{number}" * 9) for number in range(5_000)}
    began = time.monotonic()
    report = look(graph)
    assert len(report.errors) == 5_000
    assert sum(1 for each in report.errors if each.near) <= 100
    assert time.monotonic() - began < 20


any_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
ids = st.sampled_from(["1", "2", "3", "\x1b"])
any_input = any_value | st.tuples(ids, st.integers(-2, 4)).map(list)


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(
        ids,
        st.sampled_from(sorted(INFO)).flatmap(
            lambda name: st.dictionaries(
                st.sampled_from([*INFO[name].inputs, "other"]), any_input, max_size=6
            ).map(lambda inputs: node(name, **inputs))
        ),
        max_size=4,
    )
)
def test_any_graph_over_a_real_servers_classes_gets_a_report(graph):
    report = look(graph)
    assert set(report.runs) | set(report.dropped) <= set(graph)
    assert list(report.problems) == [*report.errors, *report.warnings]
