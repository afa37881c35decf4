"""Requests read within bounds, and answers as ComfyUI writes them.

Every handler is wrapped by `answered`, so that whatever is refused, full or
out of order becomes an answer with a reason, in ComfyUI's own shape, and never
a bare 500.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from holdfast.comfyui.gateway.guard import Refusal, too_large
from holdfast.errors import BadInputError
from holdfast.stores.jobs.accepting import KeyReusedError
from holdfast.stores.jobs.records import QueueFullError, StoreUnavailableError

log = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]

BODY_SECONDS = 120.0
"""How long a client may take to send a body."""
LINGER_SECONDS = 2.0
LINGER_BYTES = 8 * 2**20
"""How much of a body that is too large is taken and thrown away."""


class Caller(Protocol):
    """Whoever made a request, as the access check has found."""

    @property
    def user(self) -> str:
        """Whose jobs and files these are."""
        ...

    def can(self, scope: str) -> bool:
        """Whether this caller may do what ``scope`` allows."""
        ...


@dataclass(frozen=True, slots=True)
class Anybody:
    """The caller where nobody is asked for a key."""

    user: str = ""

    def can(self, scope: str) -> bool:
        """Everything."""
        return bool(scope)


def caller_of(request: Request) -> Caller:
    """Who makes a request."""
    found: Caller | None = getattr(request.state, "caller", None)
    return Anybody() if found is None else found


def allowed(request: Request, scope: str) -> Caller:
    """Who makes a request, if they may.

    Raises:
        Refusal: they may not.
    """
    caller = caller_of(request)
    if not caller.can(scope):
        words = f"It needs a key with the scope '{scope}'"
        raise Refusal("forbidden", "This key does not allow that", words, status=403)
    return caller


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body of a request.

    Raises:
        Refusal: it is too large, or does not come in time.
    """
    refuse_oversized(request, limit)
    read = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                read += chunk
                if len(read) > limit:
                    raise too_large(limit)
    except TimeoutError:
        raise Refusal("timeout", "The body did not come in time", status=408) from None
    return bytes(read)


def refuse_oversized(request: Request, limit: int) -> None:
    """Look at what a request says of its size, before any of it is read.

    Raises:
        Refusal: it says that it is too large.
    """
    said = request.headers.get("content-length", "")
    if said.isascii() and said.isdigit() and int(said[:18]) > limit:
        raise too_large(limit)


def answer(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return raw_answer(json.dumps(data).encode("ascii"), status, headers)


def raw_answer(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer of JSON that is written already."""
    kind = "application/json; charset=utf-8"
    return Response(body, status, {"content-type": kind, **(headers or {})})


def refused(refusal: Refusal) -> Response:
    """The answer to what is refused."""
    headers = {}
    if refusal.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(refusal.retry_after)))
    if refusal.status == 413:
        headers["connection"] = "close"  # the rest of the body is not read
        if refusal.kind == "body_too_large" and refusal.message.startswith("Maximum"):
            return PlainTextResponse(refusal.message, 413, headers)
    return answer(refusal.body(), refusal.status, headers)


def unavailable(message: str, *, status: int = 503, retry_after: float = 2.0) -> Response:
    """The answer while something of ours does not work."""
    return refused(Refusal("unavailable", message, status=status, retry_after=retry_after))


def answered(handler: Handler) -> Handler:
    """The handler, with every refusal and trouble turned into an answer."""

    @functools.wraps(handler)
    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except (Refusal, QueueFullError, BadInputError) as error:
            refusal = _as_refusal(error)
            if refusal.status == 413:
                await _let_finish(request)
            return refused(refusal)
        except StoreUnavailableError:
            log.warning("a request could not be served: the job store is out of order")
            return unavailable("The job store cannot be read or written now; try again")
        except ClientDisconnect:
            return Response(status_code=400)
        except OSError as error:
            log.warning("a request could not be served: %s", error.strerror or error)
            return unavailable("A file cannot be read or written now; try again")

    return handle


async def _let_finish(request: Request) -> None:
    """Take what a client is still sending, up to a point: else it may never read the answer."""
    taken = 0
    with contextlib.suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(LINGER_SECONDS):
            while taken < LINGER_BYTES:
                message = await request.receive()
                taken += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body"):
                    return


def _as_refusal(error: Refusal | QueueFullError | BadInputError) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, QueueFullError):
        return Refusal("queue_full", str(error), status=429, retry_after=error.retry_after)
    if isinstance(error, KeyReusedError):
        return Refusal(
            "idempotency_key_reused",
            "The Idempotency-Key was used for another body",
            "Take another key, or send what was sent with it first",
            status=422,
        )
    return Refusal("invalid_input", str(error)[:1_000])
