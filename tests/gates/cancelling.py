"""Cancels a task at each of its suspensions in turn, and looks for what it left behind."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any

from holdfast import Bulkhead, CircuitBreaker, Deadline, Pipeline
from holdfast.pipeline import alarms
from holdfast.pipeline.workers import abandoned

MOST = 200
"""Suspensions after which a scenario counts as endless."""


class CutShort:
    """Awaits something, and has the task cancelled while it is suspended for the n-th time."""

    def __init__(self, inner: Awaitable[Any], suspension: int, turns: int) -> None:
        self._inner = inner
        self._left = suspension
        self._turns = turns
        self.cut = False
        """Whether the cancellation was asked for."""

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._inner.__await__()
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def cut(turns: int) -> None:
            if turns:
                loop.call_soon(cut, turns - 1)
            elif task is not None and not task.done():
                self.cut = task.cancel()

        go_on: Callable[[], Any] = partial(steps.send, None)
        while True:
            try:
                waits_for = go_on()
            except StopIteration as end:
                return end.value
            if self._left == 0:
                loop.call_soon(cut, self._turns)
            self._left -= 1
            try:
                yield waits_for
            except BaseException as error:  # it belongs to what is awaited
                go_on = partial(steps.throw, error)
            else:
                go_on = partial(steps.send, None)

    @property
    def reached(self) -> bool:
        """Whether there was such a suspension."""
        return self._left < 0


def nothing_is_left(*pipelines: Any) -> None:
    """No slot, place, ticket, probe, alarm, entry or scope is held by anybody."""
    for pipeline in pipelines:
        assert pipeline.in_flight == 0
        for policy in pipeline.policies:
            if isinstance(policy, Bulkhead):
                assert (policy.running, policy.waiting) == (0, 0)
            elif isinstance(policy, CircuitBreaker):
                assert policy.snapshot()["probes"] == 0
            else:
                for held in ("running", "waiting", "in_flight", "in_service"):
                    count = policy.snapshot().get(held, 0)
                    assert count == 0, f"{policy!r}: {held} is {count}"
    queues = alarms._queues.get(asyncio.get_running_loop(), {})
    assert not any(queue.alarms for queue in queues.values())
    assert Deadline.current() is None
    assert asyncio.all_tasks() == {asyncio.current_task()}
    # Threads of an earlier test in this process may still be on their way out.
    until = time.monotonic() + 5.0
    while abandoned.count and time.monotonic() < until:
        time.sleep(0.01)
    assert abandoned.count == 0
    assert not [t for t in threading.enumerate() if t.name.startswith("holdfast")]


async def cancel_at_every_await(
    make: Callable[[], tuple[Pipeline, Callable[[], Awaitable[Any]]]],
    *,
    turns: int = 0,
    company: Callable[[Pipeline], Awaitable[Any]] | None = None,
) -> int:
    """Run a scenario anew for every n, cancelling it at its n-th suspension.

    Args:
        make: a pipeline, and the call to cut short.
        turns: how many turns of the loop later the cancellation comes.
        company: runs beside it, and must end by itself.

    Returns:
        How many suspensions there are.
    """
    for suspension in range(MOST):
        pipeline, call = make()
        beside = asyncio.create_task(company(pipeline)) if company is not None else None
        if beside is not None:
            await asyncio.sleep(0)
        cutting = CutShort(call(), suspension, turns)

        async def run(cutting: CutShort = cutting) -> Any:
            return await cutting

        task = asyncio.create_task(run())
        await asyncio.wait([task])
        if beside is not None:
            await beside
        if cutting.cut:
            assert task.cancelled(), f"cancelled at suspension {suspension}, and it is {task!r}"
            assert task.cancelling() == 1
        elif not task.cancelled():
            task.exception()
        nothing_is_left(pipeline)
        if not cutting.reached:
            return suspension
    raise AssertionError(f"more than {MOST} suspensions")
