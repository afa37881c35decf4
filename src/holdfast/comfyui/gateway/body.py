"""A request's body, no longer than it may be, whatever its Content-Length said."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from holdfast.comfyui.gateway.answers import refuse
from holdfast.comfyui.gateway.limits import Refusal
from holdfast.integrations.asgi import App, Message, Receive, Send

_CLOSE = [(b"connection", b"close")]


class BodyGuard:
    """Serves an ASGI app's requests as long as their bodies are short enough."""

    def __init__(self, app: App, most: int) -> None:
        """Let at most ``most`` bytes through to ``app``."""
        self._app, self._most = app, most

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve a request, or answer 413."""
        lengths = [value for name, value in scope["headers"] if name == b"content-length"]
        refusal = _announced(lengths, self._most)
        if refusal is not None:
            await refuse(scope, receive, send, refusal, _CLOSE)
            return
        bounded = _Bounded(scope, receive, send, self._most)
        try:
            await self._app(scope, bounded.receive, bounded.send)
        except Exception:
            if not bounded.refused:
                raise


class _Bounded:
    """One request's two functions, as its app gets them."""

    def __init__(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send, most: int
    ) -> None:
        self._scope, self._receive, self._send, self._most = scope, receive, send, most
        self._read = 0
        self._over = False
        self._begun = False
        self.refused = False
        """Whether 413 was answered in the app's place."""

    async def receive(self) -> Message:
        if not self._over:
            message = await self._receive()
            self._read += len(message.get("body") or b"")
            if self._read <= self._most:
                return message
            self._over = True
            self.refused = not self._begun
            if self.refused:
                await refuse(self._scope, self._receive, self._send, _too_long(self._most), _CLOSE)
        # To the app it looks as if the client had gone away, which every app can bear.
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if not self.refused:
            self._begun = True
            await self._send(message)


def _too_long(most: int) -> Refusal:
    return Refusal(413, f"a body may have {most} bytes at most")


def _announced(lengths: list[bytes], most: int) -> Refusal | None:
    if not lengths:
        return None
    if len(lengths) > 1 or not lengths[0].isdigit():
        return Refusal(400, "the Content-Length is no number")
    return _too_long(most) if len(lengths[0]) > 18 or int(lengths[0]) > most else None
