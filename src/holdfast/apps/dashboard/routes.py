"""What the dashboard serves beside its pages: thumbnails, files, and the choice of colours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import quote

from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, request_response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from holdfast.apps.dashboard.caller import Renew, visitor_of
from holdfast.apps.dashboard.caller import Scope as Right
from holdfast.apps.dashboard.sources import DashboardSource
from holdfast.apps.dashboard.thumbnails import Blobs, Thumbnails, is_sha256

THEME_COOKIE = "holdfast_theme"
THEMES = ("auto", "light", "dark")
_YEAR = 365 * 86_400
_PARTS = "/_nicegui"
"""What pages are made of has this in its address; open pages go on when no new ones are."""

_POLICY = (
    "default-src 'self'; "
    # NiceGUI compiles its templates in the browser.
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws: wss:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
)


class Guarded:
    """An app for those who may open the dashboard.

    Its answers forbid the browser to load anything from elsewhere, and to show it in a frame.
    """

    def __init__(
        self,
        app: ASGIApp,
        renew: Renew | None = None,
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self.app = app
        self._renew = renew
        self._crowded = crowded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, with those headers added."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        if scope["type"] in ("http", "websocket"):
            visitor = visitor_of(HTTPConnection(scope), self._renew)
            if not visitor.can(Right.READ):
                await _closed(scope, receive, guarded, visitor.why_not(Right.READ))
                return
        # Each page that is asked for takes memory for a minute at least, even if nobody opens it.
        if scope["type"] == "http" and _PARTS not in scope["path"] and self._crowded():
            again = {"Retry-After": "30"}
            full = PlainTextResponse("too many pages are open; try again soon", 503, again)
            await full(scope, receive, guarded)
            return
        await self.app(scope, receive, guarded)


async def _closed(scope: Scope, receive: Receive, send: Send, why_not: str) -> None:
    if scope["type"] == "websocket":
        await WebSocketClose(1008, "not allowed")(scope, receive, send)
    else:
        await PlainTextResponse(why_not, 403)(scope, receive, send)


def theme_of(request: Request) -> str:
    """The colours that were chosen: ``auto``, ``light`` or ``dark``."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else THEMES[0]


def routes(
    source: DashboardSource, blobs: Blobs, prefix: str, renew: Renew | None = None
) -> list[Route]:
    """The routes, to be put before the one of the pages."""
    thumbnails = Thumbnails(blobs)

    async def may_see(request: Request, sha256: str) -> bool:
        only = visitor_of(request, renew).only
        return is_sha256(sha256) and await source.owns_file(sha256, only)

    async def thumb(request: Request) -> Response:
        sha256 = request.path_params["sha256"]
        if not await may_see(request, sha256):
            return _none()
        drawn = await asyncio.to_thread(thumbnails.get, sha256)
        if drawn is None:
            return _none()
        return Response(drawn, media_type="image/webp", headers=_lasting(request))

    async def file(request: Request) -> Response:
        sha256 = request.path_params["sha256"]
        if not await may_see(request, sha256):
            return _none()
        path = await asyncio.to_thread(blobs.path, sha256)
        if path is None:
            return _none()
        # Always as a download: a file of a stranger is never opened as a page of this host.
        return FileResponse(
            path,
            media_type="application/octet-stream",
            filename=request.path_params["name"].replace("\\", "/").rpartition("/")[2] or sha256,
            content_disposition_type="attachment",
            headers=_lasting(request),
        )

    async def theme(request: Request) -> Response:
        to, back = request.query_params.get("to", ""), request.query_params.get("back", "")
        chosen = to if to in THEMES else THEMES[0]
        # Relative, so that it holds behind a proxy, too, and can lead nowhere else.
        answer = RedirectResponse("./" + quote(back.lstrip("/\\."), safe="/?=&%"), status_code=303)
        answer.set_cookie(
            THEME_COOKIE, chosen, max_age=_YEAR, path=prefix, httponly=True, samesite="lax"
        )
        return answer

    async def begin(_request: Request) -> Response:
        return RedirectResponse(prefix.rpartition("/")[2] + "/", status_code=307)

    return [
        Route(prefix, begin),
        Route(f"{prefix}/thumb/{{sha256}}", Guarded(request_response(thumb), renew)),
        Route(f"{prefix}/file/{{sha256}}/{{name:path}}", Guarded(request_response(file), renew)),
        Route(f"{prefix}/theme", theme),
    ]


def _none() -> Response:
    return PlainTextResponse("there is no such file", 404)


def _lasting(request: Request) -> dict[str, str]:
    """The name of a file is its content, so it never changes; but who may see it does."""
    return {
        "Cache-Control": "private, max-age=3600",
        "Vary": "Cookie, Authorization",
        "ETag": f'"{request.path_params["sha256"]}"',
    }
