"""tenacity: retry. `reraise=True`, because its wrapper hides the caller's error by default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tenacity

from benchmarks.peers.contract import Peer


def retry(
    fn: Callable[..., Any],
    *,
    attempts: int | None = None,
    on: type[Exception] = Exception,
) -> Callable[..., Any]:
    if attempts is None:
        return tenacity.retry(fn)
    return tenacity.retry(
        stop=tenacity.stop_after_attempt(attempts),
        wait=tenacity.wait_none(),
        retry=tenacity.retry_if_exception_type(on),
        reraise=True,
    )(fn)


def deadline(fn: Callable[..., Any], *, seconds: float) -> Callable[..., Any]:
    stop = tenacity.stop_before_delay(seconds)
    return tenacity.retry(stop=stop, wait=tenacity.wait_none(), reraise=True)(fn)


PEER = Peer(name="tenacity", retry_sync=retry, retry_async=retry, deadline_async=deadline)
