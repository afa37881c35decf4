"""Chance that can be repeated: the same seed and the same number give the same draw, for ever.

This is SplitMix64 (Steele, Lea and Flood, 2014), read by position: the n-th
draw is a function of the seed and n alone. There is no state to share, so
threads that draw at the same time need only agree on who has which number.

Laws: pure; 64-bit arithmetic, so the same on every platform. Not for secrets.
"""

from __future__ import annotations

_GOLDEN = 0x9E3779B97F4A7C15
_WORD = 0xFFFFFFFFFFFFFFFF


def word_at(seed: int, number: int) -> int:
    """The draw with this number, from 0, as 64 bits."""
    word = (seed + (number + 1) * _GOLDEN) & _WORD
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _WORD
    return word ^ (word >> 31)


def chance_at(seed: int, number: int) -> float:
    """The draw with this number, as a float in [0, 1) with all of its 53 bits used."""
    return (word_at(seed, number) >> 11) * 2.0**-53
