"""`holdfast run`: what it delivers, what it says, what it exits with."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

from PIL import Image
from tests.apps.commands import Command
from tests.comfyui.graphs import node, painting, picture

from holdfast.comfyui.standin import Fault, StandIn, StandInConfig


def write(path, workflow):
    path.write_text(json.dumps(workflow.to_api()))
    return path


def test_json_lines_tell_everything_a_program_needs(holdfast: Command, tmp_path):
    path = write(tmp_path / "painting.json", painting())
    fault = Fault("raise", node="KSampler", message="first time unlucky")
    with StandIn(StandInConfig(faults=(fault,), step_seconds=0.0)) as server:
        ended = holdfast("run", path, "--server", server.url, "--output", tmp_path / "o", "--json")
    assert ended.code == 0
    lines = ended.lines
    names = [line["event"] for line in lines]
    assert names[0] == "job_started"
    assert names[-1] == "summary"
    assert "node_stepped" in names
    (failed,) = [line for line in lines if line["event"] == "attempt_failed"]
    assert failed["failure"]["kind"] == "node_error"
    assert failed["failure"]["node_id"] == "5"
    assert "first time unlucky" in failed["failure"]["message"]
    (delivered,) = [line for line in lines if line["event"] == "job_delivered"]
    (file,) = delivered["result"]["files"]
    assert file["width"] == 256
    assert [each["server"] for each in delivered["result"]["attempts"]] == [server.url] * 2
    assert lines[-1]["delivered"] == 1
    assert lines[-1]["retried"] == {"painting": 1}
    with Image.open(file["path"]) as made:
        made.load()


def test_counted_runs_move_the_seed_and_never_overwrite(holdfast: Command, tmp_path):
    path = write(tmp_path / "p.json", painting(seed=10, steps=1, size=64))
    with StandIn(StandInConfig(step_seconds=0.0)) as server:
        args = ("run", path, "--server", server.url, "--output", tmp_path / "o", "--count", "3")
        assert holdfast(*args).code == 0
        assert holdfast(*args).code == 0
    names = sorted(each.name for each in (tmp_path / "o").iterdir())
    assert names == [
        "p_001-2.png", "p_001.png", "p_002-2.png", "p_002.png", "p_003-2.png", "p_003.png",
    ]  # fmt: skip
    seeds = set()
    for name in ("p_001.png", "p_002.png", "p_003.png"):
        with Image.open(tmp_path / "o" / name) as made:
            seeds.add(json.loads(made.text["prompt"])["5"]["inputs"]["seed"])
    assert seeds == {10, 11, 12}


def test_settings_reach_the_server(holdfast: Command, tmp_path):
    path = write(tmp_path / "p.json", picture())
    with StandIn() as server:
        ended = holdfast(
            "run", path, "--server", server.url, "--output", tmp_path / "o",
            "--set", "1.width=32", "--set", "height=48", "--set", "filename_prefix=it's a name",
        )  # fmt: skip
    assert ended.code == 0
    with Image.open(tmp_path / "o" / "p.png") as made:
        assert made.size == (32, 48)


def test_a_local_picture_is_uploaded_to_the_server_that_needs_it(holdfast: Command, tmp_path):
    graph = {
        "1": node("LoadImage", image="whatever.png"),
        "2": node("ImageInvert", image=["1", 0]),
        "3": node("SaveImage", images=["2", 0], filename_prefix="x"),
    }
    path = tmp_path / "w.json"
    path.write_text(json.dumps(graph))
    mine = tmp_path / "mine.png"
    Image.new("RGB", (20, 10), (255, 0, 0)).save(mine)
    with StandIn() as server:
        ended = holdfast(
            "run", path, "--server", server.url, "--output", tmp_path / "o",
            "--set", f"1.image=@{mine}",
        )  # fmt: skip
    assert ended.code == 0, ended.err + ended.out
    with Image.open(tmp_path / "o" / "w.png") as made:
        assert made.size == (20, 10)
        assert made.getpixel((0, 0))[:3] == (0, 255, 255)


def test_some_failed_is_exit_one_and_the_rest_is_delivered(holdfast: Command, tmp_path):
    good = write(tmp_path / "good.json", picture())
    bad = write(tmp_path / "bad.json", painting(steps=0))
    with StandIn() as server:
        ended = holdfast("run", bad, good, "--server", server.url, "--output", tmp_path / "o")
    assert ended.code == 1
    assert "1 of 2 jobs delivered" in ended.out
    assert "steps is 0; the least allowed is 1" in ended.out
    assert [each.name for each in (tmp_path / "o").iterdir()] == ["good.png"]


def test_what_was_mended_is_in_the_account(holdfast: Command, tmp_path):
    path = write(tmp_path / "p.json", painting())
    with (
        StandIn(StandInConfig(faults=(Fault("die", node="KSampler"),))) as first,
        StandIn() as second,
    ):
        ended = holdfast(
            "run", path, "--server", first.url, "--server", second.url, "--output", tmp_path / "o"
        )
    assert ended.code == 0
    account = ended.out.partition("Mended on the way")[2]
    assert "the server went away while it had the job" in account
    assert f"delivered by {second.url}" in account


def test_control_c_takes_back_our_own_prompt_and_nobody_elses(tmp_path):
    path = write(tmp_path / "p.json", painting(steps=400))
    with StandIn(StandInConfig(step_seconds=0.05)) as server:
        command = [sys.executable, "-m", "holdfast.apps", "run", str(path), "--count", "2"]
        command += ["--server", server.url, "--output", str(tmp_path / "o")]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            for line in process.stdout:
                if "sent to" in line:
                    break
            time.sleep(0.4)
            os.kill(process.pid, signal.SIGINT)
            out = process.communicate(timeout=20)[0]
        with urllib.request.urlopen(f"{server.url}/queue") as answer:
            queue = json.load(answer)
    assert process.returncode == 130
    assert "Traceback" not in out
    assert re.search(r"p_001: interrupted", out)
    assert "Not done: 2 jobs" in out
    assert queue == {"queue_running": [], "queue_pending": []}
