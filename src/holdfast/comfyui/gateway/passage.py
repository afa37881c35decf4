"""Everything else: passed on to one server as it is, whatever it is.

The page and what custom nodes add come from the first server that is up, so it
is always the same one while it lives. A path cannot lead to another host, no
redirect is followed, and neither the gateway's own secrets nor what is for one
connection only is passed on.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from urllib.parse import unquote, urlencode

import aiohttp
import yarl
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from holdfast.comfyui.gateway.desk import Desk
from holdfast.comfyui.gateway.exchange import allowed, refuse_oversized, unavailable
from holdfast.comfyui.gateway.guard import Refusal, too_large
from holdfast.comfyui.gateway.references import Named
from holdfast.comfyui.server import Server
from holdfast.comfyui.status import ServerState
from holdfast.ports import ambient

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
"""How long a server may take to begin its answer to a GET; other requests get ten times as long."""
IDLE_SECONDS = 60.0
"""How long an answer may stop in between."""
SHUN_SECONDS = 3.0
"""How long a server that could not be reached is tried last."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_READING = frozenset({"GET", "HEAD", "OPTIONS"})

VIA = "x-holdfast-via"
"""The header by which gateways know what they have passed on already."""
_MOST_GATEWAYS = 5

_HOP = frozenset(
    {
        *(
            "connection",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authorization",
            "proxy-connection",
        ),
        *("te", "trailer", "trailers", "transfer-encoding", "upgrade"),
    }
)
"""Headers that are for one connection only."""
_NOT_ASKED = _HOP | {
    *("host", "content-length", "expect", "authorization", "cookie", "x-api-key"),
    # A server compares where a request comes from with its own address. That is ours to judge.
    *("origin", "referer", "forwarded", "x-real-ip"),
}
_NOT_TOLD = _HOP | {
    *("content-length", "set-cookie", "server", "date", "www-authenticate"),
    *("access-control-allow-origin", "access-control-allow-credentials"),
    *("access-control-allow-methods", "access-control-allow-headers"),
}
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")


