"""A file server over real sockets that does what servers of models do to people."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Mirror:
    """Files by path, and what goes wrong with each next request, in order."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[dict] = field(default_factory=list)
    seen: list[web.Request] = field(default_factory=list)
    etags: bool = True
    ranges: bool = True
    url: str = ""
    handler: Callable[[web.Request], web.Response] | None = None
    """Answers in place of the files."""

    @property
    def host(self):
        return self.url.removeprefix("http://")

    @property
    def asked(self):
        """The Range headers of the requests, in order."""
        return [request.headers.get("Range") for request in self.seen]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        if self.handler is not None:
            return self.handler(request)
        fault = self.faults.pop(0) if self.faults else {}
        if "status" in fault:
            return web.Response(status=fault["status"], headers=fault.get("headers", {}))
        if "body" in fault:
            return web.Response(body=fault["body"], content_type=fault.get("type", "text/html"))
        content = self.files.get(request.path)
        if content is None:
            return web.Response(status=404)
        return await self._send(request, content, fault)

    async def _send(self, request, content, fault):
        etag = '"' + hashlib.md5(content).hexdigest() + '"'  # noqa: S324
        headers = {"ETag": fault.get("etag", etag)} if self.etags else {}
        begin, status = 0, 200
        asked = request.headers.get("Range")
        same = request.headers.get("If-Range") in (None, etag)
        if asked and self.ranges and (same or fault.get("blind")):
            begin, status = int(asked.removeprefix("bytes=").partition("-")[0]), 206
            if begin >= len(content):
                return web.Response(
                    status=416, headers={"Content-Range": f"bytes */{len(content)}"}
                )
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        headers |= fault.get("headers", {})
        response = web.StreamResponse(status=status, headers=headers)
        if not fault.get("chunked"):
            response.content_length = fault.get("length", len(content) - begin)
        await response.prepare(request)
        body = content[begin : fault.get("end", len(content))]
        cut = fault.get("cut")
        await response.write(body if cut is None else body[:cut])
        if cut is not None or fault.get("abort"):
            # What was sent arrives; what a client has not taken up when it breaks off is lost.
            await asyncio.sleep(0.05)
            if fault.get("hold") is not None:
                await fault["hold"].wait()
            request.transport.close()
            return response
        await response.write_eof()
        return response


@contextlib.asynccontextmanager
async def serving(files=None, *faults, **settings) -> AsyncIterator[Mirror]:
    """A mirror on a free port."""
    mirror = Mirror(dict(files or {}), list(faults), **settings)
    app = web.Application()
    app.router.add_get("/{path:.*}", mirror.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    mirror.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield mirror
    finally:
        await runner.cleanup()
