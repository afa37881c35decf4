"""How much memory an error says was asked for, and how much the device has, in bytes."""

from __future__ import annotations

import re

_UNITS = {"b": 1, "bytes": 1, "byte": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = r"(\d{1,24}(?:\.\d{1,6})?) ?(bytes|byte|[kmgt]i?b|b)?\b"
_ASKED = re.compile(
    r"(?:tried to allocate|unable to allocate|requested *:|requested|required|allocat(?:e|ing)"
    r"|alloc(?:ate)? of|(?:buffer )?size:?|tensor with|malloc|realloc|allocation of"
    r"|failed to alloc|out of memory allocating|memory of size|of size|needs?)"
    r"[ :=(]{1,3}(?:about |a |an |at least |up to )?" + _SIZE
)
_HAS = re.compile(
    r"(?:total capaci?ty of|total capacity|device limit *:|max(?:imum)? allowed:?|capacity[:=]?"
    r"|device has|total memory[:=]?|total vram:?|which has|maximum buffer size)"
    r" {0,3}(?:of )?" + _SIZE
)
_TOTAL = re.compile(_SIZE + r" (?:total capacity|total|of vram|gpu memory)")

UNLIKELY = 16 << 30
"""Bytes in one piece that hardly any device has free, where the device is not known."""


def _bytes(number: str, unit: str | None) -> float:
    return float(number) * _UNITS.get(unit or "b", _UNITS.get((unit or "b")[0], 1))


def asked_and_has(text: str) -> tuple[float | None, float | None]:
    """Bytes asked for at once, and bytes the device has at all; None where nothing tells."""
    asked = [
        size
        for match in _ASKED.finditer(text)
        if (size := _bytes(*match.groups())) >= 1024 or match.group(2)
    ]
    has = _HAS.search(text) or _TOTAL.search(text)
    return (max(asked) if asked else None), (_bytes(*has.groups()) if has else None)
