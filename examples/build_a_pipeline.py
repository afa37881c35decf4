"""Policies put together: order, worst case, outcome, state, and a good end."""

from __future__ import annotations

import asyncio

from holdfast import (
    BadInputError,
    Bulkhead,
    CircuitBreaker,
    Fallback,
    Pipeline,
    Retry,
    Timeout,
)

pipeline = Pipeline(
    Fallback([]),
    Timeout(30.0),
    Retry(max_attempts=3),
    CircuitBreaker("search"),
    Bulkhead(16),
    Timeout(5.0),
    name="search",
)


@pipeline
async def search(words: str) -> list[str]:
    return [f"a page about {words}"]


async def main() -> None:
    print(pipeline.explain())
    print(await search("lighthouses"))
    outcome = await pipeline.outcome(search.__wrapped__, "storms")  # type: ignore[attr-defined]
    print(outcome.ok, outcome.value, outcome.attempts)
    print(list(pipeline.snapshot()["policies"]))
    try:
        Pipeline(Timeout(5.0), Retry(), Timeout(30.0))
    except BadInputError as error:
        print("refused:", error)
    print(await pipeline.aclose(limit=1.0))


asyncio.run(main())
