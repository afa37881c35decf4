"""Servers are restarted as was declared: without a shell, for a limited time, told honestly."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

import pytest

from holdfast.comfyui import (
    ComfyUI,
    RestartCommand,
    RestartError,
    RestartLimits,
    container,
    events,
    systemd_unit,
)
from holdfast.comfyui.restarts import Restarter
from holdfast.errors import BadInputError

SERVER = "http://gpu1:8188"
AT_ONCE = RestartLimits(grace=0.0, grace_ill=0.0, boot=1.0, most=2)


CHATTY = """
import sys, time
from pathlib import Path
Path(sys.argv[1]).write_text("up")
while not Path(sys.argv[2]).exists():
    time.sleep(0.01)
sys.stdout.write("x" * 300_000)
sys.stdout.flush()
Path(sys.argv[1]).write_text("wrote all")
"""
START = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", *sys.argv[2:]])
open(sys.argv[1], "w").write(str(child.pid))
"""


async def until(path, words: str) -> None:
    for _ in range(1_000):
        if path.exists() and path.read_text() == words:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"the child never said {words!r}")


async def test_a_server_that_a_command_leaves_running_can_print_for_ever(tmp_path):
    pid, state, go = tmp_path / "pid", tmp_path / "state", tmp_path / "go"
    words = (sys.executable, "-c", START, str(pid), CHATTY, str(state), str(go))
    try:
        await RestartCommand(words, seconds=20)("gpu1", "it was away")
        await until(state, "up")
        go.touch()
        await until(state, "wrote all")
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


async def test_a_command_runs_without_a_shell(tmp_path):
    target = tmp_path / "made; touch escaped"
    code = "import pathlib, sys; pathlib.Path(sys.argv[1]).touch()"
    await RestartCommand((sys.executable, "-c", code, str(target)))(SERVER, "dead")
    assert [each.name for each in tmp_path.iterdir()] == ["made; touch escaped"]


async def test_a_command_that_fails_is_told_with_its_last_words_and_without_secrets():
    code = "print('x' * 9000); print('no such unit, password=hunter2'); raise SystemExit(3)"
    with pytest.raises(RestartError, match=r"exit code 3.*no such unit") as caught:
        await RestartCommand((sys.executable, "-c", code))(SERVER, "dead")
    assert "hunter2" not in str(caught.value)
    assert len(str(caught.value)) < 700


async def test_a_command_that_hangs_is_ended():
    began = time.monotonic()
    command = RestartCommand((sys.executable, "-c", "import time; time.sleep(60)"), seconds=0.3)
    with pytest.raises(RestartError, match=r"longer than 0\.3 s"):
        await command(SERVER, "dead")
    assert time.monotonic() - began < 10


async def test_a_command_that_is_not_there_is_an_error():
    with pytest.raises(RestartError, match="no-such-program"):
        await RestartCommand(("/no-such-program",))(SERVER, "dead")


def test_units_and_containers_become_commands_and_odd_names_are_refused():
    assert systemd_unit("comfy@1.service").words == (
        "systemctl", "restart", "--", "comfy@1.service",
    )  # fmt: skip
    assert systemd_unit("comfy", user=True).words[:3] == ("systemctl", "--user", "restart")
    assert container("comfy-1", runtime="podman").words == ("podman", "restart", "comfy-1")
    for odd in ("", "-rf", "a b", "a;b", "a\n"):
        with pytest.raises(BadInputError):
            systemd_unit(odd)
        with pytest.raises(BadInputError):
            container(odd)
    with pytest.raises(BadInputError, match="runtime"):
        container("a", runtime="sh")
    with pytest.raises(BadInputError, match="words"):
        RestartCommand(())
    with pytest.raises(BadInputError, match="seconds"):
        RestartCommand(("a",), seconds=float("nan"))


def test_only_servers_that_were_given_can_be_restarted():
    with pytest.raises(BadInputError, match="none of the servers"):
        ComfyUI("http://gpu1:8188", restarts={"http://gpu2:8188": systemd_unit("comfy")})


async def test_a_restart_that_fails_is_told_and_tried_again_and_then_the_server_is_left_alone():
    told: list[events.Event] = []
    asked: list[str] = []
    done = asyncio.Event()

    def tell(event: events.Event) -> None:
        told.append(event)
        if len(told) == 5:
            done.set()

    def hook(server: str, reason: str) -> None:
        asked.append(f"{server}: {reason}")
        raise OSError("no power")

    limits = RestartLimits(grace=0.0, grace_ill=0.0, boot=1.0, most=2)
    restarter = Restarter({SERVER: hook}, limits, tell, lambda _name: False)
    restarter.note(events.ServerDown(SERVER, "it is gone", 1.0))
    async with asyncio.timeout(10):
        await done.wait()
    await restarter.close()
    assert asked == [f"{SERVER}: it is gone"] * 2
    names = [type(each).__name__ for each in told]
    assert names == ["ServerRestarting", "ServerNotRestarted"] * 2 + ["ServerNotRestarted"]
    assert "left alone" in told[-1].reason
    assert "no power" in told[1].reason


async def test_a_server_that_comes_back_by_itself_is_not_restarted():
    asked: list[str] = []
    limits = RestartLimits(grace=0.3, grace_ill=0.3)
    told: list[events.Event] = []
    restarter = Restarter(
        {SERVER: lambda server, _reason: asked.append(server)}, limits, told.append, lambda _n: True
    )
    restarter.note(events.ServerDown(SERVER, "it is gone", 1.0))
    restarter.note(events.ServerUp(SERVER))
    await asyncio.sleep(0.5)
    await restarter.close()
    assert (asked, told) == ([], [])


async def test_servers_without_a_declared_way_are_left_alone():
    told: list[events.Event] = []
    restarter = Restarter({}, AT_ONCE, told.append, lambda _name: True)
    restarter.note(events.ServerDown(SERVER, "it is gone", 1.0))
    await asyncio.sleep(0.05)
    await restarter.close()
    assert told == []
