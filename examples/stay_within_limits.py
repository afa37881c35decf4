"""So many at once and no more: a bulkhead with a fair queue."""

from __future__ import annotations

import asyncio

from holdfast import Bulkhead, BulkheadFullError

gpu = Bulkhead(max_concurrent=1, max_queue=2, max_wait=5.0, name="gpu")


async def render(number: int) -> int:
    await asyncio.sleep(0.01)
    return number


async def main() -> None:
    asked = [gpu.execute(render, number) for number in range(4)]
    for got in await asyncio.gather(*asked, return_exceptions=True):
        print("refused" if isinstance(got, BulkheadFullError) else f"picture {got}")
    print(gpu.snapshot())


asyncio.run(main())
