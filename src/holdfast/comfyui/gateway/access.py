"""The door: every request and WebSocket passes here first, and most attacks end here.

Pure ASGI, around the whole gateway. In this order: the size of the head, the path's one reading,
who is at the other end, under which name they ask, what they show, which page makes them ask,
whether their key is good for it, how often and how many at once. Whoever gets through is ``caller``
in ``scope["state"]``; their key is taken out of the request in place, so that the server's own log
does not see it either.

Wrong keys are answered alike and in the same time, whether there is such a key or not. An address
that shows many wrong ones is turned away for it, but a right key always opens: with 256 random bits
there is nothing to guess, and so nobody is locked out by a neighbour.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import quote

from holdfast.comfyui.gateway.answers import preflight_headers, refuse, security_headers
from holdfast.comfyui.gateway.audit import AuditLog, Entry
from holdfast.comfyui.gateway.body import BodyGuard
from holdfast.comfyui.gateway.caller import EVERY_SCOPE, Caller
from holdfast.comfyui.gateway.credentials import (
    read_credentials,
    without_secrets,
    without_token,
)
from holdfast.comfyui.gateway.exposure import Exposure
from holdfast.comfyui.gateway.forbidden import READING, judge
from holdfast.comfyui.gateway.keys import Key, KeyStore, KeysUnavailableError
from holdfast.comfyui.gateway.limits import AtOnce, Rates, Refusal, header_refusal
from holdfast.comfyui.gateway.origins import (
    host_allowed,
    origin_allowed,
    peer_of,
    read_origin,
)
from holdfast.comfyui.gateway.session import COOKIES
from holdfast.integrations.asgi import App, Message, Receive, Send
from holdfast.machines.tokens import Gcra
from holdfast.ports import ambient

LOG = logging.getLogger("holdfast")
_WAITS_SECONDS = 10.0
"""Keys older than this are waited for; younger ones are used while new ones are read."""
_TOKEN_PATHS = frozenset({"/ws", "/view", "/api/ws", "/api/view"})
_GATED = frozenset({"http", "websocket"})
_WRONG = Refusal(401, "a key is needed that is good here")


class Access:
    """Lets requests in, or not."""

    def __init__(
        self, app: App, keys: KeyStore, exposure: Exposure, audit: AuditLog | None = None
    ) -> None:
        """Stand before ``app``.

        Args:
            app: the gateway.
            keys: who may enter.
            exposure: how far it is open.
            audit: where refusals and changes are noted.
        """
        self.app, self.keys, self.exposure, self.audit = app, keys, exposure, audit
        limits = exposure.limits
        self.rates = Rates(limits.rate, 1.0, limits.burst, limits.names)
        self.wrong = Rates(1.0, 6.0, limits.failed_logins, limits.names)
        # A flood of refusals must not wash away what is worth remembering.
        self.noted = Rates(1.0, 10.0, 20.0, limits.names)
        self.noted_all = Gcra(1.0, 1.0, 100.0)
        self.requests = AtOnce(limits.concurrent, limits.concurrent_all)
        self.sockets = AtOnce(limits.sockets, limits.sockets_all)
        self._reading: asyncio.Task[None] | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] not in _GATED:
            await self.app(scope, receive, send)
            return
        await _Entry(self, scope).serve(receive, send)

    async def fresh_keys(self, *, news: bool = False) -> None:
        """See that the keys in memory are recent.

        Args:
            news: read them even if they are, and wait for that.

        Raises:
            KeysUnavailableError: they could not be read for too long.
        """
        if self.keys.fresh and not news:
            return
        if self._reading is None or self._reading.done():
            reading = asyncio.to_thread(self.keys.refresh_if_due, news=news)
            self._reading = asyncio.create_task(reading, name="holdfast-keys")
            # What went wrong is told by whoever waits, or by the next who has to.
            self._reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        if news or self.keys.age > _WAITS_SECONDS:
            await asyncio.shield(self._reading)


class _Entry:
    """One request on its way in."""

    def __init__(self, door: Access, scope: MutableMapping[str, Any]) -> None:
        self._door, self._scope = door, scope
        self._limits = door.exposure.limits
        self._socket = scope["type"] == "websocket"
        self._method = "GET" if self._socket else scope["method"]
        # The last of each name: of several lists of hops it is the nearest proxy's.
        self._all: list[tuple[bytes, bytes]] = list(scope["headers"])
        self._headers = dict(self._all)
        self._peer = peer_of(
            scope.get("client"),
            scope.get("scheme", "http"),
            self._headers,
            door.exposure.proxies,
        )
        self._raw = scope.get("raw_path") or quote(scope["path"]).encode()
        self._query: bytes = scope.get("query_string", b"")
        self._judged = judge(self._method, self._raw)
        token = self._judged.path in _TOKEN_PATHS
        self._shown = read_credentials(self._all, self._query, COOKIES, token=token)
        self._caller: Caller | None = None
        self._key: Key | None = None
        self._origin = ""
        self._status = 0

    async def serve(self, receive: Receive, send: Send) -> None:
        self._clean()
        try:
            refusal = await self._judge()
        except KeysUnavailableError:
            refusal = Refusal(503, "the keys cannot be read now", 5.0)
        if refusal is not None or self._caller is None:
            refusal = refusal or _WRONG
            self._note(refusal.status, refusal.reason)
            await refuse(self._scope, receive, send, refusal, self._refusal_headers(refusal))
            return
        door = self._door
        name = self._caller.key_id or self._peer.group
        room = door.sockets if self._socket else door.requests
        if not room.enter(name):
            refusal = Refusal(429, "too many at once", 1.0)
            self._note(refusal.status, refusal.reason)
            await refuse(self._scope, receive, send, refusal, self._refusal_headers(refusal))
            return
        try:
            await self._pass(receive, send)
        finally:
            room.leave(name)

    async def _pass(self, receive: Receive, send: Send) -> None:
        scope = self._scope
        scope["state"] = {
            **(scope.get("state") or {}),
            "caller": self._caller,
            "judgement": self._judged,
        }
        extra = self._answer_headers()

        async def answer(message: Message) -> None:
            if message["type"] in {
                "http.response.start",
                "websocket.accept",
                "websocket.http.response.start",
            }:
                self._status = message.get("status", 101)
                theirs = list(message.get("headers") or ())
                names = {name.lower() for name, _ in theirs if name.lower() != b"set-cookie"}
                message["headers"] = [*theirs, *(one for one in extra if one[0] not in names)]
            await send(message)

        app = self._door.app
        try:
            if self._socket:
                await app(scope, receive, answer)
            else:
                guard = BodyGuard(app, self._limits.body_bytes)
                await guard(scope, receive, answer)
        finally:
            if self._socket or self._method not in READING:
                self._note(self._status or 500, "")

    async def _judge(self) -> Refusal | None:
        """Decide; where it lets in, the caller is known afterwards."""
        refusal = self._at_first_sight()
        if refusal is not None:
            return refusal
        if self._method == "OPTIONS" and b"access-control-request-method" in self._headers:
            return self._preflight()
        refusal = await self._who()
        if refusal is not None:
            return refusal
        return self._foreign() or self._may()

    def _at_first_sight(self) -> Refusal | None:
        target = len(self._raw) + len(self._query)
        refusal = header_refusal(self._limits, self._all, target)
        if refusal is not None:
            return refusal
        if sum(1 for name, _ in self._all if name == b"host") > 1:
            return Refusal(400, "there is more than one Host")
        if not host_allowed(self._peer.host, self._door.exposure.hosts):
            return Refusal(421, "this name is not served here; allow it with --allow-host")
        if not self._judged.allowed:
            return Refusal(self._judged.status, self._judged.reason)
        return None

    async def _who(self) -> Refusal | None:
        door, peer, shown = self._door, self._peer, self._shown
        exposure = door.exposure
        if exposure.keyless and not shown.given:
            if not peer.loopback or peer.forwarded:
                return Refusal(403, "without keys, only this machine may use this gateway")
            self._caller = Caller("", EVERY_SCOPE, "", peer.address)
            return None
        open_to_all = self._judged.need is None
        await door.fresh_keys()
        keys = door.keys
        if len(shown.keys) == 1:
            if keys.may_be_new(shown.keys[0]):
                await door.fresh_keys(news=True)
            self._key = keys.verify(shown.keys[0])
        elif shown.session and not shown.given:
            known = keys.known(exposure.sessions.key_id(shown.session) or "")
            if known and exposure.sessions.check(shown.session, known, ambient.wall()):
                self._key = known
        if self._key is None and open_to_all:
            self._caller = Caller("", frozenset(), "", peer.address)
            return None
        if self._key is None:
            return self._turn_away()
        key = self._key
        self._caller = Caller(key.user, key.scopes, key.id, peer.address, key.quotas)
        return None

    def _turn_away(self) -> Refusal:
        now, group = ambient.now(), self._peer.group
        rates = self._door.wrong if self._shown.given else self._door.rates
        wait = rates.take(group, now)
        return _WRONG if wait == 0.0 else Refusal(429, "too many wrong keys", wait)

    def _preflight(self) -> Refusal:
        origin = self._headers.get(b"origin", b"").decode("latin-1")
        allowed = self._door.exposure.origins
        if origin_allowed(origin, self._peer, allowed):
            self._origin = origin
            return Refusal(204, "")
        return Refusal(403, "this origin is not allowed")

    def _foreign(self) -> Refusal | None:
        """Refuse what a page of somebody else makes its browser ask for."""
        origin = self._headers.get(b"origin", b"").decode("latin-1")
        site = self._headers.get(b"sec-fetch-site", b"").decode("latin-1").strip().lower()
        changes = self._socket or self._method not in READING
        if origin:
            allowed = self._door.exposure.origins
            if origin_allowed(origin, self._peer, allowed):
                if read_origin(origin) in allowed:
                    self._origin = origin
                return None
            if changes or origin != "null":
                return Refusal(403, "this origin is not allowed; allow it with --allow-origin")
        # A key that the request itself brings cannot have been lent by a browser.
        lent = not self._shown.given or self._shown.basic
        if lent and site in {"cross-site", "same-site"} and not self._opens_a_page(changes=changes):
            return Refusal(403, "another site may not ask for this")
        if changes and self._shown.session and not self._shown.given and site != "same-origin":
            return Refusal(403, "a change by session must say which page asks for it")
        return None

    def _opens_a_page(self, *, changes: bool) -> bool:
        mode = self._headers.get(b"sec-fetch-mode", b"")
        dest = self._headers.get(b"sec-fetch-dest", b"")
        page = self._judged.path == "/" or self._judged.path.startswith("/holdfast")
        return not changes and page and mode == b"navigate" and dest == b"document"

    def _may(self) -> Refusal | None:
        caller, need = self._caller, self._judged.need
        if caller is None or (need is not None and not caller.can(need)):
            why = f": {self._judged.why}" if self._judged.why else ""
            return Refusal(403, f"this key is not good for {need}{why}")
        wait = self._door.rates.take(caller.key_id or self._peer.group, ambient.now())
        return None if wait == 0.0 else Refusal(429, "too many requests", wait)

    def _clean(self) -> None:
        """Take out of the request, in place, what is for this door alone."""
        scope, judged = self._scope, self._judged
        scope["query_string"] = without_token(self._query)
        scope["headers"] = without_secrets(self._all, COOKIES, trusted=self._peer.trusted)
        if judged.allowed:
            scope["path"], scope["raw_path"] = judged.path, judged.forward.encode()

    def _refusal_headers(self, refusal: Refusal) -> list[tuple[bytes, bytes]]:
        if refusal.status == 204:
            return preflight_headers(self._origin)
        headers = security_headers("/", secure=self._secure, origin=self._origin, shared=False)
        if refusal.status == 401:
            # Only who opens a page is asked for a password: elsewhere the box would be in the way.
            opens = self._headers.get(b"sec-fetch-mode", b"navigate") == b"navigate"
            if opens and b"text/html" in self._headers.get(b"accept", b""):
                headers.append((b"www-authenticate", b'Basic realm="holdfast", charset="UTF-8"'))
            else:
                headers.append((b"www-authenticate", b'Bearer realm="holdfast"'))
        elif refusal.status == 405:
            headers.append((b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))
        return headers

    def _answer_headers(self) -> list[tuple[bytes, bytes]]:
        shared = self._shown.given and not self._shown.basic
        headers = security_headers(
            self._judged.path, secure=self._secure, origin=self._origin, shared=shared
        )
        if self._shown.basic and self._key is not None:
            sessions = self._door.exposure.sessions
            cookie = sessions.make(self._key, ambient.wall())
            headers.append((b"set-cookie", sessions.header(cookie, secure=self._secure)))
        return headers

    def _worth_noting(self) -> bool:
        now = ambient.now()
        return self._door.noted.take(self._peer.group, now) == 0.0 == self._door.noted_all.take(now)

    @property
    def _secure(self) -> bool:
        return self._peer.scheme in {"https", "wss"}

    def _note(self, status: int, reason: str) -> None:
        audit = self._door.audit
        if audit is None:
            return
        caller = self._caller
        if caller is None and not self._worth_noting():
            return
        audit.note(
            Entry(
                user=caller.user if caller else "",
                key_id=caller.key_id if caller else "",
                address=self._peer.address,
                action="WEBSOCKET" if self._socket else self._method,
                target=self._judged.path,
                outcome=str(status),
                detail=reason,
            )
        )
