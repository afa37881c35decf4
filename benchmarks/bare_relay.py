"""A relay that keeps nothing: what any Python process between client and server costs.

It hands on `POST /prompt` and the frames of the socket, and knows neither jobs nor files. What the
gateway takes above this is what it does: to keep jobs, and to fetch their files before it says that
they are done. Run with ``python -m benchmarks.bare_relay PORT SERVER``.
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp
from aiohttp import web


def relay(server: str) -> web.Application:
    """What to serve before ``server``."""
    app = web.Application()

    async def session(app: web.Application):  # noqa: ANN202 - aiohttp's own kind of generator
        async with aiohttp.ClientSession() as app[_SESSION]:
            yield

    async def prompt(request: web.Request) -> web.Response:
        body = await request.read()
        how = {"data": body, "headers": {"Content-Type": "application/json"}}
        async with request.app[_SESSION].post(f"{server}/prompt", **how) as answer:
            told = await answer.read()
            return web.Response(body=told, status=answer.status, content_type=answer.content_type)

    async def socket(request: web.Request) -> web.WebSocketResponse:
        before = web.WebSocketResponse()
        await before.prepare(request)
        url = f"{server}/ws?{request.query_string}"
        async with request.app[_SESSION].ws_connect(url) as behind:

            async def down() -> None:
                async for frame in behind:
                    if frame.type is aiohttp.WSMsgType.TEXT:
                        await before.send_str(frame.data)
                    else:
                        await before.send_bytes(frame.data)

            task = asyncio.create_task(down())
            async for _ in before:
                pass
            task.cancel()
        return before

    app.cleanup_ctx.append(session)
    app.router.add_post("/prompt", prompt)
    app.router.add_get("/ws", socket)
    return app


_SESSION = web.AppKey("session", aiohttp.ClientSession)

if __name__ == "__main__":
    web.run_app(relay(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), print=None)
