"""Text from strangers, made safe to show: to terminals, logs and encoders."""

from __future__ import annotations

import re

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and line feed, marks that turn the reading direction, lone halves of
surrogate pairs."""


def printable(text: str) -> str:
    """``text`` without what could move a cursor, colour a terminal or break an encoder."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