class Passage:
    """Passes requests on. Belongs to one event loop."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._session: aiohttp.ClientSession | None = None
        self._shunned: dict[str, float] = {}
        self._name = secrets.token_hex(8)

    async def start(self) -> None:
        """Open the pool of connections."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=64),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_SECONDS, sock_read=IDLE_SECONDS * 5
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close it."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def handle(self, request: Request) -> Response:
        """Pass any request on to the first server that can be reached."""
        reading = request.method in _READING
        allowed(request, "view" if reading else "run")
        target = target_of(request)
        limit = self._desk.limits.upload_bytes
        refuse_oversized(request, limit)
        via = list(_listed(request.headers.get(VIA, "")))
        if self._name in via or len(via) >= _MOST_GATEWAYS:
            words = "One of the gateway's servers is the gateway itself"
            return unavailable(words, status=508)
        headers = _asked(request) | {VIA: ", ".join([*via, self._name])}
        for server in self._order():
            body = None if reading else _body(request, limit)
            answer = await self._ask(server, request.method, target, headers, body)
            if isinstance(answer, aiohttp.ClientResponse):
                return _told(answer)
            # What may have been received is not sent a second time.
            if not reading and not answer:
                return unavailable("The server did not answer; it may have done it", status=502)
            if not reading:
                break
        return unavailable("No ComfyUI server can be reached now", retry_after=5.0)

    async def first_found(
        self, request: Request, path: str, query: Mapping[str, str], safe: Mapping[str, str]
    ) -> Response:
        """A file from the first server that has it.

        Args:
            request: who asks; their headers about parts and copies are passed on.
            path: of the file.
            query: of the file.
            safe: headers that say how a browser must take it, instead of the server's.
        """
        reached = False
        headers = {
            name: value
            for name in ("range", "if-none-match", "if-modified-since", "if-range")
            if (value := request.headers.get(name)) is not None
        }
        for server in self._order():
            answer = await self._ask(server, "GET", f"{path}?{urlencode(query)}", headers, None)
            if not isinstance(answer, aiohttp.ClientResponse):
                continue
            reached = True
            if answer.status in (200, 206, 304, 416):
                told = _told(answer)
                kind = answer.headers.get("content-type", "")
                for name, value in safe.items():
                    if name != "content-type" or not kind.startswith("image/") or "svg" in kind:
                        told.headers[name] = value
                return told
            answer.release()
        if reached:
            return Response(status_code=404)
        return unavailable("No ComfyUI server can be reached now", retry_after=5.0)

    async def fetch_file(self, file: Named, limit: int) -> bytes | None:
        """A whole file from the first server that has it; None if none has."""
        query = urlencode(
            {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        )
        for server in self._order():
            answer = await self._ask(server, "GET", f"/view?{query}", {}, None)
            if not isinstance(answer, aiohttp.ClientResponse):
                continue
            async with answer:
                if answer.status != 200:
                    continue
                read = bytearray()
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                    async for chunk in answer.content.iter_any():
                        read += chunk
                        if len(read) > limit:
                            return None
                    return bytes(read)
        return None

    # Asking -----------------------------------------------------------------------------

    def _order(self) -> list[Server]:
        """The servers, those that are known to be down at the end."""
        now = ambient.now()
        down = {each.name for each in self._desk.comfy.status() if each.state in _DOWN}

        def rank(server: Server) -> bool:
            return server.name in down or self._shunned.get(server.name, 0.0) > now

        return sorted(self._desk.servers(), key=rank)

    async def _ask(
        self,
        server: Server,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: AsyncIterator[bytes] | None,
    ) -> aiohttp.ClientResponse | bool:
        """The answer of a server, or whether the request was certainly not received."""
        assert self._session is not None  # noqa: S101 - started before the first request
        address = server.address
        auth = (
            None
            if address.user is None
            else aiohttp.BasicAuth(address.user, address.password or "")
        )
        seconds = READ_SECONDS if method in _READING else 10 * READ_SECONDS
        try:
            async with asyncio.timeout(seconds):
                return await self._session.request(
                    method,
                    yarl.URL(f"{address.url}{target}", encoded=True),
                    headers=headers,
                    data=body,
                    auth=auth,
                    allow_redirects=False,
                )
        except aiohttp.ClientConnectorError:
            self._shunned[server.name] = ambient.now() + SHUN_SECONDS
            return True
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            cause = error.__cause__
            if isinstance(cause, Refusal | ClientDisconnect):
                raise cause from None
            self._shunned[server.name] = ambient.now() + SHUN_SECONDS
            return False


_DOWN = frozenset({ServerState.DOWN, ServerState.ALIEN})


def target_of(request: Request) -> str:
    """Path and query to ask a server for, as they were sent.

    Raises:
        Refusal: the path could be read in more than one way.
    """
    raw = request.scope.get("raw_path") or request.url.path.encode()
    path = raw.decode("latin-1").split("?", 1)[0]
    query = request.scope.get("query_string", b"").decode("latin-1")
    if not path.startswith("/") or not path.isascii() or not query.isascii():
        raise Refusal("invalid_path", "The path must be plain ASCII")
    if _FORBIDDEN.search(path + query) or "#" in path + query:
        raise Refusal("invalid_path", "The path has characters that no path has")
    decoded = unquote(path)
    if "\\" in decoded or any(ord(each) < 32 for each in decoded):
        raise Refusal("invalid_path", "The path has characters that no path has")
    parts = decoded.split("/")[1:]
    if any(each in (".", "..") for each in parts) or "" in parts[:-1]:
        raise Refusal("invalid_path", "The path must not lead up or nowhere")
    return f"{path}?{query}" if query else path


def _asked(request: Request) -> dict[str, str]:
    """The headers that are passed on to a server."""
    headers = request.headers
    dropped = _NOT_ASKED | set(_listed(headers.get("connection", "")))
    kept = {
        name: value
        for name, value in headers.items()
        if name not in dropped and not name.startswith(("x-forwarded-", "sec-", "proxy-"))
    }
    length = headers.get("content-length")
    if length is not None and request.method not in _READING:
        kept["content-length"] = length
    return kept


def _listed(header: str) -> Iterator[str]:
    return (each.strip().lower() for each in header.split(",") if each.strip())


async def _body(request: Request, limit: int) -> AsyncIterator[bytes]:
    taken = 0
    async for chunk in request.stream():
        taken += len(chunk)
        if taken > limit:
            raise too_large(limit)
        if chunk:
            yield chunk


def _told(answer: aiohttp.ClientResponse) -> Response:
    """A server's answer, as it comes."""
    dropped = _NOT_TOLD | set(_listed(answer.headers.get("connection", "")))
    headers = {
        name.lower(): value for name, value in answer.headers.items() if name.lower() not in dropped
    }
    location = headers.get("location")
    if location is not None and not (location.startswith("/") and location[1:2] not in ("/", "\\")):
        del headers["location"]  # to no other host, and not past the gateway
    headers.setdefault("x-content-type-options", "nosniff")
    length = answer.headers.get("content-length")
    if length is not None and answer.method != "HEAD":
        headers["content-length"] = length

    async def pieces() -> AsyncIterator[bytes]:
        try:
            async for chunk in answer.content.iter_any():
                yield chunk
        finally:
            answer.close()

    async def let_go() -> None:
        answer.close()

    if answer.method == "HEAD" or answer.status in (204, 304):
        answer.release()
        return Response(status_code=answer.status, headers=headers)
    return StreamingResponse(pieces(), answer.status, headers, background=BackgroundTask(let_go))
