"""A request that must not be carried out twice: look it up before repeating it."""

from __future__ import annotations

import asyncio

from holdfast import Backoff, Found, Idempotency, Lookup, Retry, current_scope

ORDERS: dict[str, str] = {}


async def order(item: str) -> str:
    """Carries the order out, and loses the answer."""
    scope = current_scope()
    assert scope is not None
    assert scope.key is not None
    ORDERS[scope.key] = f"one {item}"
    raise ConnectionResetError("the answer was lost")


async def look_up(key: str) -> Found | Lookup:
    return Found(ORDERS[key]) if key in ORDERS else Lookup.ABSENT


retry = Retry(backoff=Backoff.fixed(0.01), idempotency=Idempotency.unsafe(reconcile=look_up))


async def main() -> None:
    print("result:", await retry.execute(order, "poster"))
    print("orders carried out:", len(ORDERS))


asyncio.run(main())
