"""Jobs kept on disk, through the commands as people type them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from holdfast.comfyui.standin import StandIn, StandInConfig
from holdfast.stores.jobs import JobState, JobStore
from tests.comfyui.graphs import painting, picture


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "painting.json").write_text(json.dumps(painting(1, steps=6).to_api()))
    (tmp_path / "picture.json").write_text(json.dumps(picture().to_api()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    monkeypatch.delenv("HOLDFAST_STORE", raising=False)
    return tmp_path


def holdfast(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "holdfast.apps", *arguments],
        capture_output=True,
        text=True,
        timeout=50,
    )


def told(*arguments: str, code: int = 0) -> str:
    done = holdfast(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def lines(*arguments: str) -> list[dict]:
    return [json.loads(line) for line in told(*arguments).splitlines()]


def test_a_sweep_is_run_and_reported(folder):
    (folder / "shots.csv").write_text("name,seed,priority\ndawn,1,0\nnoon,2,5\n")
    with StandIn(StandInConfig(step_seconds=0.01)) as server:
        said = told(
            "run", "painting.json", "--server", server.url, "--jobs", "shots.csv",
            "--output", "out",
        )  # fmt: skip
    assert "2 delivered, 0 failed" in said
    assert sorted(each.name for each in (folder / "out").glob("*.png")) == [
        "contact-sheet.png", "dawn.png", "noon.png",
    ]  # fmt: skip
    page = (folder / "out" / "report.html").read_text()
    assert "dawn" in page
    assert "data:image/jpeg;base64," in page
    report = json.loads((folder / "out" / "report.json").read_text())
    assert [each["seed"] for each in report["jobs"]] == ["1", "2"]
    shown = told("jobs", "show", "noon", "--data", "out/.holdfast")
    assert "delivered: 1 file" in shown
    assert "every file is there and whole" in told("jobs", "check", "--data", "out/.holdfast")


def test_a_run_that_is_killed_goes_on_and_runs_nothing_twice(folder):
    with StandIn(StandInConfig(step_seconds=0.15)) as server:
        command = [
            sys.executable, "-m", "holdfast.apps", "run", "painting.json", "--server", server.url,
            "--count", "4", "--keep", "--output", "out",
        ]  # fmt: skip
        run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for line in run.stdout:
            if "delivered" in line:
                break
        time.sleep(0.4)
        run.send_signal(signal.SIGKILL)
        run.wait()
        run.stdout.close()
        said = told("run", "--resume", "--server", server.url, "--output", "out")
        assert "4 delivered, 0 failed" in said
        import urllib.request

        with urllib.request.urlopen(f"{server.url}/history") as answer:
            assert len(json.load(answer)) == 4
    assert len(list((folder / "out").glob("painting_*.png"))) == 4


def test_a_detached_run_returns_at_once_and_delivers(folder):
    with StandIn(StandInConfig(step_seconds=0.01)) as server:
        said = told(
            "run", "painting.json", "--server", server.url, "--count", "3", "--detach",
            "--output", "out",
        )  # fmt: skip
        assert "3 jobs accepted" in said
        until = time.monotonic() + 30
        while time.monotonic() < until:
            found = lines("jobs", "list", "--data", "out/.holdfast", "--json")
            if all(each["state"] == "delivered" for each in found):
                break
        assert [each["state"] for each in found] == ["delivered"] * 3
        while not (folder / "out" / "report.html").exists() and time.monotonic() < until:
            time.sleep(0.1)
    assert (folder / "out" / "report.html").exists()


def test_the_same_key_is_accepted_once(folder):
    first = lines("submit", "picture.json", "--key", "night", "--json")
    again = lines("submit", "picture.json", "--key", "night", "--json")
    assert [each["id"] for each in first] == [each["id"] for each in again]
    assert "1 queued" in told("jobs", "list")


def test_dead_letters_are_told_and_tried_again(folder):
    graph = picture().to_api()
    graph["1"]["class_type"] = "NoSuchNode"
    (folder / "broken.json").write_text(json.dumps(graph))
    (job,) = lines("submit", "broken.json", "--json")
    with StandIn() as server:
        done = holdfast("work", "--server", server.url, "--until-empty")
    assert done.returncode == 1
    assert "NoSuchNode" in told("jobs", "dead-letter")
    assert "1 queued again" in told("jobs", "retry", "--all")
    assert "1 cancelled" in told("jobs", "cancel", job["id"])
    assert "1 jobs forgotten" in told("jobs", "clean", "--days", "0")


def test_a_file_that_was_changed_is_found(folder):
    told("submit", "picture.json")
    with StandIn() as server:
        told("work", "--server", server.url, "--until-empty")
    store = JobStore("holdfast-data/jobs.db")
    (job,) = store.jobs(states=[JobState.DELIVERED])
    (file,) = store.files(job.id)
    store.close()
    (folder / "holdfast-data" / "files" / file.sha256[:2] / file.sha256).write_bytes(b"x")
    assert "its content is another one" in told("jobs", "check", code=1)


def test_what_is_paused_is_not_begun(folder):
    told("submit", "picture.json")
    told("jobs", "pause", "--reason", "a new model is copied")
    assert "paused: a new model is copied" in told("jobs", "list")
    told("jobs", "resume")
    assert "paused" not in told("jobs", "list")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["jobs", "list", "--data", "nowhere"], "no jobs are kept in 'nowhere'"),
        (["submit"], "no workflow is given"),
        (["run", "--server", "http://x"], "no workflow is given"),
        (["run", "--resume", "--server", "http://x", "--output", "o"], "no jobs are kept"),
        (["jobs", "copy", "nothing.db", "nothing.db"], ""),
    ],
)
def test_bad_input_is_one_clear_line(folder, arguments, words):
    done = holdfast(*arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_is_copied(folder):
    told("submit", "picture.json")
    assert "1 jobs copied" in told("jobs", "copy", "holdfast-data/jobs.db", "copy.db")
    assert "1 queued" in told("jobs", "list", "--store", "copy.db")


def test_keys_are_made_listed_and_disabled(folder):
    made = holdfast("keys", "create", "ann", "--scope", "view", "--max-running", "3")
    assert made.stdout.startswith("hf_")
    assert made.stdout.strip() not in made.stderr
    (key,) = lines("keys", "list", "--json")
    assert (key["user"], key["scopes"]) == ("ann", ["view"])
    assert key["quotas"]["max_running"] == 3
    assert holdfast("keys", "create", "ann", "--max-running", "0").returncode == 2
    assert made.stdout.strip().split("_")[2] not in json.dumps(key)
    assert "opens nothing" in told("keys", "disable", key["id"])
