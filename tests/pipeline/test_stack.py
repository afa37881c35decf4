"""Whether a retry further out governs, read from the stack."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from functools import partial

import pytest

from holdfast.pipeline import Pipeline
from holdfast.pipeline.stack import governed
from holdfast.policies.backoff import Backoff
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.retry import Retry
from holdfast.policies.timeout import Timeout
from holdfast.testing import FakeClock

STEADY = Backoff.fixed(1.0)


def test_outside_any_call_nobody_governs():
    assert not governed()


@pytest.mark.parametrize(
    ("policies", "governs"),
    [((Retry(3),), True), ((Timeout(5.0),), False), ((Bulkhead(1), Retry(3)), True)],
)
def test_a_hot_path_governs_if_it_retries(policies, governs):
    with FakeClock():
        assert Pipeline(*policies).call(governed) is governs
        assert Pipeline(*policies)(partial(partial, governed))()() is False
    assert not governed()


def test_a_hot_path_governs_its_first_attempt_only_because_the_scope_knows_of_the_others():
    seen = []

    def look() -> None:
        seen.append(governed())
        raise ConnectionError

    with FakeClock(), pytest.raises(ConnectionError):
        Pipeline(Retry(3, STEADY)).call(look)
    assert seen == [True, False, False]


def test_another_thread_is_not_governed():
    seen = []

    def work() -> None:
        thread = threading.Thread(target=lambda: seen.append(governed()))
        thread.start()
        thread.join(10.0)

    Pipeline(Retry(3)).call(work)
    assert seen == [False]


def test_looking_leaves_no_frame_behind():
    class Buffer:
        pass

    def look() -> weakref.ref[Buffer]:
        buffer = Buffer()
        Pipeline(Retry(3)).call(governed)
        governed()
        return weakref.ref(buffer)

    gc.disable()
    try:
        assert look()() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("through", [1, 4])
def test_retries_fold_however_many_calls_lie_between(through):
    calls = 0

    def fails() -> None:
        nonlocal calls
        calls += 1
        raise ConnectionError

    def deeper(depth: int) -> None:
        if depth:
            deeper(depth - 1)
        else:
            Pipeline(Timeout(60.0), Retry(3, STEADY)).call(fails)

    with FakeClock(), pytest.raises(ConnectionError):
        Pipeline(Retry(3, STEADY)).call(deeper, through)
    assert calls == 3


DEADLY = """
import gc, sys, threading, time
from holdfast import Pipeline, Retry

pipeline, over = Pipeline(Retry(3)), threading.Event()

def start_threads():
    while not over.is_set():
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()

starters = [threading.Thread(target=start_threads, daemon=True) for _ in range(3)]
gc.callbacks.append(lambda *_: time.sleep(1e-5))
gc.set_threshold(1)
for starter in starters:
    starter.start()
for _ in range(1000):
    assert pipeline.in_flight == 0
assert gc.isenabled()
over.set()
print("no deadlock")
"""


def test_looking_at_all_threads_does_not_deadlock_with_a_collection_and_a_thread_that_starts():
    # In a process of its own, because one that is deadlocked cannot say so.
    done = subprocess.run(
        [sys.executable, "-c", DEADLY], capture_output=True, text=True, timeout=40
    )
    assert done.stdout == "no deadlock\n", done.stderr
