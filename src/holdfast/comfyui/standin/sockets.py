"""WebSockets of a server: one registry, one send loop shared by all.

Faithful to the real server where it hurts:

- Every message of every client goes through one loop that waits for each send,
  so one client that does not read stops the messages of all.
- A closing socket unregisters its *id*: if a newer socket took over the id,
  that one is deaf from then on, though it stays open and answers pings.
- A client id that cannot be a dictionary key ends the whole process.
- Nothing is ever sent twice or kept for later.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

from holdfast.comfyui.standin import wire
from holdfast.comfyui.standin.pulse import Pulse

logger = logging.getLogger("holdfast.comfyui.standin")

Frame = str | bytes


class Sockets:
    """Who listens, and what is still to be said to them.

    Lives on one event loop; only `post`, `features` and `hold` may be called from
    other threads.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, pulse: Pulse, max_upload: int) -> None:
        self.client_id: Any = None
        """Client of the running job, or of the last one; None if it gave none."""
        self.node_id: str | None = None
        """The running node."""
        self._loop = loop
        self._pulse = pulse
        self._max_upload = max_upload
        self._open: dict[str, web.WebSocketResponse] = {}
        self._features: dict[str, Any] = {}
        self._outbox: asyncio.Queue[tuple[Frame | None, Any]] = asyncio.Queue()
        self._hold_seconds = 0.0

    def server_features(self) -> dict[str, Any]:
        """What this server can do, as told to clients."""
        return {"supports_preview_metadata": True, "max_upload_size": self._max_upload}

    def post(self, frame: Frame | None, to: Any = None) -> None:
        """Queue a message to the socket of client ``to``; None is everybody."""
        if not self._pulse.alive:
            return
        try:
            self._loop.call_soon_threadsafe(self._outbox.put_nowait, (frame, to))
        except RuntimeError:  # the loop closed just now: the process is dead
            return

    def features(self, client_id: Any, name: str) -> bool:
        """Say whether a client has announced a feature."""
        try:
            known = self._features.get(client_id)
        except TypeError:  # an id that cannot be a key; the send loop dies of it soon
            return False
        return isinstance(known, dict) and known.get(name) is True

    def forget_all(self) -> None:
        """Strike every socket from the registry; they stay open and hear nothing more."""
        self._open.clear()
        self._features.clear()

    def hold(self, seconds: float) -> None:
        """Stop all messages for ``seconds``, as one slow reader does."""
        self._hold_seconds = seconds
        self.post(None)

    async def publish(self) -> None:
        """Send what was posted, one at a time, for ever.

        Raises:
            TypeError: a message is for a client id that cannot be a key.
        """
        while True:
            frame, to = await self._outbox.get()
            self._pulse.hold()
            if frame is None:
                await asyncio.sleep(self._hold_seconds)
            else:
                await self.send(frame, to)

    async def send(self, frame: Frame, to: Any = None) -> None:
        """Send a message now, to one client or to everybody, one after the other."""
        if to is None:
            for socket in list(self._open.values()):
                await _send(socket, frame)
        elif to in self._open:
            await _send(self._open[to], frame)

    async def serve(
        self, request: web.Request, status: Callable[[], dict[str, Any]]
    ) -> web.WebSocketResponse:
        """Greet one socket and listen to it until it closes."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client_id = request.rel_url.query.get("clientId", "") or uuid.uuid4().hex
        self._open.pop(client_id, None)
        self._open[client_id] = socket
        self._features[client_id] = {}
        try:
            await self.send(
                wire.message("status", {"status": status(), "sid": client_id}), client_id
            )
            if self.client_id == client_id and self.node_id is not None:
                await self.send(wire.message("executing", {"node": self.node_id}), client_id)
            await self._listen(socket, client_id)
        finally:
            # By id, not by socket: this is what deafens a newer socket of the same client.
            self._open.pop(client_id, None)
            self._features.pop(client_id, None)
        return socket

    async def _listen(self, socket: web.WebSocketResponse, client_id: str) -> None:
        first = True
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                said = json.loads(message.data)
            except ValueError:
                continue
            if first:
                if not isinstance(said, dict):
                    continue
                if said.get("type") == "feature_flags":
                    self._features[client_id] = said.get("data", {})
                    answer = wire.message("feature_flags", self.server_features())
                    await self.send(answer, client_id)
                first = False


async def _send(socket: web.WebSocketResponse, frame: Frame) -> None:
    try:
        if isinstance(frame, str):
            await socket.send_str(frame)
        else:
            await socket.send_bytes(frame)
    except ConnectionError as error:
        logger.debug("a socket went away: %s", error)
