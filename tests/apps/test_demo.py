"""`holdfast demo`: every fault, every picture; also when somebody kills servers at random."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from holdfast.apps.demo_script import BY_THE_DEMO, LOOKS, WORDS
from holdfast.comfyui.standin.faults import KINDS


def demo(folder):
    return subprocess.Popen(
        [sys.executable, "-m", "holdfast.apps", "demo", "--output", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def pictures(folder):
    (run,) = folder.iterdir()
    with Image.open(run / "contact-sheet.png") as sheet:
        sheet.load()
    return sorted((run / "pictures").iterdir())


def test_every_fault_has_words():
    assert set(WORDS) == set(LOOKS) == set(KINDS) | set(BY_THE_DEMO)


@pytest.mark.timeout(120)
def test_the_demo_meets_every_fault_and_delivers_every_picture(tmp_path):
    with demo(tmp_path) as process:
        out = process.communicate(timeout=110)[0]
    assert process.returncode == 0, out[-4000:]
    made = pictures(tmp_path)
    assert len(made) >= 24
    for path in made:
        with Image.open(path) as picture:
            picture.load()
    account = out.partition("What went wrong")[2]
    for kind in (*KINDS, *BY_THE_DEMO):
        assert re.search(rf"^  {kind} on (alpha|beta|gamma)", account, re.MULTILINE), kind
    assert "0 jobs lost" in account


@pytest.mark.timeout(120)
def test_servers_killed_at_random_moments_lose_no_picture(tmp_path):
    chance = random.Random(7)
    lines = []
    pids = {}
    kills = 0
    with demo(tmp_path) as process:
        for line in process.stdout:
            lines.append(line)
            if found := re.search(r"server (\w+) runs at .*process (\d+)", line):
                pids[found[1]] = int(found[2])
            if len(pids) == 3 and chance.random() < 0.04:
                name = chance.choice(sorted(pids))
                try:
                    os.kill(pids.pop(name), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                kills += 1
    out = "".join(lines)
    assert process.returncode == 0, out[-4000:]
    assert kills > 0
    assert "0 jobs lost" in out


@pytest.mark.timeout(120)
def test_a_server_killed_again_while_it_starts_comes_back_all_the_same(tmp_path):
    hunted = threading.Event()
    with demo(tmp_path) as process:
        out = []
        for line in process.stdout:
            out.append(line)
            if found := re.search(r"SIGKILL to server (\w+) \(pid (\d+)\)", line):
                args = (str(tmp_path), found[1], int(found[2]), hunted)
                threading.Thread(target=kill_successor, args=args, daemon=True).start()
    text = "".join(out)
    assert hunted.is_set()
    assert "0 jobs lost" in text, text[-4000:]
    assert process.returncode == 0


def kill_successor(folder, name, before, done):
    """SIGKILL the next process of a server as soon as it exists."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            pid = int(path.parent.name)
            its = "standin" in command and f"{folder}/" in command and f"/{name}" in command
            if its and pid != before:
                os.kill(pid, signal.SIGKILL)
                done.set()
                return
        time.sleep(0.01)
