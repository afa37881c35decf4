"""What a durable queue costs: `python -m benchmarks.jobs [--jobs 100000] [--url URL]`.

Figures: jobs accepted a second, by one caller that waits for each, by many callers at once (whose
jobs share commits) and in batches; jobs claimed and ended a second; and how memory and speed are
while the store fills. Without ``--url`` it is a SQLite file in a folder that is removed afterwards.
Every answer that is counted came after a commit to the disk.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from holdfast.stores.jobs import JobState, JobStore, NewJob

GRAPH = {str(n): {"class_type": "KSampler", "inputs": {"seed": n, "steps": 20}} for n in range(12)}
"""About as large as a plain workflow."""
ROUND = 300


def new(number: int) -> NewJob:
    """One of many, of ten users and three kinds."""
    return NewJob(
        {"graph": GRAPH | {"seed": number}},
        user=f"user {number % 10}",
        signature=f"kind {number % 3}",
        prompt=f"a lighthouse at dusk, number {number}",
        priority=number % 2,
    )


def timed(call: Callable[[], object], times: list[float]) -> None:
    """Run it, and keep how many milliseconds it took."""
    began = time.perf_counter()
    call()
    times.append((time.perf_counter() - began) * 1e3)


def show(words: str, count: int, seconds: float, times: list[float]) -> None:
    """One line of the table."""
    high = statistics.quantiles(times, n=100)[98]
    print(
        f"{words:<44}{count / seconds:9,.0f} /s   "
        f"median {statistics.median(times):7.2f} ms, 99 % {high:7.2f} ms",
        flush=True,
    )


def one_by_one(words: str, call: Callable[[int], object]) -> None:
    """One caller that waits for each answer."""
    times: list[float] = []
    began = time.perf_counter()
    for number in range(ROUND):
        timed(lambda number=number: call(number), times)  # type: ignore[misc]  # bound at once
    show(words, ROUND, time.perf_counter() - began, times)


def at_once(store: JobStore, callers: int) -> None:
    """Many callers, each of which waits for its answer."""
    times: list[float] = []
    each = max(10, 2_000 // callers)

    def work() -> None:
        for number in range(each):
            timed(lambda number=number: store.accept([new(number)]).result(), times)  # type: ignore[misc]

    threads = [threading.Thread(target=work) for _ in range(callers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    show(f"accept, {callers} callers at once", len(times), time.perf_counter() - began, times)


def work_off(store: JobStore, limit: int) -> tuple[float, float]:
    """Claims and ends a second, ``limit`` jobs at a time."""
    claiming = ending = 0.0
    done = 0
    while done < ROUND:
        began = time.perf_counter()
        claims = store.claim("bench", limit).result()
        claimed = time.perf_counter()
        ended = [
            store.settle(each.job.id, each.fence, JobState.DELIVERED, {"seconds": 2.0})
            for each in claims
        ]
        for future in ended:
            future.result()
        claiming += claimed - began
        ending += time.perf_counter() - claimed
        done += len(claims)
    return done / claiming, done / ending


def fill(store: JobStore, jobs: int) -> None:
    """Accept many, and look how memory and speed are on the way."""
    print(f"{'jobs in the store':>20}{'accepts/s':>12}{'claims/s':>10}{'ends/s':>9}{'MiB':>8}")
    step, there = max(jobs // 5, 500), 0
    while there < jobs:
        began = time.perf_counter()
        for start in range(there, there + step, 500):
            store.accept([new(number) for number in range(start, start + 500)]).result()
        rate = step / (time.perf_counter() - began)
        there += step
        claims, ends = work_off(store, 1)
        memory = resident()
        print(f"{there:>20,}{rate:>12,.0f}{claims:>10,.0f}{ends:>9,.0f}{memory:>8,.0f}", flush=True)


def resident() -> float:
    """MiB of this process now."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def best(words: str, call: Callable[[], object]) -> None:
    """Milliseconds of a question, the best of some."""
    times: list[float] = []
    for _ in range(5):
        timed(call, times)
    print(f"  {words:<32}{min(times):10.1f} ms")


def measure(store: JobStore, jobs: int) -> None:
    """Print everything."""
    one_by_one("accept, one by one", lambda n: store.accept([new(n)]).result())
    for callers in (8, 64, 256):
        at_once(store, callers)
    one_by_one("claim, one by one", lambda _n: store.claim("bench").result())
    fill(store, jobs)
    print("questions about all of them:")
    best("counts()", store.counts)
    best("counts(user=)", lambda: store.counts(user="user 3"))
    best("jobs(limit=100)", store.jobs)
    best("jobs(user=, limit=100)", lambda: store.jobs(user="user 3"))
    best("jobs(search=) through all", lambda: store.jobs(search="number 1 ", limit=100))
    best("eta()", store.eta)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--url", help="a database that is empty; it is left filled")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = JobStore(options.url or Path(folder) / "jobs.db", max_queued=10_000_000)
        print(store.shown)
        measure(store, options.jobs)
        store.close()


if __name__ == "__main__":
    main()
