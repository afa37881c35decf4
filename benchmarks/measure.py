"""Stopwatch for contenders that race in turns: nanoseconds per call, as ratios to a floor.

- Contenders are interleaved. Every round runs each of them once, in an order
  that rotates, so that a noisy neighbour of the machine hits all alike.
- The least and the median of all rounds are kept, never the mean: noise only
  ever adds.
- The garbage collector stays on. A contender that leaves cycles behind pays for
  them, as it would in production.
- Figures depend on the machine; `times_floor` depends on it less. Compare ratios.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

ROUNDS = 25
BATCH_SECONDS = 0.003


@dataclass(frozen=True, slots=True)
class Contender:
    """One thing to time. `run` is called over and over, and awaited in an asynchronous race."""

    name: str
    """What the table calls it."""
    run: Callable[[], Any]
    """A plain function, or a coroutine function when it races in `race_async`."""
    calls: int = 1
    """Protected calls that one `run` makes; the figures are per protected call."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What one contender cost in one race."""

    name: str
    """The contender's name."""
    minimum_ns: float
    """Nanoseconds per call in its best round."""
    median_ns: float
    """Nanoseconds per call in its middle round."""
    times_floor: float
    """Its best round over the best round of the race's first contender."""


@dataclass(frozen=True, slots=True)
class Race:
    """A table's worth of figures: contenders that were timed against each other."""

    title: str
    """What was raced."""
    figures: tuple[Figure, ...]
    """In the order of the contenders; the first is the floor."""


def race(title: str, contenders: Sequence[Contender], rounds: int = ROUNDS) -> Race:
    """Time plain functions against each other; the first is the floor."""
    loops = [_loops(_timed(contender.run, 1), contender) for contender in contenders]
    times: list[list[float]] = [[] for _ in contenders]
    for turn in range(rounds):
        for index in _rotated(len(contenders), turn):
            spent = _timed(contenders[index].run, loops[index])
            times[index].append(spent / loops[index] / contenders[index].calls)
    return _race(title, contenders, times)


async def race_async(title: str, contenders: Sequence[Contender], rounds: int = ROUNDS) -> Race:
    """Time coroutine functions against each other, in the running loop."""
    loops = [_loops(await _timed_async(contender.run, 1), contender) for contender in contenders]
    times: list[list[float]] = [[] for _ in contenders]
    for turn in range(rounds):
        for index in _rotated(len(contenders), turn):
            spent = await _timed_async(contenders[index].run, loops[index])
            times[index].append(spent / loops[index] / contenders[index].calls)
            # Lets timers and callbacks that the batch left behind run now, off the clock.
            await asyncio.sleep(0)
    return _race(title, contenders, times)


def table(race: Race) -> str:
    """The race as plain text, cheapest first, the floor on top."""
    floor, *others = race.figures
    width = max(len(figure.name) for figure in race.figures)
    lines = [race.title, f"  {'':<{width}} {'min ns':>12} {'median ns':>12} {'x bare call':>12}"]
    for figure in (floor, *sorted(others, key=lambda figure: figure.minimum_ns)):
        numbers = f"{figure.minimum_ns:>12,.0f} {figure.median_ns:>12,.0f}"
        lines.append(f"  {figure.name:<{width}} {numbers} {figure.times_floor:>12.1f}")
    return "\n".join(lines)


def markdown(race: Race) -> str:
    """The race as a Markdown table, cheapest first, the floor on top."""
    floor, *others = race.figures
    head = "| | min ns | median ns | x bare |\n| --- | ---: | ---: | ---: |"
    lines = [f"### {race.title}", "", head]
    for figure in (floor, *sorted(others, key=lambda figure: figure.minimum_ns)):
        numbers = f"{figure.minimum_ns:,.0f} | {figure.median_ns:,.0f} | {figure.times_floor:.1f}"
        lines.append(f"| {figure.name} | {numbers} |")
    return "\n".join(lines)


def sizes_table(sizes: Mapping[str, float]) -> str:
    """What objects weigh and the import takes, as a Markdown table; empty without sizes."""
    if not sizes:
        return ""
    rows = "\n".join(f"| {name} | {size:,.0f} |" for name, size in sizes.items())
    return f"### Memory and import\n\n| | bytes, or milliseconds |\n| --- | ---: |\n{rows}"


def write_json(races: Iterable[Race], sizes: Mapping[str, float], path: Path) -> None:
    """Write the figures with the machine they were measured on."""
    record = {"machine": machine(), "races": [asdict(race) for race in races], "sizes": dict(sizes)}
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def machine() -> dict[str, object]:
    """What the figures depend on."""
    return {
        "python": sys.version.split()[0],
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
    }


def _timed(run: Callable[[], Any], loops: int) -> int:
    began = time.perf_counter_ns()
    for _ in repeat(None, loops):
        run()
    return time.perf_counter_ns() - began


async def _timed_async(run: Callable[[], Any], loops: int) -> int:
    began = time.perf_counter_ns()
    for _ in repeat(None, loops):
        await run()
    return time.perf_counter_ns() - began


def _loops(first_ns: int, contender: Contender) -> int:
    # The first call is cold and may be ten times too slow; a lower bound of
    # batches is all that is asked of it.
    wanted = BATCH_SECONDS * 1e9 / max(first_ns / (10 if contender.calls == 1 else 1), 50)
    return max(1, min(int(wanted), 20_000))


def _rotated(count: int, turn: int) -> Iterable[int]:
    return ((index + turn) % count for index in range(count))


def _race(title: str, contenders: Sequence[Contender], times: list[list[float]]) -> Race:
    floor = min(times[0])
    return Race(
        title,
        tuple(
            Figure(contender.name, min(spent), statistics.median(spent), min(spent) / floor)
            for contender, spent in zip(contenders, times, strict=True)
        ),
    )
