"""A long sweep, killed in the middle: it goes on, and every picture comes exactly once."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from holdfast.comfyui.standin import StandIn, StandInConfig
from tests.comfyui.graphs import painting, picture


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "painting.json").write_text(json.dumps(painting(steps=3, size=64).to_api()))
    (tmp_path / "picture.json").write_text(json.dumps(picture(size=16).to_api()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    monkeypatch.delenv("HOLDFAST_STORE", raising=False)
    return tmp_path


def started(*arguments):
    command = [sys.executable, "-m", "holdfast.apps", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def said(*arguments, code=0):
    process = started(*arguments)
    out, _ = process.communicate(timeout=110)
    assert process.returncode == code, out
    return out


@pytest.mark.timeout(180)
def test_two_hundred_lines_killed_twice_come_exactly_once(folder):
    lines = ["name,1.color"] + [f"shot_{n:03d},{n}" for n in range(200)]
    (folder / "shots.csv").write_text("\n".join(lines) + "\n")
    with StandIn(StandInConfig(step_seconds=0.0)) as server:
        run = started(
            "run", "picture.json", "--server", server.url, "--jobs", "shots.csv",
            "--output", "out",
        )  # fmt: skip
        _killed_after(run, 15)
        resume = ("run", "--resume", "--server", server.url, "--output", "out")
        _killed_after(started(*resume), 15)
        told = said(*resume)
        assert "200 delivered, 0 failed, 0 cancelled, 0 left" in told
        with urllib.request.urlopen(f"{server.url}/history?max_items=1000") as answer:
            assert len(json.load(answer)) == 200
    names = sorted(each.name for each in (folder / "out").glob("shot_*.png"))
    assert names == [f"shot_{n:03d}.png" for n in range(200)]
    report = json.loads((folder / "out" / "report.json").read_text())
    assert [each["state"] for each in report["jobs"]] == ["delivered"] * 200
    assert "every file is there and whole" in said("jobs", "check", "--data", "out/.holdfast")
    again = said("jobs", "export", "--order", report["order"] or _order(), "--output", "out",
                 "--data", "out/.holdfast")  # fmt: skip
    assert "200 files of 200 jobs" in again
    assert len(list((folder / "out").glob("shot_*.png"))) == 200


def _order():
    (line, *_rest) = said("jobs", "list", "--data", "out/.holdfast", "--json").splitlines()
    return json.loads(line)["order"]


def _killed_after(run, delivered):
    seen = 0
    for line in run.stdout:
        seen += bool(re.search(r": delivered ", line))
        if seen == delivered:
            break
    run.send_signal(signal.SIGKILL)
    run.wait(20)
    run.stdout.close()


def test_an_interrupted_run_leaves_a_report_and_goes_on(folder):
    with StandIn(StandInConfig(step_seconds=0.1)) as server:
        run = started(
            "run", "painting.json", "--server", server.url, "--count", "5", "--keep",
            "--output", "out",
        )  # fmt: skip
        for line in run.stdout:
            if ": delivered " in line:
                break
        run.send_signal(signal.SIGINT)
        rest, _ = run.communicate(timeout=40)
        assert run.returncode == 130, rest
        assert "goes on with: holdfast run --resume" in rest
        page = (folder / "out" / "report.html").read_text()
        assert "Not done" in page
        assert "data:image/jpeg" in page
        told = said("run", "--resume", "--server", server.url, "--output", "out")
    assert "5 delivered, 0 failed" in told
    assert len(list((folder / "out").glob("painting_*.png"))) == 5


def test_a_second_run_on_the_same_folder_waits_and_does_its_own_jobs(folder):
    with StandIn(StandInConfig(step_seconds=0.15)) as server:
        common = ("--server", server.url, "--keep", "--output", "out")
        first = started("run", "painting.json", "--count", "3", *common)
        first.stdout.readline()
        until = time.monotonic() + 20
        while not (folder / "out" / ".holdfast" / "run.lock").exists():
            assert time.monotonic() < until
        second = said("run", "picture.json", *common)
        told, _ = first.communicate(timeout=40)
    assert first.returncode == 0, told
    assert "another process works on" in second
    assert "1 delivered" in second
    assert len(list((folder / "out").glob("painting_*.png"))) == 3
    assert (folder / "out" / "picture.png").is_file()


def test_what_a_waiting_job_loads_outlives_a_cleaning(folder):
    graph = painting().to_api()
    graph["9"] = {"class_type": "LoadImage", "inputs": {"image": "x.png"}}
    (folder / "load.json").write_text(json.dumps(graph))
    (folder / "photo.png").write_bytes(b"photo")
    said("submit", "load.json", "--set", "9.image=@photo.png")
    (content,) = (folder / "holdfast-data" / "files").glob("??/*")
    import os

    os.utime(content, (1e9, 1e9))
    assert "0 jobs forgotten, 0 files removed" in said("jobs", "clean", "--days", "0", "--failed")
    assert content.is_file()


def test_a_name_that_is_part_of_others_is_found_and_a_doubtful_one_is_told(folder):
    said("submit", "picture.json", "--count", "12")
    said("submit", "picture.json")
    said("submit", "picture.json", "--set", "1.color=3")
    assert "picture_001" in said("jobs", "show", "picture_001")
    assert "may be several jobs" in said("jobs", "show", "picture", code=2)
    assert "there is no order 'none'" in said("jobs", "cancel", "--order", "none", code=2)
