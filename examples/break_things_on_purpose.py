"""Inject faults and delays, and see whether the pipeline survives them."""

from __future__ import annotations

from holdfast import Backoff, Chaos, Pipeline, Retry, Timeout
from holdfast.testing import FakeClock


def load(page: int) -> str:
    return f"page {page}"


# Innermost, in place of the dependency. With a seed every run is struck alike.
faults = Chaos.fault(ConnectionError, rate=0.2, seed=7, drill="game-day", name="faults")
delays = Chaos.latency((0.5, 3.0), rate=0.1, seed=8, drill="game-day", name="delays")

pipeline = Pipeline(
    Timeout(30),
    Retry(max_attempts=4, backoff=Backoff.exponential(initial=0.1, jitter=0)),
    delays,
    faults,
)

with FakeClock():  # the delays are real ones; here they pass at once
    calm = [pipeline.call_outcome(load, page) for page in range(200)]
    print(f"without a drill: {sum(outcome.ok for outcome in calm)} of 200 succeed")

    with Chaos.only_in("game-day"):
        drill = [pipeline.call_outcome(load, page) for page in range(200)]
    print(f"in the drill:    {sum(outcome.ok for outcome in drill)} of 200 succeed")
    print(f"injected:        {faults.snapshot()['injected']} faults", end=", ")
    print(f"{delays.snapshot()['injected']} delays")
    print("slowest call:   ", f"{max(outcome.elapsed for outcome in drill):.1f} s")

    struck = next(outcome for outcome in drill if outcome.history)
    print("one that was struck:")
    for step in struck.steps:
        print("  ", step)

    Chaos.all_off()  # the emergency stop, for the whole process
    with Chaos.only_in("game-day"):
        print("after all_off:  ", pipeline.call_outcome(load, 1).steps or "nothing injected")
