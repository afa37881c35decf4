"""Worker threads: told when their time is up, counted while they run on, never in the way."""

from __future__ import annotations

import contextvars
import threading
import warnings

import pytest

from holdfast.errors import DeadlineExceededError, IdleTimeoutError, RejectedError
from holdfast.events import ResultDiscarded, WorkerAbandoned, listen
from holdfast.outcome import Ok
from holdfast.pipeline import Pipeline, workers
from holdfast.pipeline.streams import TurnedAsyncError
from holdfast.policies.backoff import Backoff
from holdfast.policies.retry import Retry
from holdfast.policies.scope import Deadline, progress
from holdfast.policies.timeout import Timeout
from holdfast.ports import ambient
from holdfast.testing import FakeClock


@pytest.fixture
def clock():
    with FakeClock() as clock:
        yield clock


@pytest.fixture
def heard():
    events = []
    with listen(events.append):
        yield events


def until(test):
    """Wait for another thread a little; says whether it did what was expected."""
    for _ in range(500):
        if test():
            return True
        threading.Event().wait(0.01)
    return False


class Hanging:
    """A sync function that hangs until it is let go."""

    def __init__(self, result="late"):
        self.go = threading.Event()
        self.result = result
        self.calls = 0
        self.seen = []

    def __call__(self):
        self.calls += 1
        self.go.wait(10)
        deadline = Deadline.current()
        self.seen.append(None if deadline is None else deadline.expired)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


def gone():
    return workers.abandoned.count == 0


def test_the_caller_goes_on_when_the_time_is_up_and_the_worker_is_counted(clock, heard):
    thrown, fn = [], Hanging()
    with pytest.raises(DeadlineExceededError):
        Timeout(3, thread=True, on_discard=thrown.append).call(fn)
    assert clock.now() == pytest.approx(1003)
    assert workers.abandoned.count == 1
    assert [e.abandoned for e in heard if isinstance(e, WorkerAbandoned)] == [1]
    fn.go.set()
    assert until(gone)
    assert until(lambda: thrown == ["late"])
    assert [e.reason for e in heard if isinstance(e, ResultDiscarded)] == ["it came too late"]


def test_a_worker_left_behind_still_sees_its_deadline(clock):
    fn = Hanging()
    with pytest.raises(DeadlineExceededError):
        Timeout(3, thread=True).call(fn)
    fn.go.set()
    assert until(lambda: fn.seen == [True])
    assert until(gone)


def test_a_worker_left_behind_for_want_of_progress_sees_that_it_is_over(clock):
    fn = Hanging()
    with pytest.raises(IdleTimeoutError):
        Timeout(60, idle=3, thread=True).call(fn)
    fn.go.set()
    assert until(lambda: fn.seen == [True])
    assert until(gone)


def test_a_worker_left_behind_begins_no_other_attempt(clock):
    fn = Hanging(ConnectionError("late"))
    pipeline = Pipeline(Timeout(3, thread=True), Retry(5, Backoff.fixed(1)))
    with pytest.raises(DeadlineExceededError):
        pipeline.call(fn)
    fn.go.set()
    assert until(gone)
    assert fn.calls == 1


def test_a_hook_that_raises_does_not_kill_the_thread_and_is_told(clock, heard):
    def hook(_):
        raise ValueError("bad hook")

    fn = Hanging()
    with pytest.raises(DeadlineExceededError):
        Timeout(3, thread=True, on_discard=hook).call(fn)
    fn.go.set()
    assert until(
        lambda: (
            "its hook failed: ValueError: bad hook"
            in [e.reason for e in heard if isinstance(e, ResultDiscarded)]
        )
    )
    assert until(gone)


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(3)])
def test_what_the_work_raises_is_raised_in_the_callers_thread(clock, error):
    def fn():
        raise error

    with pytest.raises(type(error)):
        Timeout(3, thread=True).call(fn)
    assert gone()


def test_an_interrupted_caller_leaves_its_worker_counted(clock, monkeypatch):
    fn = Hanging()

    def interrupted(_event, _seconds):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ambient, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Timeout(3, thread=True).call(fn)
    assert workers.abandoned.count == 1
    fn.go.set()
    assert until(gone)


def test_past_the_cap_no_work_is_begun(clock, monkeypatch):
    monkeypatch.setattr(workers, "CAP", 0)
    calls = []
    with pytest.raises(RejectedError, match="run on after their time limit"):
        Timeout(3, thread=True).call(lambda: calls.append(1))
    assert calls == []


def test_the_context_and_progress_reach_the_worker(clock):
    who = contextvars.ContextVar("who", default="nobody")
    who.set("me")

    def fn():
        for _ in range(5):
            clock.sleep(2)
            progress()
        return who.get(), Deadline.current().remaining()

    assert Timeout(60, idle=3, thread=True).call(fn) == ("me", pytest.approx(50))


def test_the_count_is_right_whoever_is_first(clock):
    for _ in range(200):
        worker = workers.Worker("w", None)
        left = threading.Thread(target=worker.leave_behind)
        ended = threading.Thread(target=worker.finish)
        left.start()
        ended.start()
        left.join()
        ended.join()
        assert workers.abandoned.count == 0


def test_a_coroutine_nobody_wants_is_closed():
    async def work():
        pass

    worker = workers.Worker("w", None)
    worker.error = TurnedAsyncError(work())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        worker.throw_away("a race was lost")
        del worker


def test_a_result_is_handed_out_once():
    worker = workers.Worker("w", None)
    worker.result = Ok(1)
    assert worker.answer().value == 1
    assert worker.result is None


def test_a_retry_in_a_worker_folds_into_one_below_on_the_callers_stack(clock):
    calls = []

    def fail():
        calls.append(1)
        raise ConnectionError("down")

    inner = Pipeline(Timeout(60, thread=True), Retry(3, Backoff.fixed(0)))
    nested = Timeout(60, thread=True)
    deeper = Retry(3, Backoff.fixed(0))
    with pytest.raises(ConnectionError):
        Retry(3, Backoff.fixed(0)).call(lambda: inner.call(fail))
    assert len(calls) == 3
    with pytest.raises(ConnectionError):
        Retry(3, Backoff.fixed(0)).call(lambda: nested.call(lambda: deeper.call(fail)))
    assert len(calls) == 6
