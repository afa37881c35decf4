"""What the error-handling system costs: `python -m benchmarks.system [--rows 1000000]`.

- Calls that succeed, through `ErrorHandlingSystem` and through tenacity with pybreaker where they
  are installed, against a bare call, interleaved in one run.
- What a failure costs: its capture, its record in the analytics and in the history.
- Health with 1,000 breakers, a report over ``--rows`` stored errors, memory.
- At the end each goal with its figure. The goals on time and memory are a tenth of what
  StoryCore-Engine says its own module takes: 0.1 ms a check of a breaker, 0.5 ms a record, 5 ms a
  look at health, 100 KB a breaker, 2 MB for 1,000 errors.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import itertools
import logging
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.history import best, fill
from benchmarks.measure import Contender, Race, machine, race, race_async, table, write_json
from benchmarks.peers.scenarios import noop, noop_async
from holdfast import ErrorHandlingSystem, classify
from holdfast.stores import ErrorHistory
from holdfast.system.capture import capture

MANY = 1_000
FLOOR, PLAIN, BREAKER = "bare call", "holdfast system", "holdfast system, breaker"
PEERS = "tenacity, pybreaker"
SYNC, ASYNC = "success, sync", "success, async"
CHECK = "breaker.can_execute(), record_success()"


def peers_sync() -> list[Contender]:
    """What they need for the same: a retry around a breaker."""
    if _missing():
        return []
    import pybreaker  # noqa: PLC0415  # peers, which need not be there
    import tenacity  # noqa: PLC0415

    breaker = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=60, name="bench")
    wait = tenacity.wait_exponential_jitter(initial=1, max=60)
    retried = tenacity.retry(
        stop=tenacity.stop_after_attempt(3),
        wait=wait,
        retry=tenacity.retry_if_exception_type(OSError),
        reraise=True,
    )(breaker(noop))
    return [Contender(PEERS, retried)]


def peers_async() -> list[Contender]:
    """The same for coroutines: pybreaker's own async form needs Tornado, its block does not."""
    if _missing():
        return []
    import pybreaker  # noqa: PLC0415
    import tenacity  # noqa: PLC0415

    breaker = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=60, name="bench")

    @tenacity.retry(
        stop=tenacity.stop_after_attempt(3),
        wait=tenacity.wait_exponential_jitter(initial=1, max=60),
        retry=tenacity.retry_if_exception_type(OSError),
        reraise=True,
    )
    async def retried() -> Any:
        with breaker.calling():
            return await noop_async()

    return [Contender(PEERS, retried)]


def _missing() -> list[str]:
    return [name for name in ("tenacity", "pybreaker") if importlib.util.find_spec(name) is None]


def sync_race() -> Race:
    """Calls that succeed, from one thread."""
    system = ErrorHandlingSystem()
    call = system.call_with_resilience
    decorated = system.resilient(circuit_breaker_name="bench")(noop)
    breaker = system.get_circuit_breaker("bench")

    def check() -> None:
        if breaker.can_execute():
            breaker.record_success()

    return race(
        SYNC,
        [
            Contender(FLOOR, noop),
            Contender(PLAIN, lambda: call(noop)),
            Contender(BREAKER, lambda: call(noop, circuit_breaker_name="bench")),
            Contender(f"{BREAKER}, as a decorator", decorated),
            Contender(CHECK, check),
            *peers_sync(),
        ],
    )


async def async_race() -> Race:
    """The same in an event loop."""
    system = ErrorHandlingSystem()
    limited = ErrorHandlingSystem({"system": {"total": 60.0}})
    decorated = system.resilient(circuit_breaker_name="bench")(noop_async)

    def through(which: ErrorHandlingSystem, **options: Any) -> Callable[[], Awaitable[Any]]:
        return lambda: which.execute_with_resilience(noop_async, **options)

    name = "bench"
    return await race_async(
        ASYNC,
        [
            Contender(FLOOR, noop_async),
            Contender(PLAIN, through(system)),
            Contender(BREAKER, through(system, circuit_breaker_name=name)),
            Contender(f"{BREAKER}, total limit", through(limited, circuit_breaker_name=name)),
            Contender(f"{BREAKER}, as a decorator", decorated),
            *peers_async(),
        ],
    )


