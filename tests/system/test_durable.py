"""A service that is killed, and what it knows of its errors when it is started again."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast import ErrorHandlingSystem
from holdfast.stores import ErrorHistory

ROOT = Path(__file__).parents[2]
LEAST_LOST = 0.25 + 0.15
"""Seconds: the last quarter, and what the machine may take for one batch."""

SERVICE = '''
"""A service that fails in several ways, and tells what it does, one line for each."""
import json, sys, time
from holdfast import ErrorHandlingSystem, ErrorCategory
from holdfast.system.recovery import Strategy

url, mode = sys.argv[1:]
system = ErrorHandlingSystem(
    {
        "history": {"url": url},
        "circuit_breaker": {"failure_threshold": 3, "timeout": 0.02, "exclude": []},
    }
)


class Reload(Strategy):
    name = "reload the model"
    cooldown = 0.0
    whole = True

    def apply(self, error, context):
        self.whole = True

    def verify(self, error, context):
        return self.whole


def say(**told):
    print(json.dumps(told), flush=True)


def fail(number):
    raise ValueError(f"job {number}: width must be a multiple of 8")


reload = Reload()
system.recovery_procedure.register(ErrorCategory.MODEL, reload)


def load():
    if not reload.whole:
        raise RuntimeError("PytorchStreamReader failed reading zip archive: not found")
    return "model"


def crash():
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


if mode == "look":
    health = system.get_system_health()
    report = system.error_analytics.generate_report()
    say(
        total=report["total_errors"],
        restored=report["restored_errors"],
        categories=report["errors_by_category"],
        messages=[one.error_message for one in system.error_analytics.error_history],
        operations=sorted({one.operation for one in system.error_analytics.error_history}),
        rate=health["error_rate"],
        recovery=health["recovery_rate"],
        trouble=health["history"]["trouble"],
        written=health["history"]["written"],
    )
    system.close()
    sys.exit()

system.call_outcome_with_resilience(crash)
reload.whole = False
assert system.call_with_resilience(load) == "model"
for number in range(1_000_000):
    told = time.time()
    through = "gpu1" if number % 20 < 3 else None
    outcome = system.call_outcome_with_resilience(fail, number, circuit_breaker_name=through)
    if "ValueError" in repr(outcome.error):
        say(number=number, at=told)
    time.sleep(0.002)
    if mode == "end" and number >= 50:
        system.close()
        sys.exit()
'''


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "service.py"
    path.write_text(SERVICE)
    return path


@pytest.fixture
def start(script):
    """Start the service; those still running at the end are killed."""
    started = []

    def run(url, mode):
        process = subprocess.Popen(
            [sys.executable, script, url, mode],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def look(start):
    """What the service knows when it is started again."""

    def run(url):
        process = start(url, "look")
        out, err = process.communicate(timeout=50)
        assert process.returncode == 0, err
        return json.loads(out)

    return run


def killed(process, lines):
    """Let it fail so often, kill it; gives what it said and when it was killed."""
    said = []
    until = time.monotonic() + 40
    while len(said) < lines and time.monotonic() < until:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        said.append(json.loads(line))
    process.send_signal(signal.SIGKILL)
    at = time.time()
    out, _ = process.communicate(timeout=20)
    whole = [line for line in out.splitlines(keepends=True) if line.endswith("\n")]
    return said + [json.loads(line) for line in whole], at


def holdfast(*arguments):
    """Run the command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "holdfast.apps", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def number_of(message):
    return int(message.removeprefix("job ").partition(":")[0])


def test_killed_and_started_again_it_shows_its_history(url, start, look):
    said, at = killed(start(url, "run"), 400)
    told = look(url)

    kept = {number_of(one) for one in told["messages"] if one.startswith("job ")}
    lost = [one for one in said if one["number"] not in kept]
    assert len(kept) > 100
    assert all(at - one["at"] <= LEAST_LOST for one in lost), (at, lost[0])
    assert told["total"] == told["restored"] == len(told["messages"])
    assert {"crash", "fail", "load"} <= set(told["operations"])
    assert told["categories"]["validation"] == len(kept)
    assert told["categories"]["model"] == 1
    assert told["rate"] > 0
    assert told["recovery"] == 1.0
    assert told["trouble"] is None

    with ErrorHistory(url) as history:
        breaker = history.changes(kind="breaker")
        assert {(one.name, one.old, one.new) for one in breaker} >= {
            ("gpu1", "closed", "open"),
            ("gpu1", "open", "half_open"),
            ("gpu1", "half_open", "open"),
        }
        (level,) = history.changes(kind="degradation")
        assert (level.name, level.old, level.new) == ("all", "full", "high")
        assert "illegal memory access" in level.reason
        (recovery,) = history.recoveries(strategy="reload the model")
        assert recovery.successful
        (mended,) = history.events(category="model")
        assert (mended.info.recovery_successful, mended.info.strategy) == (True, "reload the model")


