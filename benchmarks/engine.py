"""What Holdfast's own engine costs: stacks, flows, events, windows, memory, import."""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.measure import Contender, Race, race, race_async
from benchmarks.peers.scenarios import (
    IDLE,
    asyncio_timeout,
    idle_decorator,
    idle_decorator_async,
    noop,
    noop_async,
)
from holdfast import Bulkhead, CircuitBreaker, Pipeline, Retry, Timeout, listen
from holdfast.events import Event

STACK = "five policies"
THREE = "retry, breaker, bulkhead"
REJECTED = "rejected, as an outcome"
FLOOR_SYNC, FLOOR_ASYNC, TIMEOUT = "bare call", "bare await", "(asyncio.timeout alone)"


def five() -> Pipeline:
    """Total timeout, retry, breaker, bulkhead, attempt timeout."""
    return Pipeline(Timeout(60), Retry(), CircuitBreaker("bench"), Bulkhead(16), Timeout(10))


def three() -> Pipeline:
    """Retry, breaker, bulkhead."""
    return Pipeline(Retry(), CircuitBreaker("bench"), Bulkhead(16))


def by_flows() -> Pipeline:
    """The five policies, one of which keeps them off the hot path."""
    retry = Retry(retry_on_result=lambda _: False)
    return Pipeline(Timeout(60), retry, CircuitBreaker("bench"), Bulkhead(16), Timeout(10))


def windowed(seconds: float | None, calls: int | None) -> Pipeline:
    """A breaker that measures a failure rate."""
    return Pipeline(CircuitBreaker("bench", failure_rate=0.5, window=seconds, window_calls=calls))


def _closed_for_good() -> Pipeline:
    breaker = CircuitBreaker("bench", timeout=3_600.0)
    breaker.trip()
    return Pipeline(Retry(), breaker, Bulkhead(16))


def sync_races() -> Iterator[Race]:
    """Calls from one thread."""
    refuses = _closed_for_good()
    yield race(
        "holdfast, sync",
        [
            Contender(FLOOR_SYNC, noop),
            Contender(IDLE, idle_decorator(noop)),
            Contender("retry", Pipeline(Retry())(noop)),
            Contender("breaker", Pipeline(CircuitBreaker("bench"))(noop)),
            Contender("bulkhead", Pipeline(Bulkhead(16))(noop)),
            Contender("timeout", Pipeline(Timeout(10))(noop)),
            Contender(THREE, three()(noop)),
            Contender(STACK, five()(noop)),
            Contender("five policies, by flows", by_flows()(noop)),
            Contender("breaker with a rate over 10 s", windowed(10.0, None)(noop)),
            Contender("breaker with a rate over 1 h", windowed(3600.0, None)(noop)),
            Contender("breaker with a rate over 100 calls", windowed(None, 100)(noop)),
            Contender("breaker with a rate over 100,000 calls", windowed(None, 100_000)(noop)),
            Contender(REJECTED, lambda: refuses.call_outcome(noop)),
        ],
    )


async def async_races() -> list[Race]:
    """Calls from one task."""
    refuses = _closed_for_good()
    plain = await race_async(
        "holdfast, async",
        [
            Contender(FLOOR_ASYNC, noop_async),
            Contender(IDLE, idle_decorator_async(noop_async)),
            Contender(TIMEOUT, asyncio_timeout),
            Contender("retry", Pipeline(Retry())(noop_async)),
            Contender("breaker", Pipeline(CircuitBreaker("bench"))(noop_async)),
            Contender("bulkhead", Pipeline(Bulkhead(16))(noop_async)),
            Contender("timeout", Pipeline(Timeout(10))(noop_async)),
            Contender(THREE, three()(noop_async)),
            Contender(STACK, five()(noop_async)),
            Contender("five policies, by flows", by_flows()(noop_async)),
            Contender(REJECTED, lambda: refuses.outcome(noop_async)),
        ],
    )
    heard: list[Event] = []
    with listen(heard.append):
        told = await race_async(
            "holdfast, async, with a listener to all events",
            [Contender(FLOOR_ASYNC, noop_async), Contender(STACK, five()(noop_async))],
        )
    return [plain, told]


def memory() -> Iterator[tuple[str, float]]:
    """Bytes per object, over a thousand of each."""
    makers: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("CircuitBreaker", lambda: CircuitBreaker("bench")),
        ("CircuitBreaker with a rate", lambda: CircuitBreaker("bench", failure_rate=0.5)),
        ("Retry", Retry),
        ("Bulkhead(16)", lambda: Bulkhead(16)),
        ("Pipeline of five", five),
    )
    for name, make in makers:
        make()
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        kept = [make() for _ in range(1_000)]
        yield name, (tracemalloc.get_traced_memory()[0] - before) / len(kept)
        tracemalloc.stop()


IMPORT = "import holdfast, beyond import asyncio"


def sizes() -> dict[str, float]:
    """Bytes per object by its name, and under `IMPORT` milliseconds."""
    return dict(memory()) | {IMPORT: import_milliseconds()}


def import_milliseconds(rounds: int = 15) -> float:
    """How much longer `import asyncio, holdfast` takes than `import asyncio`, at the median."""
    code = "import time; t=time.perf_counter(); {}; print(time.perf_counter()-t)"
    # As for everybody who imports it a second time: from bytecode.
    around = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

    def spent(line: str) -> float:
        command = [sys.executable, "-c", code.format(line)]
        told = subprocess.run(command, capture_output=True, check=True, text=True, env=around)  # noqa: S603
        return float(told.stdout)

    spent("import asyncio, holdfast")
    pairs = [(spent("import asyncio"), spent("import asyncio, holdfast")) for _ in range(rounds)]
    return 1e3 * (statistics.median(b for _, b in pairs) - statistics.median(a for a, _ in pairs))


def _least(races: list[Race], race_title: str, name: str) -> float:
    figures = next(each for each in races if each.title == race_title).figures
    return next(figure.minimum_ns for figure in figures if figure.name == name)


def goals(races: list[Race], sizes: dict[str, float]) -> Iterator[str]:
    """Each goal with its figure from this run."""
    sync, later = "holdfast, sync", "holdfast, async"
    five_async = _least(races, later, STACK)
    rows = (
        ("five policies, async / asyncio.timeout alone",
         five_async / _least(races, later, TIMEOUT), 0.5, "x"),
        ("five policies, async / bare await (aim, not a limit)",
         five_async / _least(races, later, FLOOR_ASYNC), 10.0, "x"),
        ("retry, breaker, bulkhead, sync / bare call",
         _least(races, sync, THREE) / _least(races, sync, FLOOR_SYNC), 10.0, "x"),
        ("a rejection through outcome / bare await",
         _least(races, later, REJECTED) / _least(races, later, FLOOR_ASYNC), 3.0, "x"),
        ("rate over 100,000 calls / over 100 calls",
         _least(races, sync, "breaker with a rate over 100,000 calls")
         / _least(races, sync, "breaker with a rate over 100 calls"), 1.2, "x"),
        ("a breaker's memory", sizes["CircuitBreaker"], 1024.0, " bytes"),
        (IMPORT, sizes[IMPORT], 30.0, " ms"),
    )  # fmt: skip
    for name, figure, goal, unit in rows:
        verdict = "met" if figure <= goal else "NOT MET"
        yield f"  {name:<54} {figure:>9.2f}{unit:<6} goal {goal:g}{unit}: {verdict}"


def run() -> list[Race]:
    """All races of the engine."""
    return [*sync_races(), *asyncio.run(async_races())]
