"""Yesterday's prices are better than none, but only when the shop cannot be reached."""

from __future__ import annotations

from holdfast import Fallback

YESTERDAY = {"apple": 3}


def read_cache() -> dict[str, int]:
    return YESTERDAY


@Fallback(read_cache, on=(ConnectionError, TimeoutError))
def prices(shop: str) -> dict[str, int]:
    if shop == "closed":
        raise ConnectionError("nobody answers")
    if shop == "unknown":
        raise KeyError(shop)
    return {"apple": 4}


print("open:  ", prices("open"))
print("closed:", prices("closed"))
try:
    prices("unknown")
except KeyError as error:
    print("unknown: still an error:", error)
