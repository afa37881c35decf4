"""Try again, later, and not for ever: as a decorator, and around a block of code."""

from __future__ import annotations

import asyncio

from holdfast import Backoff, Deadline, Retry, report_of

retry = Retry(max_attempts=4, backoff=Backoff.exponential(initial=0.01, maximum=1.0, jitter="full"))
answers = iter([ConnectionError("refused"), TimeoutError("no answer"), "a picture"])


@retry
async def fetch() -> str:
    answer = next(answers)
    if isinstance(answer, Exception):
        raise answer
    return answer


async def main() -> None:
    print("decorated:", await fetch())

    tries = 0
    async for attempt in retry.attempts():
        with attempt:
            tries += 1
            if tries < 3:
                raise ConnectionError("refused")
    print("as a block:", tries, "attempts")

    # No wait is begun that would outlast the deadline; the error keeps its type and its story.
    patient = Retry(max_attempts=5, backoff=Backoff.fixed(60.0))
    try:
        with Deadline.after(0.05):
            await patient.execute(always_refused)
    except ConnectionError as error:
        print(type(error).__name__, "-", error.__notes__[-1])
        report = report_of(error)
        print("attempts made:", len(report.history) if report else 0)


async def always_refused() -> None:
    raise ConnectionError("refused")


asyncio.run(main())
