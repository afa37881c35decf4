"""A command that restarts a server may leave it running, and what it says on failing is told."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from holdfast.comfyui import RestartCommand
from holdfast.comfyui.restarts import RestartError

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


async def test_what_a_command_said_last_is_told_when_it_fails():
    script = "print('a' * 9000); print('no such unit'); raise SystemExit(5)"
    with pytest.raises(RestartError, match=r"exit code 5: .*no such unit"):
        await RestartCommand((sys.executable, "-c", script))("gpu1", "it was away")
    with pytest.raises(RestartError, match="exit code 6: it said nothing"):
        await RestartCommand((sys.executable, "-c", "raise SystemExit(6)"))("gpu1", "it was away")


async def test_a_command_that_takes_too_long_is_ended():
    words = (sys.executable, "-c", "import time; time.sleep(60)")
    with pytest.raises(RestartError, match=r"took longer than 0\.2 s"):
        await RestartCommand(words, seconds=0.2)("gpu1", "it was away")


async def test_a_command_that_is_not_there_is_told():
    with pytest.raises(RestartError, match="no-such-program-here: No such file"):
        await RestartCommand(("no-such-program-here",))("gpu1", "it was away")
