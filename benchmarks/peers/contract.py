"""What an adapter tells about its library: a factory for each thing the library can do.

Laws of every factory:

- It takes the function to protect and returns the protected one, by the
  library's own decorator where it has one. The result is called the same way.
- Settings are keywords in the units named below. Where the library has no such
  setting the nearest of its own is used.
- `None` (for `attempts`, or for both `failures` and `open_for`) means the
  library's own defaults, waits between attempts included. Any other number of
  attempts means no waits.
- A factory the library has no answer to is None. Nothing is built by hand to
  fill a gap, so what is measured is what a user of that library gets.
- Asynchronous factories are called inside a running loop; some libraries need it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Factory = Callable[..., Callable[..., Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One library, as the benchmarks and the gates see it."""

    name: str
    """Its name on the package index."""
    retry_sync: Factory | None = None
    """`(fn, *, attempts=None, on=Exception)`."""
    retry_async: Factory | None = None
    """The same for a coroutine function."""
    deadline_async: Factory | None = None
    """`(fn, *, seconds)`: retries without waits, as many as fit into `seconds` in total."""
    breaker_sync: Factory | None = None
    """`(fn, *, failures=None, open_for=None)`: opens after `failures`, one good probe closes it."""
    breaker_async: Factory | None = None
    """The same for a coroutine function."""
    bulkhead_sync: Factory | None = None
    """`(fn, *, limit, wait=0.0)`: `limit` calls at once, others wait up to `wait` seconds."""
    bulkhead_async: Factory | None = None
    """The same for a coroutine function."""
    timeout_sync: Factory | None = None
    """`(fn, *, seconds)`: one attempt may take so long."""
    timeout_async: Factory | None = None
    """The same for a coroutine function."""
    limiter_sync: Factory | None = None
    """`(fn, *, rate, per)`: `rate` calls in `per` seconds."""
    limiter_async: Factory | None = None
    """The same for a coroutine function."""
    stack_sync: Factory | None = None
    """`(fn)`: retry, breaker, bulkhead and timeout, as many as it has, as its docs recommend."""
    stack_async: Factory | None = None
    """The same for a coroutine function."""
    outcome_sync: Factory | None = None
    """`breaker_sync`, but a rejection comes back as a value instead of being raised."""
    outcome_async: Factory | None = None
    """The same for a coroutine function."""
    seconds_left: Callable[[BaseException], float] | None = None
    """How long, in seconds, an open breaker's rejection says it will stay open."""
    sync_parts: str = ""
    """What `stack_sync` is made of, in words, outermost first."""
    async_parts: str = ""
    """What `stack_async` is made of, in words, outermost first."""
