"""An aiohttp session whose requests are retried, limited in time and guarded, host by host."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import web

from holdfast import Backoff, CircuitBreaker, Pipeline, Retry, Timeout
from holdfast.integrations.aiohttp import resilient


def guard(host: str) -> Pipeline:
    """One pipeline for each host: a host that is down does not stop calls to the others."""
    return Pipeline(
        Timeout(30),
        Retry(max_attempts=3, backoff=Backoff.exponential(initial=0.01)),
        CircuitBreaker(host),
        Timeout(5),
    )


async def main(url: str) -> None:
    async with aiohttp.ClientSession(middlewares=[resilient(guard, per_host=True)]) as session:
        async with session.get(f"{url}/flaky") as response:
            print("GET /flaky:", response.status, await response.text())
        async with session.post(f"{url}/flaky") as response:
            print("POST /flaky:", response.status, "(sent once: it may have been carried out)")
        async with session.post(f"{url}/flaky", headers={"Idempotency-Key": "7"}) as response:
            print("POST /flaky with a key:", response.status, await response.text())


async def demo() -> None:
    """Run `main` against a server that refuses every other request."""
    asked = 0

    async def flaky(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked % 2:
            return web.Response(status=503, headers={"Retry-After": "0"})
        return web.Response(text=f"answered request {asked}")

    app = web.Application()
    app.router.add_route("*", "/flaky", flaky)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        await main(f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


asyncio.run(demo())
