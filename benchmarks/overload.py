"""Overload in simulation: how much gets done, and what of it matters most.

A server with a number of cores shares them between all that runs at once, and
thrashes: with more inside than cores, everything together slows down. Clients
ask at random (a Poisson process), give up at their deadline, and ask again up
to three times. One call in ten is critical.

Each policy is asked through its own flow, in simulated time: what is measured
is what runs in production. Run it with `python -m benchmarks.overload`.
"""

from __future__ import annotations

import contextlib
import heapq
import random
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from holdfast.errors import DeadlineExceededError
from holdfast.outcome import Err, Ok
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.call import Call
from holdfast.policies.effects import INVOKE, Flow, Invoke, Park
from holdfast.policies.policy import Policy
from holdfast.policies.scope import Scope
from holdfast.policies.shedder import LoadShedder
from holdfast.ports import ambient

CORES = 20
WORK_SECONDS = 0.05
DEADLINE_SECONDS = 0.5
CRITICAL_SHARE = 0.1
THRASHING = 0.25
RETRIES = 3
SEEDS = (1, 2, 3)
WARM_UP_SECONDS = 5.0
WARM_UP_LOAD = 0.7
LOADS = (0.8, 1.0, 1.2, 2.0, 5.0, 10.0)


@dataclass
class Score:
    """What came of one run."""

    goodput: float = 0.0
    """Calls done before their deadline, as a share of what the server could do."""
    critical: float = 0.0
    """Share of the critical calls that were done before their deadline."""
    burst: list[float] = field(default_factory=list)
    """Calls done per call asked for, in each second."""


