"""Stop calling what is down; see what the breaker says and does."""

from __future__ import annotations

from holdfast import CircuitBreaker, CircuitBreakerOpenError, listen
from holdfast.testing import FakeClock


def down() -> str:
    raise ConnectionError("refused")


with FakeClock() as clock, listen(lambda event: print("  ", event)):
    breaker = CircuitBreaker("gpu1", failure_threshold=2, success_threshold=1, timeout=30.0)
    for _ in range(3):
        try:
            breaker.call(down)
        except CircuitBreakerOpenError as error:
            print(f"{error}; retry after {error.retry_after:.0f} s")
        except ConnectionError:
            print("failed")
    clock.advance(30.0)
    print("now", breaker.state, "->", breaker.call(lambda: "it works again"), "->", breaker.state)
