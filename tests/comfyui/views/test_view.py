"""What a workflow does is read off its graph, with where each value is set."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.views import OptionalKind, follow, view
from holdfast.comfyui.workflow import Workflow, is_link
from tests.comfyui.graphs import node, painting

INFO = Catalog.load("tests/data/object_info.json.gz")
GOLD = Path("tests/comfyui/page/gold")


@pytest.fixture(params=[None, INFO], ids=["without catalog", "with catalog"])
def info(request):
    return request.param


def gold(name):
    return Workflow.load(GOLD / f"{name}.json")


def keys(knobs):
    return {each.key: each.value for each in knobs}


def roles(seen):
    return {each.key: each.role for each in seen.prompts}


def test_text_to_image(info):
    seen = view(painting(seed=77, batch=2), info)
    assert (seen.name, seen.nodes) == ("painting", 7)
    assert [(each.role, each.key, each.value) for each in seen.prompts] == [
        ("positive", "2.text", "a lighthouse in a storm"),
        ("negative", "3.text", "blurry"),
    ]
    assert keys(seen.seeds) == {"5.seed": 77}
    assert keys(seen.steps) == {"5.steps": 4}
    assert keys(seen.guidance) == {"5.cfg": 7.0}
    assert keys(seen.batches) == {"4.batch_size": 2}
    (size,) = seen.sizes
    assert (size.node_id, size.width.key, size.width.value, size.height.value) == (
        *("4", "4.width"),
        *(256, 256),
    )
    (model,) = seen.models
    assert (model.folder, model.value, model.key) == (
        *("checkpoints", "sd15.safetensors"),
        "1.ckpt_name",
    )
    (output,) = seen.outputs
    assert (output.node_id, output.saves, output.prefix.value) == ("7", True, "painting")
    assert (seen.frames, seen.fps, seen.paid, seen.optional) == ((), (), (), ())


def test_video(info):
    seen = view(gold("text_to_video_wan"), info)
    assert keys(seen.frames) == {"40.length": 33}
    assert keys(seen.fps) == {"49.fps": 16}
    assert [each.folder for each in seen.models] == ["diffusion_models", "text_encoders", "vae"]


def test_roles_are_followed_through_nodes_that_take_and_give_both(info):
    assert roles(view(gold("controlnet_example"), info)) == {
        "6.text": "positive",
        "7.text": "negative",
    }
    seen = view(gold("image_to_video_wan"), info)
    assert roles(seen) == {"6.text": "positive", "7.text": "negative"}


def test_roles_are_followed_through_areas_and_combinations(info):
    seen = view(gold("area_composition_square_area_for_subject"), info)
    assert sorted(roles(seen).items()) == [
        ("26.text", "positive"),
        ("27.text", "negative"),
        ("45.text", "positive"),
        ("6.text", "positive"),
        ("7.text", "negative"),
    ]


def test_a_prompt_that_is_silenced_for_one_side_is_only_the_others(info):
    seen = view(gold("image_flux.1_fill_dev_OneReward"), info)
    assert roles(seen) == {"23.text": "positive"}


def test_what_a_guider_calls_otherwise_is_known(info):
    seen = view(gold("hidream_e1_1"), info)
    assert roles(seen)["7.text"] == "negative"
    graph = painting().to_api()
    graph["5"] = node("BasicGuider", model=["1", 0], conditioning=["2", 0])
    assert roles(view(Workflow(graph), info)) == {"2.text": "positive", "3.text": "unused"}


def test_swapped_prompts_are_told_by_where_they_arrive(info):
    graph = painting().to_api()
    graph["5"]["inputs"] |= {"positive": ["3", 0], "negative": ["2", 0]}
    assert roles(view(Workflow(graph), info)) == {"2.text": "negative", "3.text": "positive"}
    graph["5"]["inputs"]["negative"] = ["3", 0]
    assert roles(view(Workflow(graph), info)) == {"2.text": "unused", "3.text": "both"}


def test_guidance_that_distilled_models_take_is_guidance(info):
    seen = view(gold("flux_canny_model_example"), info)
    assert keys(seen.guidance) == {"26.guidance": 30, "3.cfg": 1}


def test_services_have_prompts_without_conditioning():
    workflow = Workflow({"1": node("KlingX", prompt="a cat", negative_prompt="dogs", seed=4)})
    seen = view(workflow)
    assert roles(seen) == {"1.prompt": "positive", "1.negative_prompt": "negative"}
    assert [(each.node_id, each.certain) for each in seen.paid] == [("1", False)]
    raw = {"input": {"required": {"prompt": ["STRING", {}]}}, "api_node": True}
    seen = view(workflow, Catalog.parse({"KlingX": raw}))
    assert [(each.node_id, each.certain) for each in seen.paid] == [("1", True)]
    raw = {"input": {"required": {"prompt": ["STRING", {}]}}}
    assert view(workflow, Catalog.parse({"KlingX": raw})).paid == ()


# Where a value is written ----------------------------------------------------------------


def linked(name, graph, value=("9", 0)):
    whole = painting().to_api() | graph
    whole["5"]["inputs"][name] = list(value)
    return Workflow(whole)


@pytest.mark.parametrize(
    ("class_type", "name"),
    [("PrimitiveInt", "value"), ("INTConstant", "value"), ("Seed (rgthree)", "seed")],
)
def test_a_value_held_by_another_node_is_set_there(info, class_type, name):
    (seed,) = view(linked("seed", {"9": node(class_type, **{name: 5})}), info).seeds
    assert (seed.value, seed.key, seed.node_id, seed.input) == (5, f"9.{name}", "5", "seed")
    assert seed.source == f"node 9 ({class_type}): {name}"


def test_two_that_share_a_held_value_are_both_told(info):
    graph = {"9": node("Seed (rgthree)", seed=5), "8": node("KSampler", seed=["9", 0])}
    seeds = view(linked("seed", graph), info).seeds
    assert [(each.node_id, each.key) for each in seeds] == [("5", "9.seed"), ("8", "9.seed")]


def test_values_are_followed_through_several_nodes():
    graph = {"8": node("PrimitiveInt", value=3), "9": node("Reroute", x=["8", 0])}
    knob = follow(linked("steps", graph), "5", "steps")
    assert (knob.value, knob.set_at) == (3, ("8", "value"))


def test_a_size_that_is_read_off_a_picture_cannot_be_set(info):
    graph = painting().to_api()
    graph["8"] = node("LoadImage", image="a.png")
    graph["9"] = node("GetImageSize", image=["8", 0])
    graph["4"]["inputs"] |= {"width": ["9", 0], "height": ["9", 1]}
    (size,) = view(Workflow(graph), info).sizes
    assert (size.width.value, size.width.settable, size.width.key) == (None, False, None)
    assert size.height.source == "the size read by node 9 (GetImageSize)"


def test_a_computed_value_is_said_to_be():
    knob = follow(linked("steps", {"9": node("Add", a=1, b=2)}), "5", "steps")
    assert (knob.value, knob.set_at, knob.source) == (None, None, "made by node 9 (Add)")


def test_a_circle_and_a_link_to_nowhere_end():
    graph = {"8": node("Reroute", x=["9", 0]), "9": node("Reroute", x=["8", 0])}
    assert follow(linked("steps", graph), "5", "steps").source == "a circle of links"
    nowhere = Workflow({"1": node("KSampler", steps=["9", 0])})
    assert follow(nowhere, "1", "steps").source == "a node that does not exist"


def test_a_prompt_put_together_is_told_by_its_parts(info):
    graph = painting().to_api()
    graph["8"] = node("PrimitiveString", value="a cat")
    graph["9"] = node("StringConcatenate", string_a=["8", 0], string_b="at sea", delimiter=", ")
    graph["2"]["inputs"]["text"] = ["9", 0]
    found = [each for each in view(Workflow(graph), info).prompts if each.role == "positive"]
    assert [(each.key, each.value) for each in found] == [
        ("8.value", "a cat"),
        ("9.string_b", "at sea"),
    ]


def test_what_is_settable_can_be_set_by_its_key(info):
    for path in sorted(GOLD.glob("*.json")):
        workflow = Workflow.load(path)
        seen = view(workflow, info)
        knobs = [*seen.seeds, *seen.steps, *seen.guidance, *seen.batches, *seen.frames, *seen.fps]
        knobs += [*seen.prompts, *seen.models]
        knobs += [side for size in seen.sizes for side in (size.width, size.height)]
        assert knobs
        for knob in knobs:
            assert knob.settable, (path.name, knob)
            at, name = knob.set_at
            assert workflow.graph[at]["inputs"][name] == knob.value
            assert workflow.targets(knob.key) == [(at, name)]


# What it could go without ----------------------------------------------------------------


def kinds(graph, info):
    return {each.node_id: each.kind for each in view(Workflow(graph), info).optional}


def test_what_follows_the_painting_is_optional_and_what_prepares_it_is_not(info):
    graph = painting(steps=20).to_api()
    scale = {"upscale_method": "area", "scale_by": 2.0}
    graph |= {
        "20": node("LoadImage", image="a.png"),
        "21": node("ImageScaleBy", image=["20", 0], **scale),
        "22": node("VAEEncode", pixels=["21", 0], vae=["1", 2]),
        "30": node("ImageScaleBy", image=["6", 0], **scale),
        "31": node("ImageSharpen", image=["30", 0], sharpen_radius=1, sigma=1.0, alpha=1.0),
        "32": node("FaceDetailer", image=["31", 0], model=["1", 0]),
        "33": node("RIFE VFI", frames=["32", 0]),
        "34": node("PreviewImage", images=["6", 0]),
    }
    graph["5"]["inputs"]["latent_image"] = ["22", 0]
    graph["7"]["inputs"]["images"] = ["33", 0]
    assert kinds(graph, info) == {
        "30": OptionalKind.UPSCALER,
        "31": OptionalKind.POST_PROCESSING,
        "32": OptionalKind.FACE_FIXER,
        "33": OptionalKind.INTERPOLATION,
        "34": OptionalKind.PREVIEW,
    }


def test_a_preview_that_is_all_there_is_is_not_optional(info):
    graph = painting().to_api()
    graph["7"] = node("PreviewImage", images=["6", 0])
    assert kinds(graph, info) == {}


def test_a_second_pass_is_optional_and_the_second_half_of_a_first_is_not(info):
    seen = view(gold("area_composition_square_area_for_subject"), info)
    assert {each.node_id: each.kind for each in seen.optional} == {
        "22": OptionalKind.UPSCALER,
        "24": OptionalKind.SECOND_PASS,
    }
    assert view(gold("sdxl_refiner_prompt_example"), info).optional == ()


def test_a_control_net_is_optional(info):
    seen = view(gold("sd3.5_large_blur"), info)
    assert [each.kind for each in seen.optional] == [OptionalKind.CONTROL_NET]


def with_lora(name, steps):
    graph = painting(steps=steps).to_api()
    graph["9"] = node("LoraLoaderModelOnly", model=["1", 0], lora_name=name, strength_model=1.0)
    graph["5"]["inputs"]["model"] = ["9", 0]
    return graph


@pytest.mark.parametrize(
    ("name", "steps", "optional"),
    [
        ("style.safetensors", 4, True),
        ("style.safetensors", 20, True),
        ("sdxl_lightning_4step_lora.safetensors", 4, False),
        ("lightx2v_T2V_14B.safetensors", 6, False),
        ("Hyper-SD15-8steps.safetensors", 8, False),
        ("lcm-lora.safetensors", 8, False),
        ("lcm-lora.safetensors", 9, True),
        ("FLUX.1-Turbo-Alpha.safetensors", 8, False),
        (["99", 0], 8, False),
        (["99", 0], 20, True),
    ],
)
def test_a_speed_lora_is_not_optional_where_there_are_few_steps(info, name, steps, optional):
    assert ("9" in kinds(with_lora(name, steps), info)) is optional


def test_where_steps_are_computed_a_speed_lora_is_kept(info):
    graph = with_lora("lcm.safetensors", 20) | {"8": node("Add", a=1, b=2)}
    graph["5"]["inputs"]["steps"] = ["8", 0]
    assert "9" not in kinds(graph, info)


def test_the_speed_loras_of_a_two_stage_video_are_kept(info):
    assert view(gold("video_wan2_2_14B_fun_inpaint"), info).optional == ()


def test_a_batch_is_frames_where_a_motion_model_is_used(info):
    graph = painting(batch=16).to_api()
    graph["9"] = node("ADE_UseEvolvedSampling", model=["1", 0])
    seen = view(Workflow(graph), info)
    assert (keys(seen.frames), seen.batches) == ({"4.batch_size": 16}, ())


# Odd graphs -----------------------------------------------------------------------------


def test_thousands_of_nodes_are_seen_through(info):
    graph = {"0": node("CLIPTextEncode", text="x", clip=["c", 0])}
    for number in range(1, 10_000):
        graph[str(number)] = node("ConditioningCombine", conditioning_1=[str(number - 1), 0])
    graph["end"] = node("KSampler", positive=["9999", 0], latent_image=["0", 0])
    assert roles(view(Workflow(graph), info)) == {"0.text": "positive"}


any_value = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just({"a": [1]})
any_link = st.tuples(st.sampled_from("1239"), st.integers(-1, 3)).map(list)
names = st.sampled_from(
    [
        *("text", "prompt", "positive", "negative", "conditioning", "seed", "steps", "width"),
        *("height", "lora_name", "denoise", "latent_image", "batch_size", "filename_prefix"),
        *("ckpt_name", "x"),
    ]
)
classes = st.sampled_from(
    [
        *("KSampler", "CLIPTextEncode", "DualCFGGuider", "ConditioningZeroOut", "LoraLoader"),
        *("Reroute", "PrimitiveInt", "StringConcatenate", "LatentUpscale", "SaveImage", "Q"),
        "ControlNetApply",
    ]
)


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(
        st.sampled_from("123"),
        st.builds(
            lambda name, inputs: node(name, **inputs),
            classes,
            st.dictionaries(names, any_value | any_link, max_size=6),
        ),
        max_size=3,
    )
)
def test_any_graph_can_be_viewed(graph):
    for info in (None, INFO):
        seen = view(Workflow(graph), info)
        for knob in [*seen.prompts, *seen.seeds, *seen.steps, *seen.models]:
            assert knob.node_id in graph
            if knob.set_at is not None:
                value = graph[knob.set_at[0]]["inputs"][knob.set_at[1]]
                assert not is_link(value)
