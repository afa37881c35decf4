"""One text for sync and async functions."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.system.recovery.asking import Pause, settle, settle_sync


async def soon(value):
    await asyncio.sleep(0)
    if isinstance(value, Exception):
        raise value
    return value


def steps(*asked, closed=None):
    got = []
    try:
        for one in asked:
            try:
                got.append((yield one))
            except ValueError as error:
                got.append(str(error))
    finally:
        if closed is not None:
            closed.append(True)
    return got


def test_sync_steps_run_through_at_once(clock):
    assert settle(steps(1, Pause(3), "x")) == [1, None, "x"]
    assert settle_sync(steps(1, Pause(3), "x")) == [1, None, "x"]
    assert clock.slept == [3, 3]


def test_the_first_awaitable_makes_the_rest_awaitable(clock):
    async def main():
        began = clock.now()
        got = await settle(steps(1, soon(2), Pause(5), 3, soon(ValueError("four"))))
        return got, clock.now() - began

    got, seconds = clock.run(main())
    assert got == [1, 2, None, 3, "four"]
    assert seconds == pytest.approx(5)


def test_what_the_steps_do_not_expect_passes(clock):
    closed = []

    async def main():
        await settle(steps(soon(KeyError("x")), closed=closed))

    with pytest.raises(KeyError):
        clock.run(main())
    assert closed == [True]


def test_a_cancellation_closes_the_steps(clock):
    closed = []

    async def main():
        task = asyncio.create_task(settle(steps(soon(1), Pause(50), closed=closed)))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    clock.run(main())
    assert closed == [True]


def test_in_sync_code_an_awaitable_is_refused_and_the_steps_closed():
    closed = []
    with pytest.raises(TypeError, match="async, and this call is sync"):
        settle_sync(steps(1, soon(2), closed=closed))
    assert closed == [True]
