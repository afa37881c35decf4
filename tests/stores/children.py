"""Programs that the tests run as processes of their own: `python -m tests.stores.children NAME`."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
import warnings

from holdfast.stores import ErrorHistory
from tests.stores.samples import error


def append_for_ever(url):
    """Say each number just after it was appended, until somebody kills this."""
    history = ErrorHistory(url)
    for number in range(1_000_000):
        history.append(error(str(number), seconds=number / 1000), "f")
        sys.stdout.write(f"{number} {time.time()}\n")
        sys.stdout.flush()
        time.sleep(0.001)


def append_and_end(url, count="50", service=""):
    """Append and end without closing anything."""
    history = ErrorHistory(url, service=service)
    for number in range(int(count)):
        history.append(error(f"{service} {number}", seconds=number), "f")


def open_when_told(url):
    """Open at the same moment as others."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    history = ErrorHistory(url)
    history.append(error(str(os.getpid())), "f")
    assert history.flush()
    assert history.trouble is None, history.trouble
    assert history.close()


def fill_the_disk(url):
    """Write under a limit on the size of files, then without it."""
    history = ErrorHistory(url, flush_seconds=0.02, max_pending=100)
    history.append(error("before"), "f")
    assert history.flush()
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    number = 0
    until = time.monotonic() + 20
    while not history.trouble and time.monotonic() < until:
        history.append(error("x" * 2000, seconds=number), "f")
        number += 1
        time.sleep(0.0005)
    assert history.trouble, "the disk was never full"
    assert "no room" in history.trouble, history.trouble
    for _ in range(500):
        history.append(error("x" * 2000, seconds=number), "f")
        number += 1
    state = history.state()
    assert state["pending"] <= 100, state
    assert state["dropped"] >= 300, state
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert history.flush(10), history.state()
    assert history.trouble is None
    report = history.report()
    assert report["total_errors"] == number + 1, (report["total_errors"], number)
    assert report["kept_errors"] == number + 1 - history.state()["dropped"]
    assert history.close()


def open_unwritable(path):
    """Say what opening it raises to somebody who is not root."""
    with tempfile.TemporaryDirectory() as folder:
        ErrorHistory(os.path.join(folder, "loads-what-is-needed.db")).close()  # noqa: PTH118
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)
    try:
        ErrorHistory(path)
    except Exception as raised:  # told to the test
        sys.stdout.write(f"{type(raised).__name__}: {raised}\n")


def fork_with_a_backlog(url):
    """Fork while the parent's thread runs and something waits."""
    history = ErrorHistory(url, flush_seconds=5)
    history.append(error("parent, before"), "f")
    # To fork beside a thread is what this is about; Python 3.12 and newer warn of it.
    warnings.simplefilter("ignore", DeprecationWarning)
    child = os.fork()
    if not child:
        history.append(error("child"), "f")
        done = history.flush()
        seen = sorted(e.info.error_message for e in history.events())
        os._exit(0 if done and "child" in seen else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    history.append(error("parent, after"), "f")
    assert history.close()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
