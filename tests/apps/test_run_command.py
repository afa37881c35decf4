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

import pytest
from PIL import Image

from holdfast.comfyui.standin import Fault, StandIn, StandInConfig
from tests.apps.commands import Command
from tests.comfyui.graphs import node, painting, picture


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
    # Which of the two was first to ask is decided by their preparations.
    assert re.search(r"p_00[12]: interrupted", out)
    assert "Not done: 2 jobs" in out
    assert queue == {"queue_running": [], "queue_pending": []}


def test_files_of_one_name_get_names_of_their_own(holdfast: Command, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    paths = [tmp_path / "a" / "p.json", tmp_path / "b" / "p.json", tmp_path / "p-2.json"]
    for number, path in enumerate(paths):
        write(path, picture(color=number))
    with StandIn() as server:
        ended = holdfast("run", *paths, "--server", server.url, "--output", tmp_path / "o")
    assert ended.code == 0
    assert "3 of 3 jobs delivered" in ended.out
    assert sorted(each.name for each in (tmp_path / "o").iterdir()) == [
        "p-2-2.png", "p-2.png", "p.png",
    ]  # fmt: skip


def test_copies_that_would_all_be_the_same_are_warned_of(holdfast: Command, tmp_path):
    path = write(tmp_path / "p.json", picture())
    with StandIn() as server:
        ended = holdfast(
            "run", path, "--server", server.url, "--output", tmp_path / "o", "--count", "2"
        )
    assert ended.code == 0
    assert "all 2 runs make the same" in ended.err


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_what_servers_say_cannot_write_to_the_terminal(holdfast: Command, tmp_path, flags):
    path = write(tmp_path / "p.json", painting())
    nasty = "file \udce9.png \x1b]0;owned\x07\x1b[2J\x1b[31m red \u202e"
    fault = Fault("raise", node="KSampler", times=0, message=nasty)
    with StandIn(StandInConfig(faults=(fault,), step_seconds=0.0)) as server:
        ended = holdfast("run", path, "--server", server.url, "--output", tmp_path / "o", *flags)
    assert ended.code == 1
    assert "\x1b" not in ended.out + ended.err
    assert "Traceback" not in ended.err
    assert "owned" in ended.out


def test_an_output_folder_that_breaks_in_mid_run_is_one_line_after_the_account(
    holdfast: Command, tmp_path, monkeypatch
):
    path = write(tmp_path / "p.json", painting(steps=1, size=64))
    monkeypatch.setattr("holdfast.comfyui.outputs.os.fsync", full_disk)
    with StandIn(StandInConfig(step_seconds=0.0)) as server:
        ended = holdfast(
            "run", path, "--server", server.url, "--output", tmp_path / "o", "--count", "4"
        )
    assert ended.code == 2
    assert "0 of 4 jobs delivered" in ended.out
    (line,) = ended.err.strip().splitlines()
    assert "cannot write there: No space left on device" in line
    assert list((tmp_path / "o").iterdir()) == []


def full_disk(_handle):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_reader_that_goes_away_costs_no_picture(tmp_path, flags):
    path = write(tmp_path / "p.json", painting(steps=2, size=64))
    with StandIn(StandInConfig(step_seconds=0.02)) as server:
        command = [sys.executable, "-m", "holdfast.apps", "run", str(path), "--count", "5"]
        command += ["--server", server.url, "--output", str(tmp_path / "o"), *flags]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.readline()
            process.stdout.close()
            err = process.stderr.read()
        assert process.returncode == 0, err
    assert err == b""
    assert len(list((tmp_path / "o").iterdir())) == 5


def test_a_frozen_server_does_not_hold_up_the_start(holdfast: Command, tmp_path):
    path = write(tmp_path / "p.json", picture())
    with StandIn() as frozen, StandIn() as healthy:
        frozen.freeze(20.0)
        began = time.monotonic()
        ended = holdfast(
            "run", path, "--server", frozen.url, "--server", healthy.url, "--output", tmp_path / "o"
        )
        took = time.monotonic() - began
    assert ended.code == 0
    assert "has not answered yet" in ended.err
    assert took < 6.0


@pytest.mark.parametrize("option", ["--deadline", "--idle", "--reach", "--wait"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_seconds_without_end_are_refused(holdfast: Command, tmp_path, option, value):
    path = write(tmp_path / "p.json", picture())
    ended = holdfast("run", path, "--server", "http://127.0.0.1:9", option, value)
    assert ended.code == 2
    assert option in ended.err
