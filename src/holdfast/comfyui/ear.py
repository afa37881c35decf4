"""An open ear on a server: one socket, read without pause, its messages waiting in an inbox.

A client that reads slowly silences ComfyUI for everybody, because the server
sends to all from one loop. So the socket is read by a task of its own, and
messages are parsed there: what piles up is small, whatever the server sends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import aiohttp

from holdfast.comfyui import messages
from holdfast.comfyui.server import Server


@dataclass(frozen=True, slots=True)
class Closed:
    """The socket has closed."""


class Ear:
    """Hears one client id. Open it with `open`, again after the socket was lost."""

    def __init__(
        self,
        server: Server,
        *,
        previews: bool,
        tap: Callable[[str | bytes], None] | None = None,
    ) -> None:
        self._tap = tap
        self._server = server
        self._previews = previews
        self._inbox: asyncio.Queue[messages.Message | Closed] = asyncio.Queue()
        self._sockets = contextlib.AsyncExitStack()
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._close()

    async def open(self, client_id: str) -> None:
        """Open the socket, closing an earlier one.

        Raises:
            ServerCallError: it cannot be opened.
        """
        await self._close()
        self._inbox = asyncio.Queue()
        socket = await self._sockets.enter_async_context(
            self._server.socket(client_id, previews=self._previews)
        )
        self._reader = asyncio.create_task(self._read(socket, self._inbox))

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

    async def _close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None
        await self._sockets.aclose()

    async def _read(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        inbox: asyncio.Queue[messages.Message | Closed],
    ) -> None:
        try:
            async for frame in socket:
                if self._tap is not None and isinstance(frame.data, str | bytes):
                    self._tap(frame.data)
                if frame.type is aiohttp.WSMsgType.TEXT:
                    inbox.put_nowait(messages.parse_text(frame.data))
                elif frame.type is aiohttp.WSMsgType.BINARY and self._previews:
                    inbox.put_nowait(messages.parse_binary(frame.data))
        finally:
            inbox.put_nowait(Closed())
