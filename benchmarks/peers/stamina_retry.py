"""stamina: tenacity with production defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import stamina

from benchmarks.peers.contract import Peer

NO_WAIT = {"wait_initial": 0.0, "wait_max": 0.0, "wait_jitter": 0.0}


def retry(
    fn: Callable[..., Any],
    *,
    attempts: int | None = None,
    on: type[Exception] = Exception,
) -> Callable[..., Any]:
    if attempts is None:
        return stamina.retry(on=on)(fn)
    return stamina.retry(on=on, attempts=attempts, timeout=None, **NO_WAIT)(fn)


def deadline(fn: Callable[..., Any], *, seconds: float) -> Callable[..., Any]:
    return stamina.retry(on=Exception, attempts=None, timeout=seconds, **NO_WAIT)(fn)


PEER = Peer(name="stamina", retry_sync=retry, retry_async=retry, deadline_async=deadline)
