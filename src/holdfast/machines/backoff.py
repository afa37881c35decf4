"""How long to wait before trying again, as functions of the attempt and a random number.

- Attempts count from 1: `exponential(1, ...)` is the wait after the first failure.
- Randomness is an argument: `chance` is a number in [0, 1).
- No result is ever negative or above the maximum, also for absurd attempts.
"""

from __future__ import annotations

import math
import sys

_LARGEST_EXPONENT = math.log(sys.float_info.max)


def exponential(attempt: int, *, initial: float, base: float, maximum: float) -> float:
    """Seconds after failed attempt number ``attempt``: ``initial * base ** (attempt - 1)``."""
    if initial <= 0:
        return 0.0
    if maximum <= initial:
        return maximum
    # In logarithms, because base ** 5000 overflows a float.
    exponent = max(0, attempt - 1) * math.log(base)
    if exponent >= math.log(maximum) - math.log(initial):
        return maximum
    return min(maximum, sys.float_info.max, initial * math.exp(min(exponent, _LARGEST_EXPONENT)))


def spread(delay: float, *, jitter: float, chance: float, maximum: float) -> float:
    """``delay`` moved by up to ``jitter`` of itself either way (0.25: plus or minus 25 %)."""
    moved = delay * (1.0 + jitter * (2.0 * chance - 1.0))
    return min(maximum, max(0.0, moved))
