"""Time limits: of the whole call, of one attempt, and for lack of progress."""

from __future__ import annotations

import asyncio
import time

from holdfast import Backoff, Deadline, IdleTimeoutError, Pipeline, Retry, Timeout, progress

pipeline = Pipeline(
    Timeout(2.0), Retry(max_attempts=3, backoff=Backoff.none()), Timeout(0.05), name="render"
)
durations = iter([1.0, 1.0, 0.01])


async def render() -> str:
    deadline = Deadline.current()
    assert deadline is not None
    assert deadline.remaining() <= 0.05
    await asyncio.sleep(next(durations))
    return "a picture"


async def steps(count: int, seconds: float) -> str:
    for _ in range(count):
        await asyncio.sleep(seconds)
        progress()
    return f"{count} steps"


def slow() -> str:
    time.sleep(0.3)
    return "too late"


async def main() -> None:
    outcome = await pipeline.outcome(render)
    print(outcome.value, "after", outcome.attempts, "attempts")

    alive = Timeout(idle=0.1)
    print(await alive.execute(steps, 6, 0.03), "took longer than 0.1 s, and were never silent")
    try:
        await alive.execute(steps, 1, 5.0)
    except IdleTimeoutError as error:
        print("stalled:", error)

    began = time.perf_counter()
    try:
        Timeout(0.05, thread=True).call(slow)
    except TimeoutError:
        print("gave up a thread:", time.perf_counter() - began < 0.25)


asyncio.run(main())