# -- what a failure costs ------------------------------------------------------------------------


def raised(number: int) -> Exception:
    """An error with a traceback, and a message of its own."""
    try:
        _fail(number)
    except ConnectionError as error:
        return error
    raise AssertionError("it fails")


def _fail(number: int) -> None:
    raise ConnectionError(f"job {number}: connection to gpu{number % 8}:8188 refused")


def each(work: Callable[[Any], Any], given: list[Any]) -> float:
    """Microseconds of the middle one."""
    took = []
    for one in given:
        began = time.perf_counter_ns()
        work(one)
        took.append(time.perf_counter_ns() - began)
    return statistics.median(took) / 1e3


def failures(folder: Path) -> Iterator[tuple[str, float]]:
    """Microseconds by name."""
    errors = [raised(number) for number in range(3_000)]
    infos = [capture(error, dependency="gpu", operation="render") for error in errors]
    yield "capture(error), classified", each(capture, errors)
    yield (
        "analytics.record_error(info)",
        each(ErrorHandlingSystem().error_analytics.record_error, infos),
    )
    with ErrorHistory(folder / "append.db") as history:
        yield "history.append(info)", each(lambda info: history.append(info, "f"), infos)
    for url in (None, str(folder / "whole.db")):
        with ErrorHandlingSystem({"history": {"url": url}}) as system:
            failing = itertools.cycle(errors)

            def fail(_: int, failing: Iterator[Exception] = failing) -> None:
                raise next(failing)

            def whole(number: int, system: Any = system, fail: Any = fail) -> Any:
                return system.call_outcome_with_resilience(fail, number, enable_retry=False)

            told = "with a history" if url else "without a history"
            yield f"a whole failed call, {told}", each(whole, list(range(3_000)))


# -- health, report, memory ----------------------------------------------------------------------


def well() -> ErrorHandlingSystem:
    """A system with a thousand breakers, each used, and a thousand chains."""
    system = ErrorHandlingSystem()
    for number in range(MANY):
        system.call_with_resilience(noop, circuit_breaker_name=f"breaker {number}")
    return system


def health() -> Iterator[tuple[str, float]]:
    """Milliseconds by name."""
    system = well()
    yield f"get_system_health(), {MANY:,} breakers", best(system.get_system_health, 50)
    for breaker in system.circuit_breakers.values():
        breaker.record_failure()
    yield "the same, each with a failure on record", best(system.get_system_health, 50)
    yield "generate_resilience_report()", best(system.generate_resilience_report, 20)


def stored(folder: Path, rows: int) -> Iterator[tuple[str, float, str]]:
    """Rows a second to the disk, and what reports over all of them take."""
    with ErrorHistory(folder / "report.db", max_bytes=64 << 30) as history:
        yield "history, through to the disk", fill(history, rows), "rows/s"
        yield f"history.report() over {rows:,}", best(history.report), "ms"
        yield "history.report(since=24 h)", best(lambda: history.report(time.time() - 86_400)), "ms"
    url = str(folder / "report.db")
    started = best(lambda: ErrorHandlingSystem({"history": {"url": url}}).close(), 3)
    yield "ErrorHandlingSystem(), restoring 1,000", started, "ms"


def memory() -> Iterator[tuple[str, float]]:
    """Bytes by name."""
    system = ErrorHandlingSystem()
    numbers = iter(range(10**9))

    def breaker() -> object:
        return system.get_circuit_breaker(f"breaker {next(numbers)}")

    def used_breaker() -> object:
        name = f"used {next(numbers)}"
        return system.call_with_resilience(noop, circuit_breaker_name=name)

    def chain() -> object:
        return system.get_fallback_chain(f"chain {next(numbers)}")

    yield "a breaker", _grown(breaker, MANY) / MANY
    yield "a breaker with its pipeline and budget", _grown(used_breaker, MANY) / MANY
    yield "a chain", _grown(chain, MANY - 2) / (MANY - 2)
    yield f"{MANY:,} errors, twenty messages", _held(itertools.cycle(range(20)), numbers)
    yield f"{MANY:,} errors, no message twice", _held(numbers, numbers)


