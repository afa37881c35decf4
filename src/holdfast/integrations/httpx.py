"""A pipeline around every request of an httpx client, as a transport around another one.

::

    pipeline = Pipeline(Timeout(60), Retry(), CircuitBreaker("api"), Timeout(10))

    with httpx.Client(transport=ResilientTransport(pipeline)) as client: ...
    async with httpx.AsyncClient(transport=AsyncResilientTransport(pipeline)) as client: ...

- The policies govern a request until the head of its response is there; the body
  is the caller's to read. A failed response's body is read at once if it says that
  it is small, so that no connection is held up during a wait.
- A thread cannot be interrupted: the sync transport shortens httpx's own timeouts to
  the time that is left.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

import httpx

from holdfast.integrations.exchange import FAILED_STATUSES, Exchange, Protection, is_small
from holdfast.integrations.hosts import AnyPipeline, Guards
from holdfast.outcome import Outcome
from holdfast.policies.scope import Deadline

MISTAKES = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
"""Errors that mean the request cannot be sent as it is."""


class _Resilient:
    """What both transports have."""

    def __init__(
        self,
        pipeline: Guards,
        *,
        failed_statuses: Collection[int] = FAILED_STATUSES,
        retry_unsafe: bool = False,
        per_host: bool = False,
        max_hosts: int = 256,
    ) -> None:
        """Make the transport.

        Args:
            pipeline: a pipeline or policy; with ``per_host``, a function of the host.
            failed_statuses: statuses that policies see as failures.
            retry_unsafe: repeat also POST, PATCH and others that carry no `Idempotency-Key`.
            per_host: whether each host (as in `https://example.org`) has its own pipeline.
            max_hosts: most hosts remembered.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        self._protection = Protection(
            pipeline,
            failed_statuses=failed_statuses,
            retry_unsafe=retry_unsafe,
            per_host=per_host,
            max_hosts=max_hosts,
        )

    def _exchange(self, request: httpx.Request) -> Exchange[httpx.Response]:
        # Any other stream may be used up by its first sending, and does not always say so.
        again = self._protection.repeatable(
            request.method, request.headers, in_memory=isinstance(request.stream, httpx.ByteStream)
        )
        return Exchange(self._protection.failed_statuses, repeatable=again)

    def _pipeline(self, request: httpx.Request) -> AnyPipeline:
        url = request.url
        return self._protection.hosts.pipeline(f"{url.scheme}://{url.netloc.decode('ascii')}")


class ResilientTransport(_Resilient, httpx.BaseTransport):
    """For `httpx.Client`."""

    def __init__(
        self, pipeline: Guards, transport: httpx.BaseTransport | None = None, **options: Any
    ) -> None:
        """Put ``pipeline`` around ``transport`` (default: an `httpx.HTTPTransport`)."""
        super().__init__(pipeline, **options)
        self._inner = httpx.HTTPTransport() if transport is None else transport

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request through the pipeline."""
        exchange, extensions = self._exchange(request), request.extensions

        def attempt() -> httpx.Response:
            for superseded in exchange.begin():
                superseded.close()
            request.extensions = _in_time(extensions)
            try:
                response = self._inner.handle_request(request)
                if response.status_code in self._protection.failed_statuses:
                    response = _read(response)
            except httpx.TransportError as error:
                raise exchange.fault(error, MISTAKES) from None
            if not exchange.keep(response):
                response.close()
            return exchange.judge(response, response.status_code, response.headers)

        outcome: Outcome[httpx.Response] | None = None
        try:
            with exchange.governed():
                outcome = self._pipeline(request).call_outcome(attempt)
        finally:
            request.extensions = extensions
            for response in exchange.conclude(outcome):
                response.close()
        return exchange.answer(outcome)

    def close(self) -> None:
        """Close the transport inside."""
        self._inner.close()


class AsyncResilientTransport(_Resilient, httpx.AsyncBaseTransport):
    """For `httpx.AsyncClient` under asyncio."""

    def __init__(
        self, pipeline: Guards, transport: httpx.AsyncBaseTransport | None = None, **options: Any
    ) -> None:
        """Put ``pipeline`` around ``transport`` (default: an `httpx.AsyncHTTPTransport`)."""
        super().__init__(pipeline, **options)
        self._inner = httpx.AsyncHTTPTransport() if transport is None else transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request through the pipeline."""
        exchange = self._exchange(request)

        async def attempt() -> httpx.Response:
            for superseded in exchange.begin():
                await superseded.aclose()
            try:
                response = await self._inner.handle_async_request(request)
                if response.status_code in self._protection.failed_statuses:
                    response = await _aread(response)
            except httpx.TransportError as error:
                raise exchange.fault(error, MISTAKES) from None
            exchange.keep(response)
            return exchange.judge(response, response.status_code, response.headers)

        outcome: Outcome[httpx.Response] | None = None
        try:
            with exchange.governed():
                outcome = await self._pipeline(request).outcome(attempt)
        finally:
            for response in exchange.conclude(outcome):
                await response.aclose()
        return exchange.answer(outcome)

    async def aclose(self) -> None:
        """Close the transport inside."""
        await self._inner.aclose()


def _in_time(extensions: Any) -> Any:
    """The timeouts of httpx, none of them longer than what the deadline leaves."""
    deadline = Deadline.current()
    if deadline is None:
        return extensions
    limits, left = extensions.get("timeout", {}), deadline.remaining()
    shorter = {
        phase: left if limits.get(phase) is None else min(left, limits[phase])
        for phase in ("connect", "read", "write", "pool")
    }
    return {**extensions, "timeout": shorter}


def _with_body(response: httpx.Response, raw: bytes) -> httpx.Response:
    # The bytes as they came: the caller's response decodes them.
    return httpx.Response(
        response.status_code,
        headers=response.headers,
        stream=httpx.ByteStream(raw),
        extensions=response.extensions,
    )


def _read(response: httpx.Response) -> httpx.Response:
    if not is_small(response.headers):
        return response
    try:
        return _with_body(response, b"".join(cast("httpx.SyncByteStream", response.stream)))
    finally:
        response.close()


async def _aread(response: httpx.Response) -> httpx.Response:
    if not is_small(response.headers):
        return response
    try:
        stream = cast("httpx.AsyncByteStream", response.stream)
        return _with_body(response, b"".join([chunk async for chunk in stream]))
    finally:
        await response.aclose()
