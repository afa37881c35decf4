"""A pipeline around every request of an `aiohttp.ClientSession`, as client middleware.

::

    pipeline = Pipeline(Timeout(60), Retry(), CircuitBreaker("api"), Timeout(10))

    async with aiohttp.ClientSession(middlewares=[resilient(pipeline)]) as session:
        async with session.get(url) as response: ...

- The policies govern a request until the head of its response is there; the body
  is the caller's to read.
- The session's own total timeout (300 seconds unless told otherwise) ends all
  attempts together.
- aiohttp repeats a request whose connection was lost once by itself, with all its
  middleware. Around this middleware it finds the same error at once instead: how
  often a request is sent is the pipeline's business.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Collection
from contextvars import ContextVar
from typing import Any

import aiohttp
from aiohttp import payload

from holdfast.integrations.exchange import FAILED_STATUSES, Exchange, Protection
from holdfast.integrations.hosts import Guards
from holdfast.outcome import Outcome

Response = aiohttp.ClientResponse
TOTAL_TIME = (TimeoutError,)
MISTAKES = (ValueError,)
"""Errors that mean the request cannot be sent as it is: a bad host name, a bad header."""


class _GivenUp:
    """What the latest failed request of a task ended with."""

    __slots__ = ("error", "request", "timer")

    def __init__(self, request: aiohttp.ClientRequest, error: Exception) -> None:
        self.request = weakref.ref(request)
        self.timer = _timer_of(request)
        # A copy, because it has no traceback and so holds no frames.
        self.error = copy.copy(error)

    def is_for(self, request: aiohttp.ClientRequest) -> bool:
        """Whether ``request`` is aiohttp's own repetition of it: another object, the same timer."""
        return (
            self.timer is not None
            and _timer_of(request) is self.timer
            and self.request() is not request
        )


def _timer_of(request: aiohttp.ClientRequest) -> object:
    # The one object a session shares between a request and its repetition. Not public; without
    # it, aiohttp repeats once what was given up here.
    return getattr(request, "_timer", None)


_given_up: ContextVar[_GivenUp | None] = ContextVar("holdfast_aiohttp_given_up", default=None)


def resilient(
    pipeline: Guards,
    *,
    failed_statuses: Collection[int] = FAILED_STATUSES,
    retry_unsafe: bool = False,
    per_host: bool = False,
    max_hosts: int = 256,
) -> aiohttp.ClientMiddlewareType:
    """Make the middleware.

    Args:
        pipeline: a pipeline or policy; with ``per_host``, a function that makes one for a host.
        failed_statuses: statuses that policies see as failures.
        retry_unsafe: repeat also POST, PATCH and others that carry no `Idempotency-Key`.
        per_host: whether each host (as in `https://example.org`) has its own pipeline.
        max_hosts: most hosts remembered.

    Raises:
        BadInputError: naming the field, its value and what is right.
    """
    protection = Protection(
        pipeline,
        failed_statuses=failed_statuses,
        retry_unsafe=retry_unsafe,
        per_host=per_host,
        max_hosts=max_hosts,
    )

    async def middleware(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> Response:
        given_up = _given_up.get()
        if given_up is not None:
            _given_up.set(None)
            if given_up.is_for(request):
                raise given_up.error
        exchange: Exchange[Response] = Exchange(
            protection.failed_statuses,
            repeatable=protection.repeatable(
                request.method, request.headers, in_memory=in_memory(request.body)
            ),
        )

        async def attempt() -> Response:
            for superseded in exchange.begin():
                superseded.release()
            try:
                response = await handler(request)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                # aiohttp's own time-outs have types of their own; this is the session's total.
                own = TOTAL_TIME if type(error) is TimeoutError else MISTAKES
                raise exchange.fault(error, own) from None
            exchange.keep(response)
            return exchange.judge(response, response.status, response.headers)

        outcome: Outcome[Response] | None = None
        try:
            with exchange.governed():
                origin = str(request.url.origin())
                outcome = await protection.hosts.pipeline(origin).outcome(attempt)
        finally:
            for response in exchange.conclude(outcome):
                response.release()
        try:
            return exchange.answer(outcome)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            _given_up.set(_GivenUp(request, error))
            raise

    return middleware


def in_memory(body: Any) -> bool:
    """Whether a body can be sent again: bytes, text, JSON and forms, but no file or stream."""
    return not body or isinstance(body, payload.BytesPayload | payload.BytesIOPayload)
