"""One scenario, played by every driver, and the account of how it went.

The account holds all that a user could see: results, types of errors, numbers
of calls, times, and the state of each policy after each call. Two drivers are
equal when their accounts are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from holdfast.events import Event, listen
from holdfast.outcome import report_of
from holdfast.pipeline import Pipeline
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.retry import Retry
from holdfast.policies.scope import Deadline
from holdfast.testing import FakeClock
from tests.scenarios.hands import chance
from tests.scenarios.recipes import FAILURES, Recipe, Turn, Visit


@dataclass(frozen=True)
class Ending:
    """One call, as its caller saw it."""

    what: Any
    """The value, or the type of the error."""
    calls: int
    """How often the protected function was called."""
    at: float
    """Fake seconds when it was over."""
    state: tuple[Any, ...]
    """The state of the policies then."""
    attempts: tuple[tuple[int, str, float | None], ...] = ()
    """The failed attempts its report tells of: number, type of error, wait."""


class Dependency:
    """Does in each attempt of one call what its script says, and counts."""

    def __init__(self, visit: Visit, clock: FakeClock, *, heeds: bool) -> None:
        self.visit = visit
        self.clock = clock
        self.heeds = heeds
        """Whether sync work stops by itself at its deadline, as sync work has to."""
        self.calls = 0

    def _turn(self) -> Turn:
        turn = self.visit.turns[min(self.calls, len(self.visit.turns) - 1)]
        self.calls += 1
        return turn

    def _end(self, turn: Turn) -> str:
        if turn.kind != "ok":
            raise FAILURES[turn.kind](turn.kind)
        return f"result {self.calls}"

    def sync(self) -> str:
        """Work in a thread."""
        turn = self._turn()
        limit = Deadline.current()
        if self.heeds and limit is not None and limit.remaining() <= turn.seconds:
            self.clock.advance(limit.remaining())
            limit.check()
        self.clock.advance(turn.seconds)
        return self._end(turn)

    async def asynchronous(self) -> str:
        """Work in a task."""
        turn = self._turn()
        if turn.seconds:
            await asyncio.sleep(turn.seconds)
        return self._end(turn)


def state_of(pipeline: Pipeline) -> tuple[Any, ...]:
    """What the policies know, as far as a user can ask them."""
    told: list[Any] = [pipeline.in_flight]
    for policy in pipeline.policies:
        if isinstance(policy, CircuitBreaker):
            seen = policy.snapshot()
            told.append(
                (
                    *(seen[name] for name in ("state", "failures", "calls", "openings", "era")),
                    round(seen["retry_after"], 6),
                    seen["probes"],
                )
            )
        elif isinstance(policy, Bulkhead):
            told.append((policy.running, policy.waiting))
        elif isinstance(policy, Retry) and policy.budget is not None:
            told.append(policy.budget.snapshot()["balance"])
    return tuple(told)


@contextmanager
def _surroundings(pipeline: Pipeline, visit: Visit) -> Iterator[None]:
    """Strangers in the bulkhead, and the caller's own deadline."""
    bulkhead = next((p for p in pipeline.policies if isinstance(p, Bulkhead)), None)
    taken = 0
    # Strangers stay as long as the call does: one that may wait for ever would.
    if bulkhead is not None and (bulkhead.max_queue == 0 or bulkhead.max_wait is not None):
        taken = sum(bulkhead.try_take() for _ in range(visit.strangers))
    try:
        with nullcontext() if visit.deadline is None else Deadline.after(visit.deadline):
            yield
    finally:
        for _ in range(taken):
            bulkhead.give_back()


def _ending(pipeline: Pipeline, work: Dependency, what: Any, error: BaseException | None) -> Ending:
    report = None if error is None else report_of(error)
    history = () if report is None else report.history
    attempts = tuple((a.number, a.error.split(":")[0], a.waited) for a in history)
    now = round(work.clock.now(), 6)
    return Ending(what, work.calls, now, state_of(pipeline), attempts)


def play_sync(
    recipe: Recipe,
    visits: Sequence[Visit],
    run: Callable[[Pipeline, Any], Any],
    *,
    heeds: bool = True,
) -> list[Ending]:
    """The calls one after another in a thread; ``run`` says by which driver."""
    account = []
    with FakeClock() as clock, chance(0.5):
        pipeline = recipe.build()
        for visit in visits:
            clock.advance(visit.gap)
            work = Dependency(visit, clock, heeds=heeds)
            try:
                with _surroundings(pipeline, visit):
                    what: Any = run(pipeline, work.sync)
            except Exception as error:  # the account has all that happens
                account.append(_ending(pipeline, work, type(error), error))
            else:
                account.append(_ending(pipeline, work, what, None))
    return account


def play_async(
    recipe: Recipe, visits: Sequence[Visit], run: Callable[[Pipeline, Any], Any]
) -> list[Ending]:
    """The calls one after another in a task."""

    async def main() -> list[Ending]:
        pipeline, account = recipe.build(), []
        for visit in visits:
            await asyncio.sleep(visit.gap)
            account.append(await _attend(pipeline, visit, clock, run))
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        return account

    with FakeClock() as clock, chance(0.5):
        return clock.run(main())


def play_crowd(
    recipe: Recipe, visits: Sequence[Visit], run: Callable[[Pipeline, Any], Any]
) -> tuple[list[Ending], tuple[Any, ...]]:
    """The calls at the same time, each in a task; and the state when all is over."""

    async def one(pipeline: Pipeline, visit: Visit) -> Ending:
        await asyncio.sleep(visit.gap)
        return await _attend(pipeline, visit, clock, run)

    async def main() -> tuple[list[Ending], tuple[Any, ...]]:
        pipeline = recipe.build()
        tasks = [asyncio.create_task(one(pipeline, visit)) for visit in visits]
        loop = asyncio.get_running_loop()
        for task, visit in zip(tasks, visits, strict=True):
            if visit.cancelled is not None:
                loop.call_later(visit.gap + visit.cancelled, task.cancel)
        account = await asyncio.gather(*tasks)
        return account, state_of(pipeline)

    with FakeClock() as clock, chance(0.5):
        return clock.run(main())


async def _attend(
    pipeline: Pipeline, visit: Visit, clock: FakeClock, run: Callable[[Pipeline, Any], Any]
) -> Ending:
    work = Dependency(visit, clock, heeds=True)
    try:
        with _surroundings(pipeline, visit):
            what = await run(pipeline, work.asynchronous)
    except (Exception, asyncio.CancelledError) as error:  # the account has it
        return _ending(pipeline, work, type(error), error)
    return _ending(pipeline, work, what, None)


def _deaf(event: Event) -> None:
    """Listen to nothing; that somebody listens is enough."""


def sync_flows(pipeline: Pipeline, fn: Any) -> Any:
    """By the flows alone: they do it all as soon as somebody listens."""
    with listen(_deaf):
        return pipeline(fn)()


def sync_hot(pipeline: Pipeline, fn: Any) -> Any:
    """By the hot path, as long as it goes."""
    return pipeline.call(fn)


async def async_flows(pipeline: Pipeline, fn: Any) -> Any:
    """By the flows alone: they do it all as soon as somebody listens."""
    with listen(_deaf):
        return await pipeline.execute(fn)


def async_hot(pipeline: Pipeline, fn: Any) -> Any:
    """By the hot path, as long as it goes; to be awaited."""
    return pipeline.execute(fn)


async def async_decorated(pipeline: Pipeline, fn: Any) -> Any:
    """By a decorated function."""
    return await pipeline(fn)()
