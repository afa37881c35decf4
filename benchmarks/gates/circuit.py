"""A breaker seen from outside: what gets through, and nothing else.

States have other names in every library, so no probe reads one. A call got
through if the protected function ran.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.peers.contract import Factory, Peer

# What the dependency fails with. The built-in type itself, because one library
# goes by the type's name and would not count a subclass.
UNWELL = ConnectionError


class AsyncCircuit:
    """One breaker of a peer around a function that does as it is told."""

    def __init__(self, factory: Factory, **settings: Any) -> None:
        async def perform(action: Callable[[], Awaitable[Any]]) -> Any:
            self.reached += 1
            return await action()

        self.reached = 0
        """Calls that got through."""
        self.call = factory(perform, **settings)

    async def fail(self) -> bool:
        """Make a call that fails; whether it got through."""

        async def action() -> None:
            raise UNWELL("down")

        return await self._reaches(action)

    async def succeed(self) -> bool:
        """Make a call that succeeds; whether it got through."""

        async def action() -> None:
            return None

        return await self._reaches(action)

    async def _reaches(self, action: Callable[[], Awaitable[Any]]) -> bool:
        before = self.reached
        try:
            await self.call(action)
        except Exception:  # noqa: BLE001  rejections and failures have many types
            return self.reached > before
        return self.reached > before

    async def begin(self, outcome: asyncio.Future[None]) -> asyncio.Task[Any]:
        """Start a call that lasts until `outcome` is set; it has begun when this returns."""

        async def action() -> None:
            await outcome

        before = self.reached
        task = asyncio.create_task(_quiet(self.call(action)))
        for _ in range(20):
            await asyncio.sleep(0)
            if self.reached > before:
                break
        return task


async def _quiet(call: Awaitable[Any]) -> None:
    # The probe looks at the breaker, not at the error.
    with contextlib.suppress(Exception):
        await call


class SyncCircuit:
    """The same for plain functions."""

    def __init__(self, factory: Factory, **settings: Any) -> None:
        def perform(action: Callable[[], Any]) -> Any:
            self.reached += 1
            return action()

        self.reached = 0
        """Calls that got through."""
        self.call = factory(perform, **settings)

    def fail(self) -> Exception | None:
        """Make a call that fails; what was raised."""

        def action() -> None:
            raise UNWELL("down")

        try:
            self.call(action)
        except Exception as error:  # noqa: BLE001  rejections and failures have many types
            return error
        return None

    def succeed(self) -> bool:
        """Make a call that succeeds; whether it got through."""
        before = self.reached
        try:
            self.call(lambda: None)
        except Exception:  # noqa: BLE001  rejections have many types
            return self.reached > before
        return self.reached > before


def in_own_loop(factory: Factory) -> Factory:
    """An asynchronous factory as a synchronous one, for probes that move clocks, not tasks."""
    loop = asyncio.new_event_loop()

    def build(fn: Callable[..., Any], **settings: Any) -> Callable[..., Any]:
        async def later(*args: Any) -> Any:
            return fn(*args)

        async def decorate() -> Callable[..., Awaitable[Any]]:
            return factory(later, **settings)

        guarded = loop.run_until_complete(decorate())
        return lambda *args: loop.run_until_complete(guarded(*args))

    return build


def sync_breaker(peer: Peer) -> Factory | None:
    """The peer's breaker for plain functions, in a loop of its own if it needs one."""
    if peer.breaker_sync is None and peer.breaker_async is not None:
        return in_own_loop(peer.breaker_async)
    return peer.breaker_sync
