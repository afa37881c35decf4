"""What analytics cost: `python -m benchmarks.analytics [--errors 100000]`.

Figures: errors a second that are recorded, for messages that repeat, that differ in a number, and
that each make a group of their own; what memory an error, a group and a full history take, as
`tracemalloc` sees it; how long a rate and a report take. Times are the best of some rounds.
"""

from __future__ import annotations

import argparse
import gc
import threading
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime

from holdfast.error_info import ErrorInfo
from holdfast.errors import ErrorCategory, ErrorSeverity
from holdfast.telemetry.analytics import ErrorAnalytics
from holdfast.telemetry.report import render

FULL = 1_000
CATEGORIES, SEVERITIES = list(ErrorCategory), list(ErrorSeverity)
FRAMES = ("painter.client:send", "painter.jobs:render", "painter.api:paint")
FRAME = '  File "/srv/app/render.py", line {}, in step_{}\n    return self.client.send(job)\n'
TRACEBACKS = [
    "Traceback (most recent call last):\n" + "".join(FRAME.format(n + d, d) for d in range(10))
    for n in range(20)
]
_WORDS = [f"{first}{second}" for first in "bdfgklmnprst" for second in "aeiou"]


def name_of(number: int) -> str:
    """A word without a digit, another one for each number."""
    word = _WORDS[number % 60]
    return word if number < 60 else name_of(number // 60) + word


def repeating(number: int) -> ErrorInfo:
    """One of 20 errors."""
    return _error(number, f"cannot reach gpu{number % 20}")


def numbered(number: int) -> ErrorInfo:
    """One of 20 kinds, never with the same message."""
    return _error(number, f"job {number}: cannot reach gpu{number % 20}")


def traced(number: int) -> ErrorInfo:
    """As `numbered`, with one of 20 tracebacks of a kilobyte and a context of its own."""
    info = numbered(number)
    info.traceback, info.context = TRACEBACKS[number % 20], {"job": number, "seed": number * 7}
    return info


def odd(number: int) -> ErrorInfo:
    """An error of its own kind."""
    return _error(number, f"no such thing as {name_of(number)}")


def _error(number: int, message: str) -> ErrorInfo:
    return ErrorInfo(
        timestamp=datetime.now(UTC),
        error_type="ConnectionError",
        error_message=message,
        category=CATEGORIES[number % 4],
        severity=SEVERITIES[number % 4],
        dependency=f"gpu{number % 4}",
        operation="render",
        frames=FRAMES,
    )


def per_second(make: Callable[[int], ErrorInfo], errors: int, threads: int = 1) -> float:
    """Errors recorded a second, the best of five rounds."""
    best = 0.0
    for _ in range(5):
        analytics = ErrorAnalytics()
        shares = [
            [make(number) for number in range(one, errors, threads)] for one in range(threads)
        ]

        def record(infos: list[ErrorInfo], into: ErrorAnalytics = analytics) -> None:
            for info in infos:
                into.record_error(info)

        workers = [threading.Thread(target=record, args=(share,)) for share in shares]
        began = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        best = max(best, errors / (time.perf_counter() - began))
    return best


def memory(make: Callable[[int], ErrorInfo], errors: int, history: int, groups: int) -> int:
    """Bytes held after so many errors; but for the 64 latest, which are watched, they are gone."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        analytics = ErrorAnalytics(history, max_groups=groups)
        for number in range(errors):
            analytics.record_error(make(number))
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
        del analytics  # not before it is measured
    finally:
        tracemalloc.stop()
    return held


def best(call: Callable[[], object], times: int, rounds: int = 5) -> float:
    """Microseconds a call in the best of some rounds."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(times):
            call()
        found.append((time.perf_counter() - began) / times * 1e6)
    return min(found)


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--errors", type=int, default=100_000)
    errors = parser.parse_args().errors

    print("recorded:")
    for words, make, threads in (
        ("messages that repeat", repeating, 1),
        ("the same from 4 threads", repeating, 4),
        ("a new number in each message", numbered, 1),
        ("the same with traceback and context", traced, 1),
        ("a group of its own for each", odd, 1),
    ):
        rate = per_second(make, errors, threads)
        print(f"  {words:<38}{rate:12,.0f} errors/s {1e6 / rate:8.1f} us")

    print("memory:")
    for words, make in (
        ("messages that repeat", repeating),
        ("a new number in each message", numbered),
        ("the same with traceback and context", traced),
    ):
        few, many = memory(make, 10 * FULL, FULL, FULL), memory(make, 40 * FULL, 4 * FULL, FULL)
        print(f"  {words:<38}{few / 1024:9,.0f} KiB with {FULL:,} kept, ", end="")
        print(f"{(many - few) / (3 * FULL):,.0f} bytes for each more")
    small, large = memory(odd, FULL, 1, 1), memory(odd, FULL, 1, FULL)
    print(f"  {'a group that was seen once':<38}{(large - small) / FULL:9,.0f} bytes")
    again = memory(lambda number: odd(number % FULL), 2 * FULL, 1, FULL)
    print(f"  {'a group that was seen again':<38}{(again - small) / FULL:9,.0f} bytes")
    full = memory(lambda number: odd(number % FULL), 2 * FULL, FULL, FULL)
    print(f"  {f'{FULL:,} kept, of {FULL:,} groups':<38}{full / 1024:9,.0f} KiB")

    analytics = ErrorAnalytics()
    for number in range(errors):
        analytics.record_error(odd(number % FULL))
        analytics.record_latency(f"gpu{number % 50}", number * 1e-3)
    report = analytics.generate_report()
    print(f"asked, with {FULL:,} kept, of {FULL:,} groups:")
    for words, call, times in (
        ("get_error_rate(60)", lambda: analytics.get_error_rate(60), 2_000),
        ("get_error_rate(86_400)", lambda: analytics.get_error_rate(86_400), 2_000),
        ("get_recovery_rate()", analytics.get_recovery_rate, 500),
        ("percentiles()", lambda: analytics.percentiles("gpu1"), 50),
        ("generate_report()", analytics.generate_report, 5),
        ("as HTML", lambda: render(report, "html"), 5),
        ("as Markdown", lambda: render(report, "markdown"), 5),
        ("as JSON", lambda: render(report, "json"), 5),
    ):
        print(f"  {words:<38}{best(call, times):12,.1f} us")


if __name__ == "__main__":
    main()
