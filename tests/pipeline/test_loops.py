"""Attempts as a loop around a block of code."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.errors import BadInputError
from holdfast.outcome import report_of
from holdfast.policies.backoff import Backoff
from holdfast.policies.retry import Retry
from holdfast.policies.scope import Deadline, current_scope, innermost
from holdfast.testing import FakeClock

RETRY = Retry(3, Backoff.fixed(2.0))


@pytest.fixture(autouse=True)
def clock():
    with FakeClock() as clock:
        yield clock


def loop(clock, colour: str, retry: Retry, block) -> list[int]:
    """Run ``block(attempt)`` in a loop of either colour; the numbers of its turns."""
    turns = []

    def turn(attempt) -> None:
        with attempt:
            turns.append(attempt.number)
            block(attempt)

    async def main() -> None:
        async for attempt in retry.attempts():
            turn(attempt)

    if colour == "async":
        clock.run(main())
    else:
        for attempt in retry.attempts():
            turn(attempt)
    return turns


both = pytest.mark.parametrize("colour", ["sync", "async"])


@both
def test_a_block_that_succeeds_runs_once(clock, colour):
    assert loop(clock, colour, RETRY, lambda _: None) == [1]
    assert clock.now() == 1_000.0


@both
def test_a_failure_worth_repeating_is_swallowed_and_waited_after(clock, colour):
    def block(attempt) -> None:
        if attempt.number < 3:
            raise ConnectionError

    assert loop(clock, colour, RETRY, block) == [1, 2, 3]
    assert clock.now() == 1_004.0


@both
def test_the_last_failure_leaves_the_block_as_it_was_raised(clock, colour):
    error, turns = ConnectionError("lost"), []

    def block(attempt) -> None:
        turns.append(attempt.number)
        raise error

    with pytest.raises(ConnectionError) as raised:
        loop(clock, colour, RETRY, block)
    assert raised.value is error
    assert turns == [1, 2, 3]
    assert [a.number for a in report_of(error).history] == [1, 2, 3]


@both
def test_a_failure_not_worth_repeating_leaves_at_once(clock, colour):
    def block(attempt) -> None:
        raise KeyError(attempt.number)

    with pytest.raises(KeyError) as raised:
        loop(clock, colour, RETRY, block)
    assert raised.value.args == (1,)


@both
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_an_interruption_leaves_at_once(clock, colour, interruption):
    turns = []

    def block(attempt) -> None:
        turns.append(attempt.number)
        raise interruption

    with pytest.raises(interruption):
        loop(clock, colour, RETRY, block)
    assert turns == [1]


@both
def test_a_rejected_result_is_repeated(clock, colour):
    retry = Retry(3, Backoff.fixed(2.0), retry_on_result=lambda status: status == 503)

    def block(attempt) -> None:
        attempt.reject(503 if attempt.number < 3 else 200)

    assert loop(clock, colour, retry, block) == [1, 2, 3]


@both
def test_a_break_ends_the_loop(clock, colour):
    async def main() -> int:
        async for attempt in RETRY.attempts():
            with attempt:
                return attempt.number
        return 0

    if colour == "async":
        assert clock.run(main()) == 1
    else:
        for attempt in RETRY.attempts():
            with attempt:
                break
        assert attempt.number == 1
    assert current_scope() is None


@both
def test_no_wait_outlasts_the_deadline(clock, colour):
    def block(_) -> None:
        raise ConnectionError

    async def main() -> None:
        with Deadline.after(3.0):
            async for attempt in RETRY.attempts():
                with attempt:
                    raise ConnectionError

    with pytest.raises(ConnectionError):  # noqa: PT012  # both colours in one block
        if colour == "async":
            clock.run(main())
        else:
            with Deadline.after(3.0):
                loop(clock, "sync", RETRY, block)
    assert clock.now() == 1_002.0


def test_it_is_good_for_one_loop():
    attempts = RETRY.attempts()
    for attempt in attempts:
        with attempt:
            pass
    with pytest.raises(BadInputError, match="one loop"):
        list(attempts)


def test_retries_inside_the_block_fold():
    calls = 0

    def fails() -> None:
        nonlocal calls
        calls += 1
        raise ConnectionError

    with pytest.raises(ConnectionError):  # noqa: PT012  # both colours in one block
        for attempt in RETRY.attempts():
            with attempt:
                RETRY.call(fails)
    assert calls == 3


@both
def test_a_loop_inside_a_call_that_is_retried_folds(clock, colour):
    calls = 0

    def sync() -> None:
        nonlocal calls
        for attempt in RETRY.attempts():
            with attempt:
                calls += 1
                raise ConnectionError

    async def asynchronous() -> None:
        nonlocal calls
        async for attempt in RETRY.attempts():
            with attempt:
                calls += 1
                raise ConnectionError

    with pytest.raises(ConnectionError):  # noqa: PT012  # both colours in one block
        if colour == "sync":
            RETRY.call(sync)
        else:
            clock.run(RETRY.execute(asynchronous))
    assert calls == 3


def test_the_block_sees_its_attempt():
    seen = []
    with pytest.raises(ConnectionError):  # noqa: PT012  # both colours in one block
        for attempt in RETRY.attempts():
            with attempt:
                seen.append(current_scope().attempt)
                raise ConnectionError
    assert seen == [1, 2, 3]
    assert current_scope() is None


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_turn_leaves_nothing_behind_in_the_context(clock, colour):
    before, seen = innermost(), []

    async def main():
        seen.append(innermost())
        async for attempt in RETRY.attempts():
            with attempt:
                pass
        seen.append(innermost())

    if colour == "async":
        clock.run(main())
        assert seen[0] is seen[1]
    else:
        for attempt in RETRY.attempts():
            with attempt:
                pass
    assert innermost() is before
