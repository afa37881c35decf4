"""Long clips made from text are sampled in windows that overlap."""

from __future__ import annotations

from holdfast.comfyui.surgery import context_windows
from tests.comfyui.graphs import node
from tests.comfyui.surgery.graphs import catalog, ltx, of, sd15, templates, wan, without


def test_every_sampler_gets_the_windows_on_its_own_model():
    edit = context_windows(wan(161), catalog())
    graph = edit.workflow.graph
    for name, model in (("k1", "high"), ("k2", "low")):
        windows = graph[graph[name]["inputs"]["model"][0]]
        assert windows["class_type"] == "WanContextWindowsManual"
        assert windows["inputs"]["model"] == [model, 0]
        assert windows["inputs"]["context_length"] == 81
    assert graph["lat"]["inputs"]["length"] == 161, "all frames are kept"
    assert not edit.change.keeps_result


def test_windows_that_are_there_get_shorter_once():
    edit = context_windows(context_windows(wan(161), catalog()).workflow, catalog())
    assert edit.change.name == "context_windows_49"
    lengths = [
        each["inputs"]["context_length"]
        for each in edit.workflow.graph.values()
        if each["class_type"] == "WanContextWindowsManual"
    ]
    assert lengths == [49, 49]
    assert context_windows(edit.workflow, catalog()) is None


def test_a_model_of_another_kind_counts_in_latents():
    names = {"unet_name": "hunyuan_video_t2v_720p_bf16.safetensors", "type": "hunyuan_video",
             "clip_name": "llava.safetensors", "vae_name": "hy.safetensors"}  # fmt: skip
    edit = context_windows(wan(161).with_inputs(names), catalog())
    made = [each for each in edit.workflow.graph.values()
            if each["class_type"] == "ContextWindowsManual"]  # fmt: skip
    assert [each["inputs"]["context_length"] for each in made] == [21, 21]
    assert {each["inputs"]["dim"] for each in made} == {2}


def test_what_fits_a_window_or_begins_with_an_image_or_cannot_do_it_is_left():
    assert context_windows(wan(81), catalog()) is None
    assert context_windows(wan(161), without("WanContextWindowsManual")) is None
    assert context_windows(sd15(), catalog()) is None
    assert context_windows(ltx(), catalog()) is None


def test_a_clip_that_may_begin_with_an_image_gets_windows_only_if_it_does_not():
    workflow = next(each for each in templates() if each.name == "video_wan2_2_5B_ti2v")
    assert context_windows(workflow, catalog()) is not None
    graph = workflow.to_api()
    begin = next(each for each in graph.values() if each["class_type"] == "Wan22ImageToVideoLatent")
    graph["img"] = node("LoadImage", image="photo.png")
    begin["inputs"]["start_image"] = ["img", 0]
    assert context_windows(of(graph), catalog()) is None
