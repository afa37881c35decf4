"""A pipeline around every request of a `requests.Session`, as a transport adapter.

::

    pipeline = Pipeline(Timeout(60), Retry(), CircuitBreaker("api"))

    session = requests.Session()
    session.mount("https://api.example.org", ResilientAdapter(pipeline))

- The policies govern a request until the head of its response is there; the body
  is the caller's to read. A failed response's body is read at once if it says that
  it is small, so that no connection is held up during a wait.
- A thread cannot be interrupted: the timeout given to requests (none, unless told
  otherwise) is shortened to the time that is left.
- The adapter's own ``max_retries`` stays 0: retries on two levels multiply.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from holdfast.integrations.exchange import FAILED_STATUSES, Exchange, Protection, is_small
from holdfast.integrations.hosts import Guards
from holdfast.outcome import Outcome
from holdfast.policies.scope import Deadline

MISTAKES = (ValueError,)
"""Errors that mean the request cannot be sent as it is: a bad URL, proxy, header or timeout."""


class ResilientAdapter(HTTPAdapter):
    """An `HTTPAdapter` that sends through a pipeline."""

    def __init__(
        self,
        pipeline: Guards,
        *,
        failed_statuses: Collection[int] = FAILED_STATUSES,
        retry_unsafe: bool = False,
        per_host: bool = False,
        max_hosts: int = 256,
        **adapter: Any,
    ) -> None:
        """Make the adapter.

        Args:
            pipeline: a pipeline or policy; with ``per_host``, a function that makes one for a
                host.
            failed_statuses: statuses that policies see as failures.
            retry_unsafe: repeat also POST, PATCH and others that carry no `Idempotency-Key`.
            per_host: whether each host (as in `https://example.org`) has its own pipeline.
            max_hosts: most hosts remembered.
            adapter: what `HTTPAdapter` takes: ``pool_connections``, ``pool_maxsize``...

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        super().__init__(**adapter)
        self._protection = Protection(
            pipeline,
            failed_statuses=failed_statuses,
            retry_unsafe=retry_unsafe,
            per_host=per_host,
            max_hosts=max_hosts,
        )

    def send(  # noqa: PLR0917  # the signature is the library's
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002
        timeout: Any = None,
        verify: Any = True,  # noqa: FBT002
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Send a request through the pipeline."""
        protection, body = self._protection, request.body
        exchange: Exchange[requests.Response] = Exchange(
            protection.failed_statuses,
            repeatable=protection.repeatable(
                request.method or "",
                cast("Mapping[str, str]", request.headers),
                in_memory=body is None or isinstance(body, str | bytes),
            ),
        )
        send = super().send

        def attempt() -> requests.Response:
            for superseded in exchange.begin():
                superseded.close()
            limit = _in_time(timeout)
            try:
                response = send(request, stream, limit, verify, cert, proxies)
                if response.status_code in protection.failed_statuses and is_small(
                    response.headers
                ):
                    _read(response)
            except (requests.RequestException, ValueError) as error:
                raise exchange.fault(error, MISTAKES) from None
            if not exchange.keep(response):
                response.close()
            return exchange.judge(response, response.status_code, response.headers)

        outcome: Outcome[requests.Response] | None = None
        try:
            with exchange.governed():
                pipeline = protection.hosts.pipeline(_origin(request.url or ""))
                outcome = pipeline.call_outcome(attempt)
        finally:
            for response in exchange.conclude(outcome):
                response.close()
        return exchange.answer(outcome)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    # Without the user and the password that `netloc` may have.
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _in_time(timeout: Any) -> Any:
    """The caller's timeout, no part of it longer than what the deadline leaves."""
    deadline = Deadline.current()
    if deadline is None:
        return timeout
    left = deadline.remaining()
    if timeout is None:
        return left
    if isinstance(timeout, tuple):
        return tuple(left if part is None else min(left, part) for part in timeout)
    if isinstance(timeout, int | float):
        return min(left, timeout)
    return timeout


def _read(response: requests.Response) -> None:
    try:
        # Kept by the response, which hands it out as if it had just come.
        _ = response.content
    except BaseException:
        response.close()
        raise
