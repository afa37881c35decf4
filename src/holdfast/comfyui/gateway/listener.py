"""One open socket: what is said to it waits in its own outbox, and is sent by its own task."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from holdfast.comfyui.gateway import frames
from holdfast.comfyui.gateway.outbox import Outbox, OutboxLimits
from holdfast.comfyui.gateway.replay import Owner
from holdfast.comfyui.gateway.saying import Said, Sort, To
from holdfast.ports import ambient

TOO_SLOW = 1008
"""How a socket is closed that does not read what it is sent."""
NOT_ALLOWED = 1008
"""How a socket is closed whose key opens nothing any more."""
TOO_MUCH = 1013
"""How a socket is closed for which too much waits, or for which there is no room."""
_HANDSHAKE_CHARACTERS = 64 * 1024
_AT_ONCE = 32
"""Frames sent in a row before others get their turn."""
_GONE = (WebSocketDisconnect, RuntimeError, OSError)
"""What sending raises when the other side has gone."""
_IN_GOOD_ORDER = (1000, 1001)
HANG_UP = "holdfast.hang_up"
"""The extension of a socket's scope that ends it at once; see `hang_up`."""
_CLOSING_SECONDS = 1.0


class Listener:
    """A client's socket, once it is accepted."""

    def __init__(
        self, socket: WebSocket, owner: Owner, limits: OutboxLimits, key_id: str = ""
    ) -> None:
        self.owner = owner
        self.key_id = key_id
        """The key it was opened with; empty for none."""
        self.in_good_order = False
        """Whether the client said goodbye, so that it has what it was sent."""
        self._socket = socket
        self._outbox = Outbox(limits)
        self._described = False
        self._notes = False
        self._wake = asyncio.Event()
        self._sender: asyncio.Task[None] | None = None
        self._cut: tuple[int, str] | None = None

    @property
    def user(self) -> str:
        """Who the client is."""
        return self.owner[0]

    def hears(self, to: To) -> bool:
        """Whether it is one of those a frame is for."""
        match to:
            case To.DESCRIBED:
                return self._described
            case To.PLAIN:
                return not self._described
            case To.NOTES:
                return self._notes
            case _:
                return True

    def say(self, said: Said, number: int | None = None) -> None:
        """Have a frame sent; a client for which too much waits is cut off instead."""
        if self._cut is not None or not self.hears(said.to):
            return
        if self._outbox.put(said, ambient.now(), number):
            self._wake.set()
        else:
            self.cut(TOO_MUCH, "too much waits for this client")

    def hush(self) -> None:
        """Send nothing of what waits: a newer socket of the client is told it."""
        self._outbox.clear()

    def check(self, now: float) -> None:
        """Cut the client off if it does not read."""
        if self._outbox.too_slow(now):
            self.cut(TOO_SLOW, "this client reads too slowly")

    def cut(self, code: int, reason: str) -> None:
        """End the connection, from this side."""
        if self._cut is None:
            self._cut = (code, reason)
            if self._sender is not None:
                self._sender.cancel()

    async def serve(self, features: Mapping[str, Any], told: Callable[[int | None], None]) -> None:
        """Send and listen until the socket closes.

        Args:
            features: what the client is answered when it says what it can do.
            told: called with the number of each frame that was sent.
        """
        self._sender = asyncio.create_task(self._send(told))
        reader = asyncio.create_task(self._read(features))
        if self._cut is not None:
            self._sender.cancel()
        try:
            await asyncio.wait({self._sender, reader}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._sender.cancel()
            reader.cancel()
            await asyncio.gather(self._sender, reader, return_exceptions=True)
        if self._cut is not None:
            await self._hang_up(*self._cut)

    async def _send(self, told: Callable[[int | None], None]) -> None:
        sent = 0
        while True:
            waiting = self._outbox.take()
            if waiting is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            frame = waiting.said.frame
            try:
                if isinstance(frame, str):
                    await self._socket.send_text(frame)
                else:
                    await self._socket.send_bytes(frame)
            except _GONE:
                return
            self._outbox.sent()
            told(waiting.number)
            sent += 1
            if sent % _AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _read(self, features: Mapping[str, Any]) -> None:
        first = True
        while True:
            try:
                message = await self._socket.receive()
            except _GONE:
                return
            if message["type"] == "websocket.disconnect":
                self.in_good_order = message.get("code") in _IN_GOOD_ORDER
                return
            text = message.get("text")
            if first and isinstance(text, str):
                first = not self._handshake(text, features)

    def _handshake(self, text: str, features: Mapping[str, Any]) -> bool:
        """Read the client's first words; False if they do not count, as with ComfyUI."""
        if len(text) > _HANDSHAKE_CHARACTERS:
            return False
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            return False
        if not isinstance(said, dict):
            return False
        if said.get("type") == "feature_flags":
            data = said.get("data")
            flags = data if isinstance(data, dict) else {}
            self._described = flags.get("supports_preview_metadata") is True
            self._notes = flags.get("holdfast_notes") is True
            self.say(Said(frames.event("feature_flags", features), Sort.OTHER))
        return True

    async def _hang_up(self, code: int, reason: str) -> None:
        at_once = (self._socket.scope.get("extensions") or {}).get(HANG_UP)
        if callable(at_once):
            at_once(code, reason)
            return
        with contextlib.suppress(TimeoutError, *_GONE):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._socket.close(code, reason)
