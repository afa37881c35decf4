"""Plain code calls coroutines: results, errors, Ctrl-C and every way to end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import subprocess
import sys
import threading
import time

import pytest

from holdfast.comfyui.portal import Portal
from holdfast.policies.scope import Deadline


async def double(value, *, times=2):
    await asyncio.sleep(0)
    return value * times


async def fail():
    raise KeyError("x")


def threads():
    return [each.name for each in threading.enumerate() if each.name.startswith("holdfast ")]


def test_results_and_errors_come_back():
    with Portal() as portal:
        assert portal.call(double, 4) == 8
        assert portal.call(double, 4, times=3) == 12
        with pytest.raises(KeyError):
            portal.call(fail)
    assert not threads()


def test_many_threads_may_call_at_once():
    found = []

    async def meet(barrier):
        found.append(threading.current_thread().name)
        await asyncio.to_thread(barrier.wait, 5)

    barrier = threading.Barrier(3)
    with Portal("meeting") as portal:
        callers = [threading.Thread(target=portal.call, args=(meet, barrier)) for _ in range(3)]
        for each in callers:
            each.start()
        for each in callers:
            each.join()
    assert found == ["holdfast meeting"] * 3


def test_the_callers_deadline_is_seen_inside():
    async def left():
        deadline = Deadline.current()
        return None if deadline is None else deadline.remaining()

    with Portal() as portal:
        with Deadline.after(50):
            assert 40 < portal.call(left) <= 50
        assert portal.call(left) is None


def test_it_works_in_a_thread_that_runs_a_loop():
    async def main():
        with Portal() as portal:
            return portal.call(double, 4)

    assert asyncio.run(main()) == 8


def test_its_own_thread_is_refused_instead_of_waiting_for_itself():
    with Portal() as portal:

        async def inside():
            portal.call(double, 1)

        async def closing():
            portal.close()

        for each in (inside, closing):
            with pytest.raises(RuntimeError, match="own thread"):
                portal.call(each)
        assert portal.call(double, 1) == 2


def test_a_portal_that_is_not_open_says_so():
    portal = Portal()
    with pytest.raises(RuntimeError, match="not open"):
        portal.call(double, 1)
    portal.close()
    with portal:
        assert portal.is_open
        with pytest.raises(RuntimeError, match="entered once"):
            portal.__enter__()
    portal.close()
    assert not portal.is_open
    with pytest.raises(RuntimeError, match="not open"):
        portal.call(double, 1)


def test_closing_cancels_what_still_runs_and_its_caller_is_told():
    cleaned, begun, told = [], threading.Event(), []

    async def work():
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            cleaned.append(True)

    def caller():
        try:
            portal.call(work)
        except RuntimeError as error:
            told.append(str(error))

    with Portal() as portal:
        thread = threading.Thread(target=caller)
        thread.start()
        assert begun.wait(5)
    thread.join(5)
    assert cleaned == [True]
    assert told == ["the portal was closed while this call was under way"]


def test_ctrl_c_cancels_waits_for_the_cleaning_and_is_raised():
    cleaned, begun = [], threading.Event()

    async def work():
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            cleaned.append(True)

    def press():
        begun.wait(5)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    with Portal() as portal:
        threading.Thread(target=press).start()
        with pytest.raises(KeyboardInterrupt):
            portal.call(work)
        assert cleaned == [True]
        assert portal.call(double, 1) == 2


def test_a_forgotten_portal_ends_by_itself():
    portal = Portal("forgotten")
    portal.__enter__()
    del portal
    gc.collect()
    end = time.monotonic() + 5
    while "holdfast forgotten" in threads() and time.monotonic() < end:
        time.sleep(0.01)
    assert not threads()


def test_an_interpreter_that_ends_with_an_open_portal_hangs_and_complains_not():
    code = (
        "import asyncio, threading\n"
        "from holdfast.comfyui.portal import Portal\n"
        "portal = Portal()\n"
        "portal.__enter__()\n"
        "begun = threading.Event()\n"
        "async def work():\n"
        "    begun.set()\n"
        "    try:\n"
        "        await asyncio.sleep(60)\n"
        "    finally:\n"
        "        print('cleaned', flush=True)\n"
        "def caller():\n"
        "    try: portal.call(work)\n"
        "    except RuntimeError: pass\n"
        "threading.Thread(target=caller, daemon=True).start()\n"
        "begun.wait()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "cleaned", "")


def test_a_call_given_up_before_it_begins_never_begins():
    ran, gate = [], threading.Event()

    async def block():
        gate.wait(5)  # the loop itself stands still

    async def work():
        ran.append(True)

    with Portal() as portal:
        blocker = threading.Thread(target=portal.call, args=(block,))
        blocker.start()
        time.sleep(0.05)
        timer = threading.Timer(
            0.1, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        )
        release = threading.Timer(0.3, gate.set)
        timer.start()
        release.start()
        with pytest.raises(KeyboardInterrupt), contextlib.nullcontext():
            portal.call(work)
        blocker.join(5)
        portal.call(double, 1)
    assert ran == []
