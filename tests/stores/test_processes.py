"""Several processes, and processes that end in every way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from holdfast.stores import ErrorHistory
from tests.stores.samples import error

ROOT = Path(__file__).parents[2]


def child(*arguments, **options):
    command = [sys.executable, "-m", "tests.stores.children", *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finished(process):
    out, err = process.communicate(timeout=50)
    assert process.returncode == 0, err
    assert not err, err
    return out


def test_a_killed_process_loses_at_most_the_last_quarter_second(url):
    with child("append_for_ever", url) as process:
        lines = []
        until = time.monotonic() + 30
        while len(lines) < 600 and time.monotonic() < until:
            lines.append(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        killed = time.time()
        out, _ = process.communicate()
    lines += [line for line in out.splitlines(keepends=True) if line.endswith("\n")]
    said = [(int(number), float(at)) for number, at in (line.split() for line in lines)]
    with ErrorHistory(url) as history:
        kept = {int(stored.info.error_message) for stored in history.events(limit=100_000)}
        assert sum(history.counts().values()) == len(kept)
    lost = [at for number, at in said if number not in kept]
    assert len(said) >= 600
    assert kept
    assert all(killed - at <= 0.25 + 0.1 for at in lost), killed - min(lost)
    assert kept == set(range(len(kept)))


def test_what_waits_at_the_end_of_the_interpreter_is_written(url):
    finished(child("append_and_end", url, 50))
    with ErrorHistory(url) as history:
        assert len(history.events()) == 50


def test_two_processes_write_the_same_history(url):
    with ErrorHistory(url, service="here", flush_seconds=0.02) as history:
        others = [child("append_and_end", url, 300, name) for name in ("one", "two")]
        for number in range(300):
            history.append(error(f"here {number}", seconds=number), "f")
            time.sleep(0.001)
        for other in others:
            finished(other)
        assert history.flush()
        assert history.trouble is None
        assert len({e.id for e in history.events(limit=2000)}) == 900
        assert {g.service: g.count for g in history.groups()} == {
            "here": 300,
            "one": 300,
            "two": 300,
        }
        assert history.report()["total_errors"] == 900


def test_processes_that_open_a_new_history_at_once_all_succeed(url):
    several = [child("open_when_told", url) for _ in range(4)]
    for process in several:
        assert process.stdout.readline() == "ready\n"
    for process in several:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in several:
        finished(process)
    with ErrorHistory(url) as history:
        assert len(history.events()) == 4


def test_a_forked_child_writes_for_itself_and_the_parent_for_itself(url):
    finished(child("fork_with_a_backlog", url))
    with ErrorHistory(url) as history:
        kept = sorted(stored.info.error_message for stored in history.events())
        assert kept == ["child", "parent, after", "parent, before"]
        assert history.counts() == {"network": 3}


def test_a_full_disk_is_said_and_writing_goes_on_when_there_is_room(tmp_path):
    process = child("fill_the_disk", tmp_path / "errors.db")
    _, err = process.communicate(timeout=50)
    assert process.returncode == 0, err
    assert err.count("there is no room left to write") == 1
    assert "writing again after" in err


@pytest.mark.parametrize("existing", [False, True])
def test_a_folder_that_cannot_be_written_is_a_clear_error(existing):
    # Root may write everywhere, so another user tries; and pytest's folders are root's alone.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "errors.db"
        if existing:
            ErrorHistory(path).close()
            path.chmod(0o444)
        folder.chmod(0o555)
        try:
            out = finished(child("open_unwritable", path))
        finally:
            folder.chmod(0o755)
    assert out.startswith("BadInputError: url must be ")
    assert "cannot be opened or written" in out
    assert str(path) in out
