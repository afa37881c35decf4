"""Give an old answer when there is no new one, and say that it is old."""

from __future__ import annotations

from holdfast import Backoff, Cache, Pipeline, Retry
from holdfast.events import CacheServed, Event, listen
from holdfast.testing import FakeClock

down = False


def load_prices(currency: str) -> dict[str, float]:
    if down:
        raise ConnectionError("the price server is down")
    return {"coffee": 3.2 if currency == "EUR" else 3.5}


# The cache is outermost: a stale answer is given only after the retries have failed.
prices = Pipeline(
    Cache(60, stale_if_error=3600, name="prices"),
    Retry(max_attempts=2, backoff=Backoff.exponential(initial=0.5)),
)


def warn(event: Event) -> None:
    if isinstance(event, CacheServed) and event.stale:
        print(f"  warning: {event.policy} are {event.age:.0f} s old")


with FakeClock() as clock, listen(warn):  # nobody waits in an example
    print("first: ", prices.call(load_prices, "EUR"))
    down = True
    clock.advance(30)
    print("fresh: ", prices.call(load_prices, "EUR"))
    clock.advance(600)
    outcome = prices.call_outcome(load_prices, "EUR")
    print("stale: ", outcome.value)
    print("  it says:", outcome.steps[-1])
    clock.advance(3600)
    gone = prices.call_outcome(load_prices, "EUR")
    print("gone:  ", gone.error)
