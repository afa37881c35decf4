"""Stay below a rate: refuse the surplus, or let it wait for its turn."""

from __future__ import annotations

import asyncio
import time

from holdfast import RateLimitedError, RateLimiter

per_client = RateLimiter(3, per=60.0)
for number in range(1, 5):
    try:
        print(per_client.call(lambda n=number: f"request {n}: served"))
    except RateLimitedError as error:
        print(f"request {number}: refused, come back in {error.retry_after:.0f} s")

api = RateLimiter(20, per=1.0, burst=1, wait=True, max_wait=5.0)


@api
async def ask(question: str) -> str:
    return question.upper()


async def main() -> None:
    began = time.monotonic()
    answers = await asyncio.gather(*(ask(word) for word in ("one", "two", "three", "four")))
    print(f"{', '.join(answers)}: 0.15 s apart in all, took {time.monotonic() - began:.2f} s")


asyncio.run(main())
