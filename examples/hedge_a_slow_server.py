"""Ask once more when an answer takes longer than usual; the first one to come is taken."""

from __future__ import annotations

import asyncio

from holdfast import Hedge, RetryBudget

SECONDS = iter([0.01, 2.0, 0.01, 0.01])


async def search(words: str) -> str:
    seconds = next(SECONDS)  # one answer in a hundred is slow; here, the second one
    await asyncio.sleep(seconds)
    return f"{words}: found in {seconds:g} s"


async def main() -> None:
    hedge = Hedge(after=0.2, budget=RetryBudget(ratio=0.1, floor=3))
    for words in ("cats", "dogs", "birds"):
        outcome = await hedge.outcome(search, words)
        print(f"{outcome.value} ({outcome.attempts} calls)")
        for step in outcome.steps:
            print("   ", step)


asyncio.run(main())
