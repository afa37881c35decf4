"""What an ASGI server and an app say to each other about one request, overheard.

The protocol is ASGI's (version 3): the app is given two functions, one to receive
messages about its request and one to send messages that make up its response.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from holdfast.errors import DeadlineExceededError, RateLimitedError, RejectedError, ThrottledError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_BODY = ("http.response.body", "http.response.zerocopysend", "http.response.pathsend")


class Reply:
    """What the client has been sent of its response."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False
        """Whether a status has been sent, so that no other can be."""
        self.over = False
        """Whether the last byte has been sent."""

    async def send(self, message: Message) -> None:
        """Pass a message of the app on."""
        kind = message["type"]
        # Both before it is sent: a server reports a finished response as a disconnect.
        self.begun = self.begun or kind == "http.response.start"
        self.over = self.over or (kind in _BODY and not message.get("more_body", False))
        await self._send(message)

    async def refuse(
        self, refusal: RejectedError | DeadlineExceededError, default: float | None
    ) -> None:
        """Answer for an app that was not let run, or not to its end.

        Args:
            refusal: why.
            default: seconds after which to come back if the refusal does not say.
        """
        limited = isinstance(refusal, RateLimitedError | ThrottledError)
        status = HTTPStatus.TOO_MANY_REQUESTS if limited else HTTPStatus.SERVICE_UNAVAILABLE
        # The words are the standard's: the names of our policies are nobody's business.
        body = f'{{"detail":"{status.phrase}"}}'.encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        after = getattr(refusal, "retry_after", None)
        after = default if after is None else after
        if after is not None and math.isfinite(after):
            headers.append((b"retry-after", b"%d" % math.ceil(after)))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


class Ear:
    """Reads one message ahead of the app, so as to hear that the client has gone away."""

    def __init__(self, receive: Receive, reply: Reply) -> None:
        self._receive = receive
        self._reply = reply
        self._ahead: deque[Message | Exception] = deque()
        self._arrived, self._taken = asyncio.Event(), asyncio.Event()
        self._task = asyncio.current_task()
        self._pending = 0 if self._task is None else self._task.cancelling()
        self._cancelled = False

    async def listen(self) -> None:
        """Read, no further ahead than the app follows; cancel it at a disconnect."""
        more = True
        while more:
            try:
                message = await self._receive()
            except Exception as error:  # noqa: BLE001  # it is the app's to see
                self._put(error)
                return
            self._put(message)
            more = message["type"] != "http.disconnect"
            if message.get("more_body", False):
                self._taken.clear()
                await self._taken.wait()
        if not self._reply.over and self._task is not None:
            self._cancelled = True
            self._task.cancel()

    def cancelled_us(self) -> bool:
        """Whether the cancellation that has arrived is ours alone."""
        return self._cancelled and self._task is not None and self._task.uncancel() <= self._pending

    async def receive(self) -> Message:
        """The next message, for the app."""
        while not self._ahead:
            self._arrived.clear()
            await self._arrived.wait()
        message = self._ahead[0]
        if isinstance(message, Exception):
            raise message
        if message["type"] != "http.disconnect":
            self._ahead.popleft()
            self._taken.set()
        return message

    def _put(self, message: Message | Exception) -> None:
        self._ahead.append(message)
        self._arrived.set()
