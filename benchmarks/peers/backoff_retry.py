"""backoff: retry by generator of waits. Archived, and still everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import backoff

from benchmarks.peers.contract import Peer


def retry(
    fn: Callable[..., Any],
    *,
    attempts: int | None = None,
    on: type[Exception] = Exception,
) -> Callable[..., Any]:
    if attempts is None:
        return backoff.on_exception(backoff.expo, on)(fn)
    return backoff.on_exception(backoff.constant, on, max_tries=attempts, jitter=None, interval=0)(
        fn
    )


def deadline(fn: Callable[..., Any], *, seconds: float) -> Callable[..., Any]:
    return backoff.on_exception(
        backoff.constant, Exception, max_time=seconds, jitter=None, interval=0
    )(fn)


PEER = Peer(name="backoff", retry_sync=retry, retry_async=retry, deadline_async=deadline)
