"""A server that refuses most calls is asked less, until it takes them again."""

from __future__ import annotations

from holdfast import AdaptiveThrottle, ThrottledError


class BusyError(Exception):
    """What an HTTP client raises for a 503."""

    status = 503


overloaded = True
asked = 0
throttle = AdaptiveThrottle(k=2.0, seconds=120.0, name="search")


@throttle
def search(words: str) -> str:
    global asked  # noqa: PLW0603  # a server in three lines
    asked += 1
    if overloaded:
        raise BusyError
    return f"results for {words}"


held_back = 0
for _ in range(200):
    try:
        search("teapots")
    except BusyError:
        pass
    except ThrottledError:
        held_back += 1

print(f"200 calls: {held_back} were held back, the server was asked {asked} times")
print(f"the next one is held back with a chance of {throttle.probability:.0%}")
