"""A reverse proxy in front of a server, that changes what passes, as proxies and old servers do."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
from aiohttp import web

Change = Callable[[web.Request, bytes], Awaitable[bytes | web.Response]]
"""Gets a request and its body; returns the body to pass on, or an answer of its own."""


@contextlib.asynccontextmanager
async def proxied(url: str, change: Change) -> AsyncIterator[str]:
    """The address of a proxy in front of ``url``."""
    async with aiohttp.ClientSession() as session:

        async def pass_on(request: web.Request) -> web.StreamResponse:
            if request.path == "/ws":
                return await _relay(session, url, request)
            changed = await change(request, await request.read())
            if isinstance(changed, web.Response):
                return changed
            headers = {"Content-Type": "application/json"}
            target = url + str(request.rel_url)
            async with session.request(
                request.method, target, data=changed, headers=headers
            ) as answer:
                body = await answer.read()
                return web.Response(
                    status=answer.status, body=body, content_type=answer.content_type
                )

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", pass_on)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def _relay(
    session: aiohttp.ClientSession, url: str, request: web.Request
) -> web.WebSocketResponse:
    here = web.WebSocketResponse()
    await here.prepare(request)
    async with session.ws_connect(url + str(request.rel_url)) as there:
        async for frame in there:
            if frame.type is aiohttp.WSMsgType.TEXT:
                await here.send_str(frame.data)
    return here
