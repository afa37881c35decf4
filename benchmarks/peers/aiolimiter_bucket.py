"""aiolimiter: a leaky bucket for asyncio, used as a block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiolimiter import AsyncLimiter

from benchmarks.peers.contract import Peer


def limiter(fn: Callable[..., Any], *, rate: float, per: float) -> Callable[..., Any]:
    bucket = AsyncLimiter(rate, per)

    async def limited(*args: Any) -> Any:
        async with bucket:
            return await fn(*args)

    return limited


PEER = Peer(name="aiolimiter", limiter_async=limiter)