def test_every_command_reads_what_a_killed_service_left(url, start):
    killed(start(url, "run"), 300)
    report = json.loads(holdfast("errors", "report", "--history", url, "--format", "json"))
    total = report["total_errors"]
    assert total > 30
    assert sum(report["errors_by_category"].values()) == total
    assert report["errors_by_category"]["validation"] > 30
    assert report["recovery_by_strategy"]["reload the model"]["successful"] == 1
    assert sum(report["errors_by_minute"]) == total

    groups = [
        json.loads(line)
        for line in holdfast("errors", "top", "--history", url, "--json").splitlines()
    ]
    assert sum(one["count"] for one in groups) == total
    assert groups[0]["error_type"] == "ValueError"

    shown = holdfast("errors", "show", groups[0]["fingerprint"], "--history", url)
    assert "width must be a multiple of 8" in shown
    assert "fail system" in shown
    assert "in fail" in shown  # its traceback

    exported = holdfast("errors", "export", "--history", url).splitlines()
    assert len(exported) == total
    rows = holdfast("errors", "export", "--history", url, "--format", "csv")
    assert len(list(csv.reader(io.StringIO(rows)))) == total + 1
    for form in ("table", "markdown", "html"):
        assert "ValueError" in holdfast("errors", "report", "--history", url, "--format", form)


def test_ended_in_good_order_it_loses_nothing(url, start, look):
    process = start(url, "end")
    out, err = process.communicate(timeout=50)
    assert process.returncode == 0, err
    said = {json.loads(line)["number"] for line in out.splitlines()}
    told = look(url)
    assert said == {number_of(one) for one in told["messages"] if one.startswith("job ")}


def test_looking_again_and_again_changes_nothing(url, start, look):
    start(url, "end").communicate(timeout=50)
    first = look(url)
    second = look(url)
    for key in ("total", "restored", "categories", "messages", "recovery"):
        assert first[key] == second[key]


def test_killed_again_and_again_it_goes_on_in_the_same_history(url, start, look):
    counts = []
    for _ in range(3):
        killed(start(url, "run"), 200)
        with ErrorHistory(url) as history:
            counts.append(sum(history.counts().values()))
    assert counts == sorted(set(counts))
    assert look(url)["total"] == min(counts[-1], 1000)


@pytest.mark.parametrize(
    "damage",
    [b"not a database at all\n" * 200, b"SQLite format 3\x00" + b"\xff" * 5000],
    ids=["text", "damaged"],
)
def test_a_corrupt_history_does_not_stop_the_service(tmp_path, start, look, damage):
    path = tmp_path / "errors.db"
    path.write_bytes(damage)
    told = look(str(path))
    assert told["total"] == 0
    assert "damaged" in told["trouble"]
    (aside,) = tmp_path.glob("errors.db.corrupt-*")
    assert aside.read_bytes() == damage
    killed(start(str(path), "run"), 300)
    assert look(str(path))["total"] > 10


def test_a_history_that_cannot_be_reached_does_not_stop_the_service():
    with ErrorHandlingSystem(
        {"history": {"url": "postgresql://me:hunter2@127.0.0.1:9/x"}}
    ) as system:
        assert system.call_with_resilience(int) == 0
        outcome = system.call_outcome_with_resilience(int, "x")
        assert isinstance(outcome.error, ValueError)
        health = system.get_system_health()
        assert "cannot be reached" in health["history"]["trouble"]
        assert "hunter2" not in json.dumps(health)
        assert system.error_analytics.generate_report()["total_errors"] == 1
        began = time.monotonic()
    assert time.monotonic() - began < 20


def test_what_is_restored_can_be_limited_or_left(tmp_path, start):
    url = str(tmp_path / "errors.db")
    start(url, "end").communicate(timeout=50)
    for restore, expected in ((0, 0), (5, 5)):
        with ErrorHandlingSystem({"history": {"url": url, "restore": restore}}) as system:
            report = system.error_analytics.generate_report()
            assert report["restored_errors"] == report["total_errors"] == expected


def test_a_system_that_is_restored_tells_new_errors_from_old_ones(tmp_path, start):
    url = str(tmp_path / "errors.db")
    start(url, "end").communicate(timeout=50)
    with ErrorHandlingSystem({"history": {"url": url}}) as system:
        before = system.error_analytics.generate_report()
        system.call_outcome_with_resilience(int, "x")
        after = system.error_analytics.generate_report()
        assert after["total_errors"] == before["total_errors"] + 1
        assert after["restored_errors"] == before["restored_errors"]
        assert system.error_analytics.error_history[-1].error_type == "ValueError"
    with ErrorHistory(url) as history:
        assert len(history.events(limit=10_000)) == after["total_errors"]