class Server:
    """Cores shared equally between all that runs; slower in total the more that is."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.done_each = 0.0
        self.seen = 0.0
        self.jobs: list[tuple[float, int, Request]] = []
        self.gone: set[int] = set()
        self.turn = 0

    @property
    def inside(self) -> int:
        return len(self.jobs) - len(self.gone)

    def _catch_up(self) -> float:
        crowd = self.inside / CORES
        pace = 1.0 if crowd <= 1.0 else 1.0 / crowd / (1.0 + THRASHING * (crowd - 1.0))
        self.done_each += pace * (self.world.now - self.seen)
        self.seen = self.world.now
        return pace

    def begin(self, request: Request, work: float) -> None:
        self._catch_up()
        request.job = self.world.count()
        heapq.heappush(self.jobs, (self.done_each + work, request.job, request))
        self._plan()

    def _plan(self) -> None:
        while self.jobs and self.jobs[0][1] in self.gone:
            self.gone.discard(heapq.heappop(self.jobs)[1])
        self.turn += 1
        if self.jobs:
            pace = self._catch_up()
            turn = self.turn
            left = max(0.0, self.jobs[0][0] - self.done_each) / pace
            self.world.later(left, lambda: self._finish(turn))

    def _finish(self, turn: int) -> None:
        if turn != self.turn:
            return
        self._catch_up()
        _, _, request = heapq.heappop(self.jobs)
        request.job = 0
        self._plan()
        request.advance(Ok(None))

    def cancel(self, request: Request) -> None:
        self._catch_up()
        self.gone.add(request.job)
        request.job = 0
        self._plan()


class World:
    """Simulated time, and the clients."""

    def __init__(self, policy: Policy | None, seed: int, counted_from: float = 0.0) -> None:
        self.policy = policy
        self.counted_from = counted_from
        self.counted_to = 0.0
        self.random = random.Random(seed)
        self.now = 0.0
        self.events: list[tuple[float, int, Callable[[], object]]] = []
        self.number = 0
        self.server = Server(self)
        self.asked = [0, 0]
        self.good = [0, 0]
        self.done = 0
        self.asked_each: dict[int, int] = {}
        self.good_each: dict[int, int] = {}

    def count(self) -> int:
        self.number += 1
        return self.number

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        heapq.heappush(self.events, (self.now + seconds, self.count(), action))

    def run(self, load: Callable[[float], float], seconds: float) -> Score:
        ambient.now, ambient.chance = (lambda: self.now), self.random.random

        def arrive() -> None:
            critical = self.random.random() < CRITICAL_SHARE
            if self.counted_from <= self.now < seconds:
                self.asked[critical] += 1
            self.asked_each[int(self.now)] = self.asked_each.get(int(self.now), 0) + 1
            level = 0 if critical else 1 + self.random.randrange(10)
            Request(self, level, self.now, RETRIES).begin()
            self.later(self.random.expovariate(load(self.now) * CORES / WORK_SECONDS), arrive)

        self.counted_to = seconds
        self.later(0.0, arrive)
        # Those who asked at the very end have their time, too.
        while self.events and self.events[0][0] < seconds + 4 * DEADLINE_SECONDS:
            self.now, _, action = heapq.heappop(self.events)
            action()
        capacity = (seconds - self.counted_from) * CORES / WORK_SECONDS
        each = [
            self.good_each.get(second, 0) / max(1, asked)
            for second, asked in sorted(self.asked_each.items())
        ]
        return Score(self.done / capacity, self.good[1] / max(1, self.asked[1]), each)


class Request:
    """One attempt of a client, and the driver of its flow."""

    def __init__(self, world: World, level: int, asked: float, retries: int) -> None:
        self.world, self.level, self.asked, self.retries = world, level, asked, retries
        self.began = world.now
        self.job = 0
        self.over = False
        self.flow: Generator[Any, Any, Any] = iter(())  # type: ignore[assignment]
        self.call: Call

    def begin(self) -> None:
        scope = Scope()
        scope.deadline = self.began + DEADLINE_SECONDS
        self.call = Call("call", scope, lambda level: level, (self.level,), {})
        policy = self.world.policy
        self.flow = policy.flow(self.call, _through) if policy else _through(self.call)
        self.world.later(DEADLINE_SECONDS, self.time_out)
        self.advance(None)

    def advance(self, answer: object) -> None:
        if self.over:
            return
        try:
            effect = self.flow.send(answer)
        except StopIteration as end:
            self.end(end.value)
            return
        if type(effect) is Invoke:
            self.call.running += 1
            work = self.world.random.expovariate(1.0 / WORK_SECONDS)
            self.world.server.begin(self, work)
        elif type(effect) is Park:
            effect.ticket.attach(self.wake)

    def wake(self) -> bool:
        self.world.later(0.0, lambda: self.advance(True))
        return True

    def time_out(self) -> None:
        if self.over:
            return
        if self.job:
            self.world.server.cancel(self)
        self.call.scope.rang = True
        with contextlib.suppress(DeadlineExceededError, StopIteration):
            self.flow.throw(DeadlineExceededError("the client gave up"))
        self.end(Err(DeadlineExceededError("the client gave up")))

    def end(self, result: object) -> None:
        self.over = True
        world = self.world
        critical = self.level == 0
        if type(result) is Ok:
            world.done += world.counted_from <= world.now < world.counted_to
            if world.counted_from <= self.asked < world.counted_to:
                world.good[critical] += 1
            second = int(self.asked)
            world.good_each[second] = world.good_each.get(second, 0) + 1
        elif self.retries:
            wait = world.random.uniform(0.05, 0.15) * 2 ** (RETRIES - self.retries)
            again = Request(world, self.level, self.asked, self.retries - 1)

            def repeat() -> None:
                again.began = world.now
                again.begin()

            world.later(wait, repeat)


def _through(call: Call) -> Flow:  # noqa: ARG001  # the shape of a step
    result = yield INVOKE
    return result  # type: ignore[no-any-return]


CONTENDERS: dict[str, Callable[[], Policy | None]] = {
    "none": lambda: None,
    "bulkhead, 8 x cores": lambda: Bulkhead(8 * CORES),
    "bulkhead = cores": lambda: Bulkhead(CORES, max_queue=2 * CORES),
    "LoadShedder, fixed = cores": lambda: LoadShedder(CORES, priority=lambda level: level),
    "LoadShedder": lambda: LoadShedder(priority=lambda level: level),
}


def measure(name: str, load: float, *, seconds: float = 20.0, seed: int = 1) -> Score:
    """One contender when a load sets in, after a quiet time, in shares of what can be done."""
    kept = ambient.now, ambient.chance
    try:
        world = World(CONTENDERS[name](), seed, WARM_UP_SECONDS)
        return world.run(
            lambda now: WARM_UP_LOAD if now < WARM_UP_SECONDS else load, WARM_UP_SECONDS + seconds
        )
    finally:
        ambient.now, ambient.chance = kept


def recover(name: str, *, seed: int = 1) -> Score:
    """Ten seconds of 0.7, ten of 3, ten of 0.7."""
    kept = ambient.now, ambient.chance
    try:
        return World(CONTENDERS[name](), seed).run(
            lambda now: 3.0 if 10.0 <= now < 20.0 else 0.7, 30.0
        )
    finally:
        ambient.now, ambient.chance = kept


def main(seconds: float) -> None:
    """Print the table: goodput / success of the critical calls."""
    heads = " | ".join(f"{load:g}x" for load in LOADS)
    print(f"| policy | {heads} | answered in the seconds after a 3x burst |")
    print(f"|---|{'---|' * (len(LOADS) + 1)}")
    for name in CONTENDERS:
        cells = []
        for load in LOADS:
            scores = [measure(name, load, seconds=seconds, seed=seed) for seed in SEEDS]
            goodput = fmean(score.goodput for score in scores)
            critical = fmean(score.critical for score in scores)
            cells.append(f"{goodput:.2f} / {critical:.3f}")
        after = recover(name).burst[20:25]
        cells.append(" ".join(f"{share:.2f}" for share in after))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