def _held(messages: Iterator[int], numbers: Iterator[int]) -> float:
    """What is freed when the analytics go, so that caches elsewhere do not count."""
    tracemalloc.start()
    analytics = ErrorHandlingSystem().error_analytics
    for _ in range(2 * MANY):
        analytics.record_error(capture(raised(next(messages)), dependency="gpu"))
    for _ in range(3 * MANY):
        classify(raised(next(numbers)))  # its cache is bounded, and keeps messages
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    assert len(analytics.error_history) == MANY  # noqa: S101
    del analytics
    gc.collect()
    held = before - tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held


def _grown(make: Callable[[], object], times: int) -> float:
    make()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(times):
        make()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return grown


# -- all of it -----------------------------------------------------------------------------------


def _figure(raced: Race, name: str) -> float | None:
    found = (one.minimum_ns for one in raced.figures if one.name == name)
    return next(found, None)


def goals(races: dict[str, Race], told: dict[str, float]) -> Iterator[str]:
    """Each goal with its figure from this run."""
    check = _figure(races[SYNC], CHECK) or 0.0
    rows = [
        ("a check of a breaker", check / 1e3, 10.0, "us"),
        ("a record in the analytics", told["analytics.record_error(info)"], 50.0, "us"),
        ("a record in the history", told["history.append(info)"], 50.0, "us"),
        ("health with 1,000 breakers", told[f"get_system_health(), {MANY:,} breakers"], 0.5, "ms"),
        ("a breaker", told["a breaker"] / 1e3, 10.0, "KB"),
        ("1,000 errors, twenty messages",
         told[f"{MANY:,} errors, twenty messages"] / 1e3, 200.0, "KB"),
        ("1,000 errors, no message twice",
         told[f"{MANY:,} errors, no message twice"] / 1e3, 200.0, "KB"),
    ]  # fmt: skip
    for title, raced in races.items():
        ours, theirs = _figure(raced, BREAKER), _figure(raced, PEERS)
        if ours is not None and theirs is not None:
            rows.append((f"{title}: ours / tenacity and pybreaker", ours / theirs, 1.0, "x"))
    for name, figure, goal, unit in rows:
        verdict = "met" if figure <= goal else "NOT MET"
        yield f"  {name:<50} {figure:>9.3f} {unit:<3} goal {goal:g} {unit}: {verdict}"


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.system", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="stored errors to report over")
    parser.add_argument("--write", type=Path, help="a JSON file for the figures of the calls")
    arguments = parser.parse_args()
    # What is timed is the handling, not the log.
    logging.disable(logging.CRITICAL)
    print("  ".join(f"{name} {value}" for name, value in machine().items()))
    if missing := _missing():
        print(f"not raced, because not installed: {', '.join(missing)}")
    races = {SYNC: sync_race(), ASYNC: asyncio.run(async_race())}
    for raced in races.values():
        print(f"\n{table(raced)}", flush=True)
    told: dict[str, float] = {}

    def tell(title: str, figures: Iterator[tuple[Any, ...]], unit: str = "") -> None:
        print(f"\n{title}")
        for name, figure, *own in figures:
            told[name] = figure
            decimals = 0 if figure >= 1_000 else 3
            print(f"  {name:<50} {figure:>12,.{decimals}f} {own[0] if own else unit}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        tell("A failure, median", failures(Path(folder)), "us")
        tell("Looking at it", health(), "ms")
        tell("What is stored", stored(Path(folder), arguments.rows))
    tell("Memory", memory(), "bytes")
    print("\nGoals")
    for line in goals(races, told):
        print(line)
    if arguments.write is not None:
        write_json(races.values(), arguments.write)


if __name__ == "__main__":
    main()
