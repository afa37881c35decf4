"""What `holdfast run` may do to get a picture, as its options say, and how it tells what it did."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from holdfast.apps.run_options import read_allowed, read_models, read_restarts
from holdfast.comfyui import RestartCommand
from holdfast.comfyui.standin import Fault, StandIn, StandInConfig
from holdfast.errors import BadInputError
from tests.apps.commands import Command
from tests.comfyui.graphs import painting

PAGE = {
    "version": 0.4,
    "last_node_id": 2,
    "last_link_id": 1,
    "nodes": [
        {
            "id": 1, "type": "EmptyImage", "mode": 0, "inputs": [],
            "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}],
            "widgets_values": [48, 32, 1, 255],
        },
        {
            "id": 2, "type": "SaveImage", "mode": 0,
            "inputs": [{"name": "images", "type": "IMAGE", "link": 1}],
            "outputs": [], "widgets_values": ["pic"],
        },
    ],
    "links": [[1, 1, 0, 2, 0, "IMAGE"]],
    "groups": [], "config": {}, "extra": {},
}  # fmt: skip


def write(path, graph):
    path.write_text(json.dumps(graph))
    return path


def test_a_batch_of_eight_that_does_not_fit_is_delivered_and_how_is_said(
    holdfast: Command, tmp_path
):
    path = write(tmp_path / "portrait.json", painting(batch=8).to_api())
    short = Fault("out_of_memory", node="KSampler", above=4 * 256 * 256, times=0)
    with StandIn(StandInConfig(faults=(short,), step_seconds=0.0)) as server:
        ended = holdfast("run", path, "--server", server.url, "--output", tmp_path / "o")
        strict = holdfast(
            "run", path, "--server", server.url, "--output", tmp_path / "s", "--strict"
        )
    assert ended.code == 0
    assert len(list((tmp_path / "o").glob("*.png"))) == 8
    assert "Changed to get a result:" in ended.out
    assert "batch of 8" in ended.out
    # The same noise gives the same pictures, so that even strictness allows it.
    assert strict.code == 0


def test_what_the_page_saved_is_run_as_it_is(holdfast: Command, tmp_path):
    path = write(tmp_path / "page.json", PAGE)
    with StandIn(StandInConfig()) as server:
        ended = holdfast("run", path, "--server", server.url, "--output", tmp_path / "o")
    assert ended.code == 0
    with Image.open(tmp_path / "o" / "page.png") as made:
        assert made.size == (48, 32)


def test_what_the_page_saved_cannot_be_run_without_a_server_to_ask(holdfast: Command, tmp_path):
    path = write(tmp_path / "page.json", PAGE)
    ended = holdfast("run", path, "--server", "http://127.0.0.1:9", "--output", tmp_path / "o")
    assert ended.code in (2, 3)
    assert "Traceback" not in ended.err


def test_a_missing_model_is_replaced_by_the_one_declared(holdfast: Command, tmp_path):
    graph = painting().with_inputs({"ckpt_name": "gone.safetensors"}).to_api()
    path = write(tmp_path / "p.json", graph)
    with StandIn(StandInConfig(step_seconds=0.0)) as server:
        ended = holdfast(
            "run", path, "--server", server.url, "--output", tmp_path / "o",
            "--fallback", "gone.safetensors=sd15.safetensors",
        )  # fmt: skip
    assert ended.code == 0
    assert "sd15.safetensors instead of gone.safetensors" in ended.out


def test_a_suspect_picture_is_named_at_the_end(holdfast: Command, tmp_path):
    path = write(tmp_path / "p.json", painting().to_api())
    black = Fault("black_picture")
    with StandIn(StandInConfig(faults=(black,), step_seconds=0.0)) as server:
        ended = holdfast("run", path, "--server", server.url, "--output", tmp_path / "o")
    assert "Suspect, look at these:" in ended.out
    assert "p.png" in ended.out


def test_jobs_that_find_no_server_are_done_by_the_next_run(holdfast: Command, tmp_path):
    path = write(tmp_path / "p.json", painting(steps=1, size=64).to_api())
    later = ("--offline", tmp_path / "later", "--output", tmp_path / "o")
    away = holdfast("run", path, "--server", "http://127.0.0.1:9", *later, "--count", "2")
    assert away.code == 3
    assert "2 jobs are put off" in away.err
    with StandIn(StandInConfig(step_seconds=0.0)) as server:
        back = holdfast("run", path, "--server", server.url, *later)
    assert back.code == 0
    assert "2 delivered, 0 left" in back.out
    assert "1 of 1 jobs delivered" in back.out
    assert len(list((tmp_path / "o").glob("*.png"))) == 3


def test_fallbacks_are_read_in_order():
    allowed = read_allowed(fallbacks=["a=b", "a=c", "d=e"], simpler=[], reseeds=1, correct=True)
    assert dict(allowed.fallbacks) == {"a": ("b", "c"), "d": ("e",)}
    assert (allowed.reseeds, allowed.corrections) == (1, True)
    with pytest.raises(BadInputError, match="MODEL=OTHER"):
        read_allowed(fallbacks=["a"], simpler=[], reseeds=0, correct=False)


def test_models_need_a_folder_to_go_to(tmp_path):
    assert read_models(["http://a:1"], None, [], []) is None
    with pytest.raises(BadInputError, match="--models is missing"):
        read_models(["http://a:1"], None, [], ["a=https://x.example/a.safetensors"])
    with pytest.raises(BadInputError, match="--model "):
        read_models(["http://a:1"], tmp_path, [], ["a.safetensors"])
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps({"models": []}))
    sources = ["a.safetensors=https://x.example/a.safetensors?b=c"]
    assert read_models(["http://a:1"], tmp_path, [listed], sources) is not None


def test_ways_to_restart_are_read_and_odd_ones_refused():
    found = read_restarts(["http://a:1=sv restart 'my comfy'"], ["http://b:1=comfy.service"], [])
    first = found["http://a:1"]
    assert isinstance(first, RestartCommand)
    assert first.words == ("sv", "restart", "my comfy")
    second = found["http://b:1"]
    assert isinstance(second, RestartCommand)
    assert second.words == ("systemctl", "restart", "--", "comfy.service")
    for odd in (["http://a:1"], ["=x"], ["http://a:1='"]):
        with pytest.raises(BadInputError, match="restart-command"):
            read_restarts(odd, [], [])
    with pytest.raises(BadInputError, match="container"):
        read_restarts([], [], ["http://a:1=--privileged"])
