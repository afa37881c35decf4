"""What keeping a history costs: `python -m benchmarks.history [--rows 1000000] [--url URL]`.

Figures: microseconds for whoever appends (a new message each time, with a traceback that
repeats, and with one that does not), rows a second through to the disk, and a report over all that
is stored. Without ``--url`` it is a SQLite file in a folder that is removed afterwards.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from holdfast.error_info import ErrorInfo
from holdfast.errors import ErrorCategory, ErrorSeverity
from holdfast.stores import ErrorHistory

GROUPS, DEPENDENCIES, DAYS = 200, 8, 13
CHANCE = random.Random(1)  # the same errors in every run
CATEGORIES, SEVERITIES = list(ErrorCategory), list(ErrorSeverity)
FRAME = '  File "/srv/app/render.py", line {}, in step_{}\n    return self.client.send(job)\n'


def error(number: int, at: float, traceback: str) -> ErrorInfo:
    """One of many."""
    group = min(int(CHANCE.paretovariate(0.6)) - 1, GROUPS - 1)
    return ErrorInfo(
        timestamp=datetime.fromtimestamp(at, UTC),
        error_type=f"Error{group}",
        error_message=f"job {number} on node {group}: cannot reach gpu{number % DEPENDENCIES}",
        category=CATEGORIES[group % len(CATEGORIES)],
        severity=SEVERITIES[0 if CHANCE.random() < 0.9 else CHANCE.randrange(4)],
        traceback=traceback,
        context={"job": number, "seed": number * 7},
        dependency=f"gpu{number % DEPENDENCIES}",
        operation="render",
    )


def traceback_of(number: int) -> str:
    """About a kilobyte."""
    return "Traceback (most recent call last):\n" + "".join(
        FRAME.format(number + depth, depth) for depth in range(10)
    )


def append_cost(history: ErrorHistory, *, alike: bool) -> tuple[float, float]:
    """Median and 99th percentile of one append, in microseconds."""
    now = time.time()
    errors = [error(n, now, traceback_of(n % 20 if alike else n)) for n in range(5_000)]
    took = []
    for number, info in enumerate(errors):
        began = time.perf_counter()
        history.append(info, info.error_type)
        took.append((time.perf_counter() - began) * 1e6)
        if number % 500 == 499:
            history.flush(60)
    return statistics.median(took), statistics.quantiles(took, n=100)[98]


def fill(history: ErrorHistory, rows: int) -> float:
    """Rows a second, from `append` to the disk, over `DAYS` days."""
    now = time.time()
    tracebacks = [traceback_of(n) for n in range(20)]
    began = time.perf_counter()
    for number in range(rows):
        at = now - DAYS * 86_400 * (1 - number / rows)
        info = error(number, at, tracebacks[number % 20])
        history.append(info, info.error_type)
        if number % 5_000 == 4_999:
            history.flush(60)
    history.flush(60)
    return rows / (time.perf_counter() - began)


def best(call: Callable[[], object], rounds: int = 5) -> float:
    """Milliseconds of the best of some rounds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1e3)
    return min(times)


def measure(history: ErrorHistory, rows: int, path: Path | None) -> None:
    """Print everything."""
    for alike, words in ((True, "tracebacks that repeat"), (False, "a new traceback each")):
        median, high = append_cost(history, alike=alike)
        print(f"append, {words:<24} median {median:7.1f} us, 99 % {high:7.1f} us")
    print(f"through to the disk                 {fill(history, rows):10,.0f} rows/s")
    stored = sum(history.counts().values())
    now = time.time()
    print(f"over {stored:,} stored errors:")
    for words, call in (
        ("report()", history.report),
        ("report(since=24 h ago)", lambda: history.report(since=now - 86_400)),
        ("counts(by='hour')", lambda: history.counts(by="hour")),
        ("events(limit=100)", lambda: history.events(limit=100)),
        ("events(severity='critical')", lambda: history.events(severity="critical")),
        (
            "events(search=) through half",
            lambda: history.events(search=f"job {rows // 2} o", limit=1),
        ),
        ("groups()", history.groups),
    ):
        print(f"  {words:<32}{best(call):10.1f} ms")
    if path is not None:
        history.close(60)
        size = path.stat().st_size
        print(f"file {size / 2**20:,.0f} MiB, {size / stored:,.0f} bytes an error")
        began = time.perf_counter()
        ErrorHistory(path).close()
        print(f"opening it again                    {(time.perf_counter() - began) * 1e3:10.1f} ms")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--url", help="a database that is empty; it is left filled")
    options = parser.parse_args()
    gc.freeze()
    with tempfile.TemporaryDirectory() as folder:
        path = None if options.url else Path(folder) / "history.db"
        with ErrorHistory(options.url or path or "", max_bytes=64 * 2**30) as history:
            measure(history, options.rows, path)


if __name__ == "__main__":
    main()
