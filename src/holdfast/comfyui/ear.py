"""An open ear on a server: one socket, read without pause, its messages waiting in an inbox.

A client that reads slowly silences ComfyUI for everybody, because the server
sends to all from one loop. So the socket is read by a task of its own, and
messages are parsed there: what piles up is small, whatever the server sends.

An ear whose run has ended stays open for the next one on that server, which so
needs no handshake (`Spares`). Between runs nothing is kept of what it hears.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from holdfast.comfyui import messages
from holdfast.comfyui.server import Server
from holdfast.ports import ambient

FRESH_SECONDS = 60.0
"""How long an ear without a run is believed to hear: what lies between forgets idle sockets."""
EAR = "holdfast-ear"
"""The name of the tasks that read."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The socket has closed."""


class Ear:
    """Hears one client id. Open it with `open`, again after the socket was lost."""

    def __init__(self, server: Server, *, previews: bool) -> None:
        self.client_id = ""
        """Whose messages it hears; empty before it was opened."""
        self.tap: Callable[[str | bytes], None] | None = None
        """Given every frame as it came."""
        self.previews = previews
        self._server = server
        self._idle_since: float | None = None
        self._over: str | None = None
        """The prompt whose end was the last thing of any prompt that it heard."""
        self._inbox: asyncio.Queue[messages.Message | Closed] = asyncio.Queue()
        self._sockets = contextlib.AsyncExitStack()
        self._reader: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it hears, as far as is known."""
        return self._reader is not None and not self._reader.done()

    async def open(self, client_id: str) -> None:
        """Open the socket, closing an earlier one.

        Raises:
            ServerCallError: it cannot be opened.
        """
        await self.close()
        self._inbox = asyncio.Queue()
        socket = await self._sockets.enter_async_context(
            self._server.socket(client_id, previews=self.previews)
        )
        self.client_id = client_id
        self._reader = asyncio.create_task(self._read(socket), name=EAR)

    async def listen(self, seconds: float) -> list[messages.Message | Closed]:
        """What was heard, waiting for up to ``seconds`` if nothing was yet."""
        try:
            async with asyncio.timeout(seconds):
                found = [await self._inbox.get()]
        except TimeoutError:
            return []
        while not self._inbox.empty():
            found.append(self._inbox.get_nowait())
        return found

    def rest(self, prompt_id: str) -> bool:
        """Stay open without a run; False if it may yet hear of the one there was."""
        if not self.is_open or self._over != prompt_id:
            return False
        self.tap, self._idle_since = None, ambient.now()
        return True

    def resume(self) -> bool:
        """Hear for another run; False if it is closed, or was idle for too long."""
        since, self._idle_since = self._idle_since, None
        self._inbox = asyncio.Queue()
        return self.is_open and since is not None and ambient.now() - since < FRESH_SECONDS

    async def close(self) -> None:
        """Hear no more."""
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None
        await self._sockets.aclose()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        closed = True
        try:
            async for frame in socket:
                if self._idle_since is not None:
                    continue
                if self.tap is not None and isinstance(frame.data, str | bytes):
                    self.tap(frame.data)
                if frame.type is aiohttp.WSMsgType.TEXT:
                    message = messages.parse_text(frame.data)
                    self._note_end(message)
                    self._inbox.put_nowait(message)
                elif frame.type is aiohttp.WSMsgType.BINARY and self.previews:
                    self._inbox.put_nowait(messages.parse_binary(frame.data))
        except asyncio.CancelledError:
            closed = False  # by us, and another socket may have taken its place
            raise
        finally:
            if closed:
                self._inbox.put_nowait(Closed())

    def _note_end(self, message: messages.Message) -> None:
        if isinstance(message, messages.Finished):
            self._over = message.prompt_id
        elif getattr(message, "prompt_id", None) is not None:
            self._over = None


class Spares:
    """Ears on one server that wait for their next run."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._ears: list[Ear] = []
        self._closed = False

    async def take(self, *, previews: bool) -> Ear:
        """An ear that is open, or a new one that is not."""
        while self._ears:
            ear = self._ears.pop()
            if ear.previews == previews and ear.resume():
                return ear
            await ear.close()
        return Ear(self._server, previews=previews)

    async def give_back(self, ear: Ear) -> None:
        """Keep an ear that rests."""
        if self._closed:
            await ear.close()
        else:
            self._ears.append(ear)

    async def close(self) -> None:
        """Close them all, and those that come back later."""
        self._closed = True
        while self._ears:
            await self._ears.pop().close()
