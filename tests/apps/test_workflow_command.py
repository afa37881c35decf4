"""`holdfast workflow`: files in, words and exit codes out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from aiohttp import web

from holdfast.comfyui.standin import StandIn, StandInConfig
from tests.apps.commands import answering
from tests.comfyui.graphs import node, painting, picture

INFO = "tests/data/object_info.json.gz"


def written(folder, workflow, name="flow.json"):
    path = folder / name
    path.write_text(json.dumps(workflow if isinstance(workflow, dict) else workflow.to_api()))
    return path


@pytest.fixture
def known(tmp_path):
    """What a server answered to /object_info, with one checkpoint on its disk."""
    info = json.loads(gzip.decompress(Path(INFO).read_bytes()))
    info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0] = ["sd15.safetensors"]
    return written(tmp_path, info, "info.json")


# show -----------------------------------------------------------------------------------


def test_show_tells_values_and_how_to_set_them(holdfast, tmp_path):
    ended = holdfast("workflow", "show", written(tmp_path, painting(seed=77)))
    assert ended.code == 0
    told = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert told[0] == "flow: 7 nodes"
    assert "positive 2.text a lighthouse in a storm" in told
    assert "negative 3.text blurry" in told
    assert "size 4.width, 4.height 256 x 256" in told
    assert "seed 5.seed 77" in told
    assert "checkpoints 1.ckpt_name sd15.safetensors" in told
    assert "saves 7 (SaveImage) painting" in told


def test_show_as_json_is_strict_json(holdfast, tmp_path):
    graph = painting().to_api()
    graph["5"]["inputs"]["cfg"] = float("nan")
    ended = holdfast("workflow", "show", written(tmp_path, graph), "--json")
    told = json.loads(ended.out, parse_constant=pytest.fail)
    assert told["guidance"][0]["value"] is None
    assert told["prompts"][0]["role"] == "positive"
    assert told["seeds"][0]["set_at"] == ["5", "seed"]


def test_nothing_in_a_file_colours_the_screen_or_is_taken_for_markup(holdfast, tmp_path, known):
    evil = "\x1b[31m[red]x[/red]\x9b2J\u202e\nnext"
    graph = painting().to_api()
    graph["2"]["inputs"]["text"] = evil
    graph["7"]["inputs"]["filename_prefix"] = evil
    graph["1"]["inputs"]["ckpt_name"] = evil + ".safetensors"
    graph[evil] = node(evil, **{evil: evil})
    path = written(tmp_path, graph)
    other = written(tmp_path, painting(), "other.json")
    for args in (
        ("show", path),
        ("check", path, "--object-info", known),
        ("convert", path, "--object-info", known),
        ("diff", path, other),
        ("diff", other, path),
        ("show", path, "--json"),
        ("convert", path),
    ):
        ended = holdfast("workflow", *args)
        assert not {"\x1b", "\x9b", "\u202e"} & set(ended.out + ended.err), args
        if args[0] in ("show", "diff") and "--json" not in args:
            assert "[red]x[/red]" in ended.out, args


def test_show_says_what_a_workflow_could_go_without(holdfast, tmp_path):
    graph = painting(steps=20).to_api()
    graph["8"] = node("ImageScaleBy", image=["6", 0], upscale_method="area", scale_by=2.0)
    graph["7"]["inputs"]["images"] = ["8", 0]
    ended = holdfast("workflow", "show", written(tmp_path, graph))
    assert "upscaler" in ended.out
    assert "8 (ImageScaleBy)" in ended.out


# convert --------------------------------------------------------------------------------


def test_convert_prints_the_graph(holdfast, tmp_path):
    ended = holdfast("workflow", "convert", written(tmp_path, {"prompt": painting().to_api()}))
    assert ended.code == 0
    assert json.loads(ended.out) == painting().to_api()


def test_convert_names_what_the_server_lacks_and_prints_no_graph(holdfast, tmp_path, known):
    graph = picture().to_api() | {"8": node("KSamplerr"), "9": node("VHS_VideoCombine")}
    path = written(tmp_path, graph)
    ended = holdfast("workflow", "convert", path, "--object-info", known)
    assert (ended.code, ended.out) == (3, "")
    assert "KSamplerr" in ended.err
    assert "VHS_VideoCombine (node 9; in the pack https://github.com/Kosinkadink/" in ended.err
    assert holdfast("workflow", "convert", path).code == 0  # nobody said what there is


# diff -----------------------------------------------------------------------------------


def test_diff_of_equal_workflows_exits_0(holdfast, tmp_path):
    one = written(tmp_path, painting(), "a.json")
    ended = holdfast("workflow", "diff", one, written(tmp_path, painting(), "b.json"))
    assert (ended.code, ended.out) == (0, "no differences\n")


def test_diff_tells_inputs_and_exits_1(holdfast, tmp_path):
    one = written(tmp_path, painting(seed=1), "a.json")
    two = written(tmp_path, painting(seed=2), "b.json")
    ended = holdfast("workflow", "diff", one, two)
    assert (ended.code, ended.out) == (1, "node 5 (KSampler): seed: 1 -> 2\n")
    (told,) = holdfast("workflow", "diff", one, two, "--json").lines
    assert told["same"] is False
    assert told["differences"][0]["kind"] == "value"


# check ----------------------------------------------------------------------------------


def test_check_of_a_good_workflow_exits_0(holdfast, tmp_path, known):
    ended = holdfast("workflow", "check", written(tmp_path, painting()), "--object-info", known)
    assert (ended.code, ended.out) == (0, "0 errors, 0 warnings; would run: 7\n")


def test_check_allows_warnings(holdfast, tmp_path, known):
    path = written(tmp_path, painting(size=500))
    ended = holdfast("workflow", "check", path, "--object-info", known)
    assert ended.code == 0
    assert "warning  node 4 (EmptyLatentImage): width is 500" in ended.out
    assert "2 can be corrected with --fix OUT" in ended.out


def test_check_of_errors_exits_2_and_of_missing_classes_3(holdfast, tmp_path, known):
    path = written(tmp_path, painting(steps=0))
    ended = holdfast("workflow", "check", path, "--object-info", known)
    assert ended.code == 2
    assert "error    node 5 (KSampler): steps is 0, which is too small" in ended.out
    path = written(tmp_path, painting(steps=0).to_api() | {"9": node("Ksampler")})
    ended = holdfast("workflow", "check", path, "--object-info", known, "--json")
    assert ended.code == 3
    (told,) = ended.lines
    assert [each["kind"] for each in told["problems"] if each["severity"] == "error"] == [
        "value_smaller_than_min",
        "invalid_prompt",
    ]
    assert told["problems"][1]["near"][0] == "KSampler"


def test_check_asks_a_server(holdfast, tmp_path):
    with StandIn(StandInConfig()) as server:
        path = written(tmp_path, picture())
        assert holdfast("workflow", "check", path, "--server", server.url).code == 0
        path = written(tmp_path, picture(size=0))
        assert holdfast("workflow", "check", path, "--server", server.url).code == 2


def test_check_of_a_server_that_is_not_there_exits_3(holdfast, tmp_path):
    path = written(tmp_path, picture())
    for command in ("show", "convert", "check"):
        ended = holdfast("workflow", command, path, "--server", "http://127.0.0.1:1")
        assert ended.code == 3
        assert "cannot be reached" in ended.err
        assert ended.err.count("\n") == 1
    ended = holdfast("workflow", "diff", path, path, "--server", "http://127.0.0.1:1")
    assert ended.code == 3


def test_a_server_that_answers_nonsense_is_no_server(holdfast, tmp_path):
    async def answer(_request):
        return web.json_response({"KSampler": 5})

    with answering(answer) as url:
        path = written(tmp_path, picture())
        ended = holdfast("workflow", "check", path, "--server", url)
    assert ended.code == 3
    assert "no node class in it" in ended.err


def test_check_needs_one_who_knows_and_only_one(holdfast, tmp_path, known):
    path = written(tmp_path, picture())
    ended = holdfast("workflow", "check", path)
    assert ended.code == 2
    assert "--server URL or --object-info FILE" in ended.err
    ended = holdfast("workflow", "check", path, "--server", "gpu1", "--object-info", known)
    assert ended.code == 2
    assert "cannot be given together" in ended.err


def test_fix_writes_what_has_one_right_answer_and_tells_each_change(holdfast, tmp_path, known):
    graph = painting().to_api()
    graph["1"]["inputs"]["ckpt_name"] = "SD15.safetensors"
    graph["4"]["inputs"] |= {"width": "500", "batch_size": 0}
    path, out = written(tmp_path, graph), tmp_path / "fixed.json"
    ended = holdfast("workflow", "check", path, "--object-info", known, "--fix", out)
    assert ended.code == 0
    assert ended.out.count("changed: ") == 4
    assert "ckpt_name is 'sd15.safetensors' instead of 'SD15.safetensors'" in ended.out
    fixed = json.loads(out.read_text())
    assert fixed["4"]["inputs"] == {"width": 496, "height": 256, "batch_size": 1}
    again = holdfast("workflow", "check", out, "--object-info", known)
    assert (again.code, again.out) == (0, "0 errors, 0 warnings; would run: 7\n")


def test_fix_says_what_is_left_for_people(holdfast, tmp_path, known):
    graph = painting(steps=0).to_api()
    del graph["5"]["inputs"]["model"]
    path, out = written(tmp_path, graph), tmp_path / "fixed.json"
    ended = holdfast("workflow", "check", path, "--object-info", known, "--fix", out, "--json")
    assert ended.code == 2
    (told,) = ended.lines
    assert [each["name"] for each in told["changes"]] == ["value_range"]
    assert [each["kind"] for each in told["problems"]] == ["required_input_missing"]
    assert json.loads(out.read_text())["5"]["inputs"]["steps"] == 1


def test_fix_overwrites_nothing(holdfast, tmp_path, known):
    path = written(tmp_path, painting(steps=0))
    before = path.read_text()
    ended = holdfast("workflow", "check", path, "--object-info", known, "--fix", path)
    assert ended.code == 2
    assert "nothing is overwritten" in ended.err
    assert path.read_text() == before
    nowhere = tmp_path / "no" / "x.json"
    ended = holdfast("workflow", "check", path, "--object-info", known, "--fix", nowhere)
    assert ended.code == 2
    assert "cannot be written" in ended.err


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"1": {}}', '{"1": {"class_type": 5}}'])
def test_a_file_that_is_no_workflow_is_one_line_and_exit_2(holdfast, tmp_path, content):
    path = tmp_path / "bad.json"
    path.write_text(content)
    for args in (("show", path), ("convert", path), ("diff", path, path)):
        ended = holdfast("workflow", *args)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("holdfast: ")
        assert ended.err.count("\n") == 1


# The page's own format -------------------------------------------------------------------


def drawn(class_type="EmptyImage"):
    """A workflow as the page saves it: positions, a list of links, values without names."""
    output = {"name": "IMAGE", "type": "IMAGE", "links": [1]}
    source = {"id": 1, "type": class_type, "pos": [0, 0], "size": [200, 100], "mode": 0}
    source |= {"inputs": [], "outputs": [output], "widgets_values": [64, 32, 1, 7], "order": 0}
    taken = {"name": "images", "type": "IMAGE", "link": 1}
    saver = {"id": 2, "type": "SaveImage", "pos": [300, 0], "size": [200, 100], "mode": 0}
    saver |= {"inputs": [taken], "outputs": [], "widgets_values": ["drawn"], "order": 1}
    return {
        "last_node_id": 2,
        "last_link_id": 1,
        "nodes": [source, saver],
        "links": [[1, 1, 0, 2, 0, "IMAGE"]],
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def test_the_pages_own_format_is_converted_shown_compared_and_checked(holdfast, tmp_path, known):
    path = written(tmp_path, drawn())
    ended = holdfast("workflow", "convert", path, "--object-info", known)
    assert ended.code == 0
    graph = json.loads(ended.out)
    assert {key: each["class_type"] for key, each in graph.items()} == {
        "1": "EmptyImage",
        "2": "SaveImage",
    }
    assert graph["1"]["inputs"] == {"width": 64, "height": 32, "batch_size": 1, "color": 7}
    assert graph["2"]["inputs"] == {"images": ["1", 0], "filename_prefix": "drawn"}
    api = written(tmp_path, graph, "api.json")
    assert holdfast("workflow", "diff", path, api, "--object-info", known).code == 0
    assert holdfast("workflow", "check", path, "--object-info", known).code == 0
    assert "64 x 32" in holdfast("workflow", "show", path, "--object-info", known).out


def test_classes_the_pages_format_needs_and_the_server_lacks_are_named(holdfast, tmp_path, known):
    path = written(tmp_path, drawn("NoSuch\x1bImage"))
    for args in (("convert", path), ("show", path), ("check", path), ("diff", path, path)):
        ended = holdfast("workflow", *args, "--object-info", known)
        assert (ended.code, ended.out) == (3, ""), args
        assert "the server does not have NoSuch\ufffdImage (node 1)" in ended.err
        assert ended.err.count("\n") == 1


def test_the_pages_format_needs_somebody_who_knows_the_classes(holdfast, tmp_path):
    ended = holdfast("workflow", "convert", written(tmp_path, drawn()))
    assert ended.code == 2
    assert "the web page's own format" in ended.err
