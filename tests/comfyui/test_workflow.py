"""Workflows are read strictly, explained well, and never changed in place."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.comfyui import workflow as module
from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.page import MissingNodesError, ModelHint
from holdfast.comfyui.workflow import RERUN_INPUT, Workflow, is_link
from holdfast.errors import BadInputError
from tests.comfyui.graphs import node, painting, picture

OBJECT_INFO = Path(__file__).parents[1] / "data" / "object_info.json.gz"

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


def of(**nodes: dict[str, Any]) -> Workflow:
    """A workflow of the nodes ``n1``, ``n2``, ..."""
    return Workflow.from_api(nodes)


# Loading --------------------------------------------------------------------------------


def test_a_file_in_api_format_is_loaded_under_its_own_name(tmp_path):
    path = tmp_path / "flux dev.json"
    path.write_text(json.dumps(painting().to_api()), encoding="utf-8")
    loaded = Workflow.load(path)
    assert loaded.name == "flux dev"
    assert loaded.to_api() == painting().to_api()
    assert Workflow.load(str(path)) == loaded


def test_a_file_with_a_byte_order_mark_is_loaded(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(picture().to_api()), encoding="utf-8-sig")
    assert Workflow.load(path).graph.keys() == {"1", "2", "3"}


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "nope.json"
    with pytest.raises(BadInputError, match=r"nope\.json: cannot read .*No such file"):
        Workflow.load(path)


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(BadInputError, match=r"cannot read the workflow file: Is a directory"):
        Workflow.load(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\x89PNG\r\n\x1a\n\xff", b"\xff\xfe", b"9" * 9_000]
)
def test_a_file_that_is_not_json_says_so(tmp_path, content):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=r"bad\.json: not JSON"):
        Workflow.load(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 1_000)
    monkeypatch.setattr(Path, "read_bytes", lambda _self: pytest.fail("it was read"))
    path = tmp_path / "big.json"
    path.write_text(" " * 1_001)
    with pytest.raises(BadInputError, match=r"1,001 bytes is too large .* \(at most 1,000\)"):
        Workflow.load(path)


def saved_by_the_page() -> dict[str, Any]:
    model = {"name": "a.safetensors", "url": "https://x.org/a", "directory": "checkpoints"}
    size = {"id": 1, "type": "EmptyImage", "widgets_values": [64, 32, 1, 7], "title": "Ground"}
    size |= {"outputs": [{"name": "IMAGE", "type": "IMAGE"}], "properties": {"models": [model]}}
    save = {"id": 2, "type": "SaveImage", "widgets_values": ["pic"]}
    save["inputs"] = [{"name": "images", "type": "IMAGE", "link": 5}]
    note = {"id": 3, "type": "Note", "widgets_values": ["mind the gap"]}
    links = [[5, 1, 0, 2, 0, "IMAGE"]]
    return {"last_node_id": 9, "nodes": [size, save, note], "links": links, "version": 0.4}


def test_without_the_servers_classes_the_web_pages_own_format_is_refused_and_the_way_out_told():
    raw = json.dumps(saved_by_the_page())
    words = r"mine: .*object_info=.*--object-info.*--server.*Workflow > Export \(API\)"
    with pytest.raises(BadInputError, match=words):
        Workflow.parse(raw, source="mine")


def test_with_the_servers_classes_a_file_of_the_web_page_is_loaded(tmp_path):
    path = tmp_path / "ground.json"
    path.write_text(json.dumps(saved_by_the_page()))
    workflow = Workflow.load(path, object_info=OBJECT_INFO)
    assert workflow.name == "ground"
    assert workflow.to_api() == {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 32, "batch_size": 1, "color": 7},
            "_meta": {"title": "Ground"},
        },
        "2": {
            "class_type": "SaveImage",
            "inputs": {"filename_prefix": "pic", "images": ["1", 0]},
            "_meta": {"title": "Save Image"},
        },
    }


def test_the_classes_may_be_given_as_a_catalog_a_parsed_answer_or_a_file():
    known = Catalog.load(OBJECT_INFO)
    loaded = saved_by_the_page()
    workflow = Workflow.from_page(loaded, known)
    assert Workflow.from_page(loaded, {name: known[name].raw for name in known}) == workflow
    assert Workflow.from_page(loaded, str(OBJECT_INFO)) == workflow


def test_the_models_its_author_named_stay_with_a_workflow_that_is_changed():
    workflow = Workflow.from_page(saved_by_the_page(), OBJECT_INFO)
    models = (ModelHint("a.safetensors", "https://x.org/a", "checkpoints"),)
    assert workflow.models_hinted == models
    assert workflow.with_inputs({"width": 8}).models_hinted == models
    assert workflow.with_seeds_moved(1).models_hinted == models
    assert workflow.rerun(frozenset({"1"}), "x").models_hinted == models
    assert workflow.with_inputs({"width": 8}).graph["1"]["inputs"]["width"] == 8


def test_the_classes_are_not_needed_for_the_api_format_and_do_no_harm():
    raw = json.dumps(picture().to_api())
    assert Workflow.parse(raw, object_info=OBJECT_INFO) == Workflow.parse(raw)
    assert Workflow.parse(raw).models_hinted == ()


def test_nodes_that_the_server_lacks_are_named_with_the_file(tmp_path):
    loaded = saved_by_the_page()
    loaded["nodes"][0]["type"] = "Unheard"
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(loaded))
    with pytest.raises(MissingNodesError, match=r"mine\.json: the server does not have .*Unheard"):
        Workflow.load(path, object_info=OBJECT_INFO)


@pytest.mark.parametrize("loaded", [None, [], {}, {"1": node("A")}, {"nodes": {}}])
def test_what_is_not_in_the_pages_format_is_not_read_as_if_it_were(loaded):
    with pytest.raises(BadInputError, match="mine: this is not a workflow in the web page's own"):
        Workflow.from_page(loaded, OBJECT_INFO, source="mine")


def test_a_page_of_notes_has_nothing_to_run():
    loaded = saved_by_the_page()
    loaded["nodes"] = loaded["nodes"][2:]
    with pytest.raises(BadInputError, match="the workflow has no nodes"):
        Workflow.from_page(loaded, OBJECT_INFO)


def test_a_page_nested_beyond_reason_is_refused():
    deep: Any = 5
    for _ in range(200):
        deep = [deep]
    with pytest.raises(BadInputError, match="nested too deeply"):
        Workflow.from_page(saved_by_the_page() | {"extra": deep}, OBJECT_INFO)


@pytest.mark.parametrize(
    ("loaded", "words"),
    [
        ([], "a workflow is an object of nodes, this is a list"),
        (None, "this is a NoneType"),
        ("x", "this is a str"),
        (7, "this is a int"),
        ({}, "the workflow has no nodes"),
        ({"prompt": {}}, "the workflow has no nodes"),
        ({"1": []}, r"node '1' is \[\]; a node is an object"),
        ({"1": None}, "node '1' is .*a node is an object"),
        ({"1": {}}, "node '1' has no class_type. .*API format"),
        ({"1": {"inputs": {}}}, "node '1' has no class_type"),
        ({"1": {"class_type": "", "inputs": {}}}, "node '1' has no class_type"),
        ({"1": {"class_type": 5, "inputs": {}}}, "node '1' has no class_type"),
        ({"1": {"class_type": "A"}}, r"node '1' \(A\) has no inputs object"),
        ({"1": {"class_type": "A", "inputs": []}}, r"node '1' \(A\) has no inputs object"),
        ({"1": node("A"), "2": "x"}, "node '2' is ['\"]x['\"]"),
    ],
)
def test_what_is_no_workflow_is_refused_with_the_reason(loaded, words):
    with pytest.raises(BadInputError, match=words):
        Workflow.parse(json.dumps(loaded))


@pytest.mark.parametrize("strange", [{1, 2}, object(), b"bytes"])
def test_python_values_that_json_does_not_know_are_refused_like_others(strange):
    with pytest.raises(BadInputError, match="node '1' is"):
        Workflow.from_api({"1": strange})


def test_node_ids_given_as_numbers_do_not_go_unnoticed():
    # Sent as JSON they are text, and the history names its nodes so.
    try:
        workflow = Workflow.from_api({1: node("SaveImage", filename_prefix="x")})
    except BadInputError:
        return
    assert workflow.saving_nodes() == {"1": "SaveImage"}


@pytest.mark.parametrize("depth", [200, 400, 600, 900, 2_000, 100_000])
def test_deep_nesting_is_refused_or_loaded_but_never_ends_the_program(depth):
    deep = "[" * depth + "]" * depth
    for raw in (deep, f'{{"1": {{"class_type": "A", "inputs": {{"x": {deep}}}}}}}'):
        try:
            Workflow.parse(raw).to_api()
        except BadInputError:
            continue


def test_a_link_to_a_node_that_is_not_there_is_refused():
    graph = {"1": node("A"), "2": node("B", image=["1", 0], mask=["7", 1])}
    with pytest.raises(BadInputError, match=r"node 2 \(B\): mask is linked from node '7', which"):
        Workflow.from_api(graph)


def test_a_whole_prompt_body_is_accepted():
    body = {"prompt": picture().to_api(), "client_id": "x", "extra_data": {}}
    assert Workflow.from_api(body).to_api() == picture().to_api()


@relaxed
@given(any_json | st.dictionaries(st.sampled_from(["prompt", "nodes", "1"]), any_json))
def test_any_json_is_a_workflow_or_bad_input(loaded):
    try:
        workflow = Workflow.parse(json.dumps(loaded))
    except BadInputError:
        return
    assert workflow.graph


@relaxed
@given(st.text() | st.binary())
def test_any_file_content_is_a_workflow_or_bad_input(raw):
    try:
        workflow = Workflow.parse(raw)
    except BadInputError:
        return
    assert workflow.graph


# Inputs ---------------------------------------------------------------------------------


def test_an_input_is_set_on_one_node():
    changed = painting().with_inputs({"2.text": "a harbour"})
    assert changed.graph["2"]["inputs"]["text"] == "a harbour"
    assert changed.graph["3"]["inputs"]["text"] == "blurry"
    assert changed.name == "painting"


def test_an_input_is_set_wherever_it_stands_as_a_plain_value():
    changed = painting().with_inputs({"text": "both", "steps": 9})
    assert [changed.graph[each]["inputs"]["text"] for each in "23"] == ["both", "both"]
    assert changed.graph["5"]["inputs"]["steps"] == 9


def test_a_plain_name_leaves_linked_inputs_alone():
    workflow = of(n1=node("A", text="x"), n2=node("B", text=["n1", 0]))
    changed = workflow.with_inputs({"text": "y"})
    assert changed.graph["n1"]["inputs"]["text"] == "y"
    assert changed.graph["n2"]["inputs"]["text"] == ["n1", 0]


def test_nodes_inside_subgraphs_are_reached_by_their_compound_ids():
    workflow = Workflow.from_api({"57:8": node("KSampler", seed=1)})
    assert workflow.with_inputs({"57:8.seed": 2}).graph["57:8"]["inputs"]["seed"] == 2


def test_inputs_with_a_dot_in_their_name_are_reached():
    # ComfyUI's dynamic inputs are named so.
    workflow = Workflow.from_api({"5": node("ResizeImage", **{"resize_type.width": 64})})
    changed = workflow.with_inputs({"5.resize_type.width": 128})
    assert changed.graph["5"]["inputs"]["resize_type.width"] == 128


def test_seed_means_the_noise_seed_where_there_is_no_other():
    workflow = of(n1=node("RandomNoise", noise_seed=1), n2=node("B", noise_seed=["n1", 0]))
    changed = workflow.with_inputs({"seed": 7})
    assert changed.graph["n1"]["inputs"]["noise_seed"] == 7
    assert changed.graph["n2"]["inputs"]["noise_seed"] == ["n1", 0]


def test_a_seed_that_goes_nowhere_is_refused():
    with pytest.raises(BadInputError, match="seed"):
        picture().with_inputs({"seed": 7})


def test_a_linked_input_is_refused_with_where_to_set_it():
    with pytest.raises(BadInputError, match=r"6\.samples: this input is linked from node 5"):
        painting().with_inputs({"6.samples": 1})


def test_an_unknown_node_is_refused_and_the_nodes_there_are_named():
    with pytest.raises(BadInputError, match=r"no node '55'; the workflow has 1 \(Checkpoint"):
        painting().with_inputs({"55.seed": 1})


def test_a_node_asked_for_by_its_class_is_found_for_the_message():
    with pytest.raises(BadInputError, match=r"no node 'ksampler'; the workflow has 5 \(KSampler\)"):
        painting().with_inputs({"ksampler.seed": 1})


def test_of_very_many_nodes_only_a_few_are_named():
    workflow = Workflow.from_api({str(n): node("A") for n in range(500)})
    with pytest.raises(BadInputError, match="and 492 more") as caught:
        workflow.with_inputs({"x.y": 1})
    assert len(str(caught.value)) < 300


def test_an_unknown_input_of_a_node_is_refused_and_its_inputs_named():
    with pytest.raises(
        BadInputError, match=r"node 4 \(EmptyLatentImage\) has no input 'widht'; it"
    ):
        painting().with_inputs({"4.widht": 1})


def test_an_unknown_input_is_refused_and_near_ones_named():
    with pytest.raises(BadInputError, match=r"widht: .*did you mean width"):
        painting().with_inputs({"widht": 1})


def test_an_input_like_no_other_is_refused_and_all_are_named():
    with pytest.raises(BadInputError, match="there is batch_size, color, "):
        picture().with_inputs({"zzz": 1})


def test_a_name_that_is_linked_everywhere_is_refused():
    with pytest.raises(BadInputError, match="no node has a plain input of this name"):
        painting().with_inputs({"samples": 1})


@pytest.mark.parametrize("key", ["", ".", "5.", ".seed", "..", "5..seed"])
def test_keys_that_name_nothing_are_refused(key):
    with pytest.raises(BadInputError):
        painting().with_inputs({key: 1})


@relaxed
@given(st.text(), any_json)
def test_any_key_works_or_is_refused(key, value):
    try:
        painting().with_inputs({key: value})
    except BadInputError:
        return


# Values ---------------------------------------------------------------------------------


def test_no_change_reaches_the_original():
    original = painting()
    before = copy.deepcopy(original.to_api())
    original.with_inputs({"seed": 99, "2.text": "x"}).with_seeds_moved(5)
    original.rerun(frozenset({"7"}), "m")
    original.to_api()["5"]["inputs"]["seed"] = 1_000
    assert original.to_api() == before


def test_the_graph_it_was_made_from_may_be_changed_afterwards():
    graph = {"1": node("A", x=[1, 2, 3])}
    workflow = Workflow.from_api(graph)
    graph["1"]["inputs"]["x"].append(4)
    assert workflow.graph["1"]["inputs"]["x"] == [1, 2, 3]


def test_a_value_it_was_given_may_be_changed_afterwards():
    points = [1, 2, 3]
    workflow = of(n1=node("A", x=0)).with_inputs({"x": points})
    points.append(4)
    assert workflow.graph["n1"]["inputs"]["x"] == [1, 2, 3]


def test_seeds_are_where_they_stand_as_numbers():
    workflow = of(
        n1=node("KSampler", seed=3),
        n2=node("RandomNoise", noise_seed=4),
        n3=node("KSampler", seed=["n2", 0]),
        n4=node("Other", seed="five"),
    )
    assert workflow.seeds() == [("n1", "seed"), ("n2", "noise_seed")]


@relaxed
@given(seed=st.integers(0, 2**64 - 1), steps=st.integers(0, 2**70))
def test_moved_seeds_stay_in_the_range_of_seeds(seed, steps):
    moved = painting(seed).with_seeds_moved(steps).graph["5"]["inputs"]["seed"]
    assert moved == (seed + steps) % 2**64


def test_the_last_seed_is_followed_by_the_first():
    assert painting(2**64 - 1).with_seeds_moved(1).graph["5"]["inputs"]["seed"] == 0


def test_running_again_changes_only_one_added_input():
    original = painting()
    again = original.rerun(frozenset({"7", "5", "unknown"}), "mark")
    expected = original.to_api()
    for each in ("5", "7"):
        expected[each]["inputs"][RERUN_INPUT] = "mark"
    assert again.to_api() == expected


def test_saving_nodes_are_those_that_leave_files():
    workflow = of(a=node("SaveImage"), b=node("PreviewImage"), c=node("KSampler"))
    assert workflow.saving_nodes() == {"a": "SaveImage", "b": "PreviewImage"}


def test_working_nodes_load_no_models():
    assert painting().working_nodes() == {"2", "3", "4", "5", "6", "7"}


@pytest.mark.parametrize(
    ("value", "linked"),
    [
        (["1", 0], True),
        (["1"], False),
        (["1", "0"], False),
        ([1, 0], False),
        (["1", 0, 0], False),
        ("1", False),
        (None, False),
        ([512, 512], False),
    ],
)
def test_a_link_is_a_node_and_a_slot(value, linked):
    assert is_link(value) is linked


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", Path("a.png")])
def test_a_value_that_json_does_not_know_is_refused_at_once(value):
    with pytest.raises(BadInputError, match=r"1\.color: .* cannot be sent to a server as JSON"):
        picture().with_inputs({"1.color": value})


@pytest.mark.parametrize("link", [["99", 0], ["", 0]])
def test_a_link_into_the_void_is_refused_because_it_would_kill_the_servers_worker(link):
    graph = picture().to_api()
    graph["3"]["inputs"]["anything"] = link
    with pytest.raises(BadInputError, match=r"node 3 \(SaveImage\): anything is linked from node"):
        Workflow.from_api(graph)
