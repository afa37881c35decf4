"""A pool in simulation: how much of what the servers could do gets done.

`python -m benchmarks.pool [--servers 40] [--jobs 10000] [--seed 1]`

The fleet, its line, its routing and its health checks are those that run in
production, and so is the plan that decides after failures; servers and attempts
are simulated, on a clock that jumps. Half of the servers take twice as long as
the others. Jobs come in two sizes and need one of six models; a server holds
one at a time, and loading it takes longer than most jobs do.

In the second run a third of the servers is in trouble, over and over: they die
and come back with an empty memory, become six times as slow, or fail
all they are given. The ideal is what an oracle could do that knows each of
these troubles beforehand, never loses a started job, and loads one model each
time a server starts.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from holdfast.comfyui import events
from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.comfyui.fleet import Fleet
from holdfast.comfyui.needs import Needs
from holdfast.comfyui.place import Errand, Place
from holdfast.comfyui.plan import Again, GiveUp, Limits, Step, next_step
from holdfast.comfyui.replies import Ending, HistoryEntry, Queue
from holdfast.comfyui.server import Answer, RefusedError, Server
from holdfast.errors import ErrorCategory
from holdfast.ports import ambient
from holdfast.testing import FakeClock

MODELS = {"a": 0.30, "b": 0.25, "c": 0.18, "d": 0.12, "e": 0.10, "f": 0.05}
LOAD_SECONDS = 20.0
SIZES = {"small": 8.0, "large": 16.0}
SLOWED = 6.0
TROUBLES = ("dies", "slow", "fails")


@dataclass(frozen=True, slots=True)
class SimJob:
    """One job."""

    number: int
    model: str
    seconds: float
    """Its work on a server of pace 1, with the model loaded."""
    needs: Needs


@dataclass(frozen=True, slots=True)
class Phase:
    """A time of trouble."""

    begins: float
    ends: float


class SimServer:
    """A server as the fleet sees it, without a socket."""

    def __init__(self, name: str, pace: float, trouble: str, phases: list[Phase]) -> None:
        self.name = name
        self.pace = pace
        self.trouble = trouble
        self.phases = phases
        self.loaded = ""
        self._restarts = 0

    def phase(self, now: float) -> Phase | None:
        """The trouble it is in, if any."""
        return next((each for each in self.phases if each.begins <= now < each.ends), None)

    def _answer(self) -> None:
        if self.trouble == "dies" and self.phase(ambient.now()):
            raise RefusedError(f"{self.name} refuses connections")

    async def system_stats(self) -> dict[str, Any]:
        """Answer, if it lives."""
        self._answer()
        return {"system": {}}

    async def queue(self) -> Queue:
        """Nothing of anybody else."""
        self._answer()
        return Queue((), ())

    async def queue_length(self) -> int:
        """Nothing of anybody else."""
        self._answer()
        return 0

    async def submit(self, _body: object, *, seconds: float) -> Answer:
        """Take the test graph."""
        del seconds
        self._answer()
        return Answer(200, {"prompt_id": "test"})

    async def history(self, prompt_id: str) -> HistoryEntry:
        """The test graph is done at once."""
        self._answer()
        return HistoryEntry(prompt_id, Ending.SUCCESS)

    def began_anew(self, now: float) -> None:
        """Forget the model if it was restarted since it was last asked."""
        restarts = sum(each.ends <= now for each in self.phases) if self.trouble == "dies" else 0
        if restarts != self._restarts:
            self._restarts, self.loaded = restarts, ""

    def run(self, job: SimJob, chance: random.Random) -> tuple[float, FailureKind | None]:
        """How long a job keeps it from now on, and what it comes to."""
        now = ambient.now()
        self.began_anew(now)
        left = (0.0 if self.loaded == job.model else LOAD_SECONDS) + job.seconds
        left *= self.pace
        phase = self.phase(now)
        if self.trouble == "dies":
            if phase is not None:
                return 0.01, FailureKind.UNREACHABLE
            death = min((each.begins for each in self.phases if each.begins > now), default=1e12)
            if now + left > death:
                return death - now + 0.5, FailureKind.SERVER_DIED
        elif self.trouble == "fails" and phase is not None:
            self.loaded = job.model
            return left * chance.uniform(0.2, 0.9), FailureKind.NODE_ERROR
        elif self.trouble == "slow":
            left = _slowed(self.phases, now, left)
        self.loaded = job.model
        return left, None


def _slowed(phases: list[Phase], now: float, work: float) -> float:
    """Seconds that so much work takes from now on."""
    began = now
    for each in phases:
        if each.ends <= now:
            continue
        free = max(0.0, each.begins - now)
        if work <= free:
            break
        work -= free
        now = max(now, each.begins)
        if work * SLOWED <= each.ends - now:
            return now + work * SLOWED - began
        work -= (each.ends - now) / SLOWED
        now = each.ends
    return now + work - began


@dataclass
class Outcome:
    """What came of one run."""

    seconds: float = 0.0
    """Simulated seconds until the last job was delivered."""
    ideal: float = 0.0
    delivered: Counter[int] = field(default_factory=Counter)
    """How often each job was delivered."""
    first_starts: list[int] = field(default_factory=list)
    """Turns, in the order in which their jobs first got a server."""
    attempts: int = 0
    ejections: int = 0
    most_ejected: int = 0
    """The most servers that were ejected at a time."""
    downs: int = 0
    real_seconds: float = 0.0
    fleet: Fleet | None = None

    @property
    def ratio(self) -> float:
        """Throughput as a share of the ideal."""
        return self.ideal / self.seconds

    @property
    def most_overtaken(self) -> int:
        """By how many later jobs the unluckiest was overtaken."""
        most, seen = 0, [0] * (len(self.first_starts) + 2)
        # Counted backwards with a binary indexed tree: later turns that started before it.
        for started, turn in enumerate(self.first_starts):
            earlier, at = 0, turn
            while at > 0:
                earlier += seen[at]
                at -= at & -at
            most = max(most, started - earlier)
            at = turn
            while at < len(seen):
                seen[at] += 1
                at += at & -at
        return most


def make_jobs(count: int, chance: random.Random) -> list[SimJob]:
    """Jobs of all models and sizes, in random order."""
    made = []
    for number in range(1, count + 1):
        model = chance.choices(list(MODELS), list(MODELS.values()))[0]
        size = chance.choice(list(SIZES))
        seconds = SIZES[size] * chance.uniform(0.9, 1.1)
        needs = Needs(frozenset({f"{model}.safetensors"}), frozenset(), f"{model} {size}")
        made.append(SimJob(number, model, seconds, needs))
    return made


def make_servers(count: int, chance: random.Random, *, troubled: bool) -> list[SimServer]:
    """Servers of two paces; a third of them in trouble, if so wished."""
    servers = []
    for number in range(count):
        trouble = TROUBLES[number // 3 % 3] if troubled and number % 3 == 0 else ""
        phases = list(_phases(trouble, chance)) if trouble else []
        servers.append(SimServer(f"http://gpu{number}", 1.0 + number % 2, trouble, phases))
    return servers


def _phases(trouble: str, chance: random.Random) -> Iterator[Phase]:
    now = 1_000.0
    while now < 50_000.0:
        now += chance.expovariate(1 / 400.0) + 30.0
        lasts = chance.uniform(15.0, 60.0) if trouble == "dies" else chance.uniform(60.0, 300.0)
        yield Phase(now, now + lasts)
        now += lasts


def ideal_seconds(servers: list[SimServer], jobs: list[SimJob], began: float) -> float:
    """When an oracle would be done."""
    work = sum(job.seconds for job in jobs)
    low, high = 0.0, 1e6
    while high - low > 0.01:
        middle = (low + high) / 2
        if sum(_could_do(each, began, began + middle) for each in servers) < work:
            low = middle
        else:
            high = middle
    return high


def _could_do(server: SimServer, began: float, until: float) -> float:
    rate = {"dies": 0.0, "fails": 0.0, "slow": 1.0 / SLOWED}.get(server.trouble, 1.0)
    done = until - began - LOAD_SECONDS * server.pace
    for each in server.phases:
        overlap = min(until, each.ends) - max(began, each.begins)
        if overlap > 0:
            done -= overlap * (1.0 - rate)
        if server.trouble == "dies" and each.ends < until:
            done -= min(LOAD_SECONDS * server.pace, until - each.ends)
    return max(0.0, done) / server.pace


class World:
    """One run."""

    def __init__(self, servers: list[SimServer], jobs: list[SimJob], seed: int) -> None:
        self._servers = {each.name: each for each in servers}
        self._jobs = jobs
        self._chance = random.Random(seed)
        self.outcome = Outcome()
        simulated: list[Server] = list(servers)  # type: ignore[arg-type] # as much as it needs
        self.fleet = Fleet(simulated, self._hear, reach_seconds=600.0)
        self.outcome.fleet = self.fleet

    async def run(self) -> Outcome:
        """All jobs, asked for at once."""
        began = ambient.now()
        self.outcome.ideal = ideal_seconds(list(self._servers.values()), self._jobs, began)
        async with asyncio.TaskGroup() as group:
            for job in self._jobs:
                group.create_task(self._bring_home(job, self.fleet.next_turn()))
        self.outcome.seconds = ambient.now() - began
        await self.fleet.close(seconds=1.0)
        return self.outcome

    async def _bring_home(self, job: SimJob, turn: int) -> None:
        key = str(job.number)
        self.fleet.errands[key] = Errand(job.needs)
        step: Step = Again("first attempt")
        failures: list[Failure] = []
        place: Place | None = None
        while isinstance(step, Again):
            if place is None:
                found = await self.fleet.acquire(
                    key, turn, avoid=step.avoid, never=step.never, wait=step.wait
                )
                if isinstance(found, Failure):
                    raise RuntimeError(found.message)
                place = found
            if not failures:
                self.outcome.first_starts.append(turn)
            failure = await self._attempt(job, place)
            self.fleet.report(place, failure, key)
            if failure is None:
                break
            failures.append(failure)
            step = next_step(failures, self.fleet.names, Limits(), self._chance.random())
            if isinstance(step, GiveUp):  # it is told, not mended
                raise RuntimeError(f"job {job.number}: {step.words}")  # noqa: TRY004 # no type at fault
            if step.prefer != place.name or not self.fleet.is_up(place):
                self.fleet.release(place, key)
                place = None
        assert place is not None  # noqa: S101 # only what has a place delivers
        self.outcome.delivered[job.number] += 1
        self.fleet.release(place, key)
        del self.fleet.errands[key]

    async def _attempt(self, job: SimJob, place: Place) -> Failure | None:
        self.outcome.attempts += 1
        seconds, kind = self._servers[place.name].run(job, self._chance)
        await asyncio.sleep(seconds)
        if kind is None:
            return None
        return Failure(
            kind,
            f"the job failed ({kind})",
            place.name,
            elsewhere=kind is FailureKind.NODE_ERROR,
            category=ErrorCategory.SYSTEM,
        )

    def _hear(self, event: events.Event) -> None:
        if isinstance(event, events.ServerEjected):
            self.outcome.ejections += 1
            out = sum(each.ejected_until is not None for each in self.fleet.places)
            self.outcome.most_ejected = max(self.outcome.most_ejected, out)
        elif isinstance(event, events.ServerDown):
            self.outcome.downs += 1


def simulate(servers: int, jobs: int, seed: int, *, troubled: bool) -> Outcome:
    """One run; the same seed gives the same outcome."""
    chance = random.Random(seed)
    began = time.perf_counter()
    with FakeClock() as clock:
        previous, ambient.chance = ambient.chance, chance.random
        try:
            made = make_servers(servers, chance, troubled=troubled)
            world = World(made, make_jobs(jobs, chance), seed)
            outcome = clock.run(world.run())
        finally:
            ambient.chance = previous
    outcome.real_seconds = time.perf_counter() - began
    return outcome


def main() -> None:
    """Print what came of both runs."""
    parser = argparse.ArgumentParser(description="How much of what the servers could do gets done.")
    parser.add_argument("--servers", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    for troubled in (False, True):
        came = simulate(asked.servers, asked.jobs, asked.seed, troubled=troubled)
        once = all(came.delivered[number] == 1 for number in range(1, asked.jobs + 1))
        print(
            f"{'a third in trouble' if troubled else 'no faults':20s}"
            f"{came.ratio:7.1%} of the ideal ({came.seconds:,.0f} s for {came.ideal:,.0f} s); "
            f"{sum(came.delivered.values()):,} delivered, {'each once' if once else 'NOT ONCE'}, "
            f"in {came.attempts:,} attempts; overtaken by {came.most_overtaken} at most; "
            f"{came.downs} outages, {came.ejections} ejections, at most {came.most_ejected} at a "
            f"time; {came.real_seconds:.1f} s of real time"
        )


if __name__ == "__main__":
    main()
