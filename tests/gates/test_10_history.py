"""Gate 10: the final exception is the caller's own, and carries every attempt without frames."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import pickle
import traceback
import types

import pytest

from holdfast import Backoff, Bulkhead, CircuitBreaker, Fallback, Pipeline, Retry, Timeout
from holdfast.outcome import Report, report_of

PIPELINES = {
    "retry": lambda: [Retry(4, Backoff.fixed(2.0))],
    "stack": lambda: [
        Timeout(600),
        Retry(4, Backoff.fixed(2.0)),
        CircuitBreaker(failure_threshold=50),
        Bulkhead(4),
        Timeout(100),
    ],
    "fallback for others": lambda: [Fallback(None, on=KeyError), Retry(4, Backoff.fixed(2.0))],
}

pipelines = pytest.mark.parametrize("make", PIPELINES.values(), ids=PIPELINES)


class LostConnectionError(ConnectionError):
    """The caller's own, with its own fields."""

    def __init__(self, host, attempt):
        super().__init__(f"lost {host} at attempt {attempt}")
        self.host = host


class SlottedError(ConnectionError):
    """As bare as an exception can be."""

    __slots__ = ()


class Work:
    """Fails each time in its own words."""

    def __init__(self):
        self.calls = 0

    def sync(self):
        self.calls += 1
        raise LostConnectionError("gpu1", self.calls)

    async def later(self):
        await asyncio.sleep(1)
        self.sync()


async def final_async(pipeline, fn):
    try:
        await pipeline.execute(fn)
    except Exception as error:  # its type is the question
        return error
    return None


def final(pipeline, fn):
    try:
        pipeline.call(fn)
    except Exception as error:  # its type is the question
        return error
    return None


@pipelines
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_the_final_error_is_the_last_one_raised_and_tells_of_all(clock, path, make, colour):
    pipeline, work = Pipeline(*make(), name="render"), Work()
    if colour == "sync":
        error = final(pipeline, work.sync)
    else:
        error = clock.run(final_async(pipeline, work.later))

    assert type(error) is LostConnectionError
    assert error.host == "gpu1"
    assert str(error) == "lost gpu1 at attempt 4"
    history = report_of(error).history
    assert [attempt.number for attempt in history] == [1, 2, 3, 4]
    for attempt in history:
        assert attempt.error == f"LostConnectionError: lost gpu1 at attempt {attempt.number}"
    assert [attempt.waited for attempt in history] == [2.0, 2.0, 2.0, None]
    shown = "".join(traceback.format_exception(error))
    for number in range(1, 5):
        assert f"attempt {number} failed" in shown


@pipelines
def test_an_outcome_tells_the_same(clock, path, make):
    pipeline, work = Pipeline(*make()), Work()

    outcome = pipeline.call_outcome(work.sync)

    assert type(outcome.error) is LostConnectionError
    assert outcome.attempts == 4
    assert [attempt.number for attempt in outcome.history] == [1, 2, 3, 4]
    assert outcome.history == report_of(outcome.error).history
    assert outcome.elapsed == pytest.approx(6.0)


def test_a_success_at_last_tells_of_the_failures_before(clock, path):
    work = Work()

    def recovers():
        if work.calls == 2:
            return "done"
        return work.sync()

    outcome = Pipeline(*PIPELINES["stack"]()).call_outcome(recovers)

    assert outcome.value == "done"
    assert [attempt.number for attempt in outcome.history] == [1, 2]


def test_each_attempt_is_told_with_its_own_type(clock, path):
    errors = [ConnectionResetError("a"), TimeoutError("b"), OSError("c")]
    given = iter(list(errors))

    def fail():
        raise next(given)

    error = final(Retry(3, Backoff.fixed(1.0)), fail)

    assert error is errors[-1]
    told = [attempt.error for attempt in report_of(error).history]
    assert told == ["ConnectionResetError: a", "TimeoutError: b", "OSError: c"]


def test_the_report_is_frozen_and_holds_no_frame_or_exception(clock, path):
    error = final(Pipeline(*PIPELINES["stack"]()), Work().sync)
    report = report_of(error)

    with pytest.raises(dataclasses.FrozenInstanceError):
        report.elapsed = 0
    seen, todo = set(), [report]
    while todo:
        part = todo.pop()
        if id(part) in seen or isinstance(part, type | types.ModuleType):
            continue
        seen.add(id(part))
        assert not isinstance(part, BaseException | types.FrameType | types.TracebackType)
        todo.extend(gc.get_referents(part))
    assert pickle.loads(pickle.dumps(report)) == report


def test_the_traceback_still_shows_where_it_failed(clock, path):
    error = final(Pipeline(*PIPELINES["stack"]()), Work().sync)

    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[-1] == "sync"


def test_an_error_raised_again_and_again_does_not_grow(clock, path):
    """The same object, as of a future or a module's constant, through many calls."""
    always = ConnectionError("the same one")

    def fail():
        always.__traceback__ = None
        raise always

    pipeline = Pipeline(Retry(3, Backoff.fixed(1.0)))
    sizes = set()
    for _ in range(5):
        assert final(pipeline, fail) is always
        sizes.add(len(always.__notes__))

    assert len(sizes) == 1


def test_the_notes_of_the_caller_stay(clock, path):
    def fail():
        error = ConnectionError("down")
        error.add_note("seed 7")
        raise error

    error = final(Retry(2, Backoff.fixed(1.0)), fail)

    assert error.__notes__[0] == "seed 7"
    assert len(error.__notes__) == 3


@pytest.mark.parametrize("kind", [SlottedError, ConnectionResetError])
def test_an_error_that_takes_no_attributes_still_comes_out_as_it_is(clock, path, kind):
    class Stubborn(kind):
        def __setattr__(self, name, value):
            raise AttributeError(name)

    def fail():
        raise Stubborn("mine")

    assert type(final(Retry(2, Backoff.fixed(1.0)), fail)) is Stubborn


def test_an_error_whose_text_cannot_be_had_still_comes_out(clock, path):
    class SilentError(ConnectionError):
        def __str__(self):
            raise RuntimeError("no text")

    def fail():
        raise SilentError

    error = final(Retry(2, Backoff.fixed(1.0)), fail)

    assert type(error) is SilentError
    assert len(report_of(error).history) == 2


def test_nested_pipelines_leave_both_stories(clock, path):
    inner = Pipeline(Retry(2, Backoff.fixed(1.0), on=LostConnectionError), name="inner")
    outer = Pipeline(Retry(3, Backoff.fixed(1.0), allow_nested=True), name="outer")

    error = final(outer, lambda: final_raises(inner))

    assert isinstance(report_of(error), Report)
    assert sum("holdfast outer" in note for note in error.__notes__) == 3


def final_raises(pipeline):
    return pipeline.call(Work().sync)


def test_a_long_history_keeps_its_end_and_says_what_is_left_out(clock, path):
    error = final(Retry(150, Backoff.fixed(1.0)), Work().sync)

    history = report_of(error).history
    assert [history[0].number, history[-1].number] == [51, 150]
    assert len(error.__notes__) <= 12
    assert "90 earlier attempts" in error.__notes__[0]
