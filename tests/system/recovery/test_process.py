"""Real processes: started, restarted, stopped for certain, never without limit."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from holdfast.errors import BadInputError, ErrorCategory
from holdfast.system.recovery import (
    ProcessNotReadyError,
    RecoveryProcedure,
    RestartBudgetError,
    RestartProcess,
    SupervisedProcess,
)

SYSTEM = ErrorCategory.SYSTEM

SERVE = """
import os, sys, time
from pathlib import Path
sys.stderr.write("starting\\n"); sys.stderr.flush()
Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(60)
"""
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVE
DIES = """
import sys
for n in range(100): sys.stderr.write(f"line {n} \\x1b[31m\\n")
sys.exit(3)
"""
HAS_A_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
""" + SERVE.replace("str(os.getpid())", "f'{os.getpid()} {child.pid}'")


def process_of(code, tmp_path, **settings):
    mark = tmp_path / "ready"

    def ready():
        return bool(mark.read_text())

    return SupervisedProcess(
        [sys.executable, "-c", code, str(mark)],
        ready=settings.pop("ready", ready),
        **({"start_timeout": 20.0, "stop_timeout": 5.0} | settings),
    )


def alive(pid):
    """Whether it runs; one that has ended and waits to be collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_it_starts_becomes_ready_and_is_gone_afterwards(tmp_path):
    with process_of(SERVE, tmp_path) as process:
        assert process.well()
        pid = process.pid
        assert alive(pid)
        assert process.last_words == ["starting"]
        process.start()
        assert process.pid == pid, "it runs already"
        assert process.snapshot()["running"] is True
    assert not alive(pid)
    assert (process.running, process.pid, process.well()) == (False, None, False)
    process.stop()


def test_a_restart_makes_another_process(tmp_path):
    with process_of(SERVE, tmp_path) as process:
        first = process.pid
        process.restart()
        assert process.pid != first
        assert not alive(first)
        assert process.well()
        assert process.restarts == 1


def test_one_that_ends_at_once_is_told_with_its_last_words(tmp_path):
    process = process_of(DIES, tmp_path, kept_lines=3)
    with pytest.raises(ProcessNotReadyError, match=r"ended with 3; it said: line 97 .*line 99"):
        process.start()
    assert len(process.last_words) == 3
    assert "\x1b" not in "".join(process.last_words)
    assert not process.running


def test_one_that_does_not_become_ready_is_stopped(tmp_path):
    process = process_of(SERVE, tmp_path, ready=lambda: False, start_timeout=0.3)
    with pytest.raises(ProcessNotReadyError, match=r"was not ready after 0.3 s"):
        process.start()
    assert not process.running


def test_one_that_will_not_stop_is_killed(tmp_path):
    process = process_of(STUBBORN, tmp_path, stop_timeout=0.2)
    process.start()
    pid = process.pid
    process.stop()
    assert not alive(pid)


def test_its_children_go_with_it(tmp_path):
    process = process_of(HAS_A_CHILD, tmp_path)
    process.start()
    pids = [int(pid) for pid in (tmp_path / "ready").read_text().split()]
    assert all(map(alive, pids))
    process.stop()
    until = time.monotonic() + 5
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(map(alive, pids))


def test_children_of_one_that_was_killed_go_too(tmp_path):
    process = process_of(HAS_A_CHILD, tmp_path)
    process.start()
    parent, child = (int(pid) for pid in (tmp_path / "ready").read_text().split())
    os.kill(parent, 9)
    until = time.monotonic() + 5
    while process.running and time.monotonic() < until:
        time.sleep(0.01)
    assert not process.running
    assert alive(child)
    process.stop()
    while alive(child) and time.monotonic() < until:
        time.sleep(0.01)
    assert not alive(child)


def test_restarts_have_a_budget(tmp_path, clock):
    process = process_of(SERVE, tmp_path, max_restarts=2, window=60, ready=lambda: True)
    try:
        process.restart()
        process.restart()
        pid = process.pid
        with pytest.raises(RestartBudgetError, match="2 times in 60 s") as raised:
            process.restart()
        assert 0 < raised.value.retry_after <= 60
        assert process.pid == pid, "it was left as it is"
        clock.advance(61)
        process.restart()
        assert process.pid != pid
    finally:
        process.stop()


# -- the strategy --------------------------------------------------------------------------


def procedure_of(strategy):
    procedure = RecoveryProcedure()
    procedure.register(SYSTEM, strategy)
    return procedure


def test_a_killed_process_is_restarted(make_error, tmp_path):
    with process_of(SERVE, tmp_path) as process:
        first = process.pid
        os.kill(first, 9)
        result = procedure_of(RestartProcess(process)).recover_sync(make_error(SYSTEM))
        assert result.success
        assert process.well()
        assert f"-> {process.pid}" in result.notes[0]


async def test_a_restart_does_not_hold_up_the_loop(make_error, tmp_path):
    process = process_of(SERVE, tmp_path)
    try:
        assert await procedure_of(RestartProcess(process)).attempt_recovery(make_error(SYSTEM))
    finally:
        process.stop()


def test_a_process_that_does_not_come_back_is_no_success(make_error, tmp_path):
    process = process_of(DIES, tmp_path)
    result = procedure_of(RestartProcess(process)).recover_sync(make_error(SYSTEM))
    assert not result.success
    assert "ended with 3" in result.reason


def test_one_that_is_ready_once_and_no_more_is_no_success(make_error, tmp_path):
    answers = iter([True, False])
    process = process_of(SERVE, tmp_path, ready=lambda: next(answers))
    try:
        result = procedure_of(RestartProcess(process)).recover_sync(make_error(SYSTEM))
        assert not result.success
    finally:
        process.stop()


def test_a_used_up_budget_is_no_success(make_error, tmp_path):
    process = process_of(SERVE, tmp_path, max_restarts=1, ready=lambda: True)
    procedure = procedure_of(RestartProcess(process, cooldown=0))
    try:
        assert procedure.attempt_recovery_sync(make_error(SYSTEM))
        result = procedure.recover_sync(make_error(SYSTEM))
        assert not result.success
        assert "RestartBudgetError" in result.reason
    finally:
        process.stop()


@pytest.mark.parametrize(
    ("command", "settings", "words"),
    [
        ("sleep 1", {}, "command must be a list of texts"),
        ([], {}, "command must be a list"),
        (["a", 3], {}, "command must be a list"),
        (["a\0b"], {}, "command must be a list"),
        (["a"], {"ready": None}, "ready must be a function"),
        (["a"], {"start_timeout": 0}, "start_timeout must be"),
        (["a"], {"stop_timeout": -1}, "stop_timeout must be"),
        (["a"], {"max_restarts": 0}, "max_restarts must be"),
        (["a"], {"window": 0}, "window must be"),
        (["a"], {"kept_lines": 0}, "kept_lines must be"),
    ],
)
def test_bad_settings_are_refused(command, settings, words):
    with pytest.raises(BadInputError, match=words):
        SupervisedProcess(command, **({"ready": lambda: True} | settings))


def test_a_program_that_is_not_there_is_said(make_error):
    process = SupervisedProcess(["/no/such/program"], ready=lambda: True)
    with pytest.raises(FileNotFoundError):
        process.start()
    assert not procedure_of(RestartProcess(process)).attempt_recovery_sync(make_error(SYSTEM))
    with pytest.raises(BadInputError, match="process must be a SupervisedProcess"):
        RestartProcess("x")
