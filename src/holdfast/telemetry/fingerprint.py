"""Which errors are the same trouble: a short name made of what does not vary between them.

The name is a digest of the exception's class, the category, the innermost five frames
and the message, in which whatever changes from one time to the next has been replaced:
numbers, addresses, identifiers, paths, quoted words, URLs, sizes and times.

Laws:

- Equal inputs have equal names, in every process and on every machine.
- Numbers that are the error stay: ``HTTP 503``, ``Errno 111``, ``exit code 137``.
- Time and memory are bounded: only the first `READ_CHARACTERS` of a message are read,
  and every repetition in the pattern is bounded or cannot be entered in two ways.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

READ_CHARACTERS = 2_000
"""How much of a message is read."""
KEPT_CHARACTERS = 400
"""How much of a normalised message counts. It is cut after normalising, so that a long number in
front does not move the cut."""
FRAMES = 5
"""How many of the innermost frames count."""

_UNITS = (
    r"(?:[KMGTP]i?B|bytes?|B|%|"
    r"(?:milli|micro|nano)?seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|ms|us|µs|ns|s|h)"
)

_VARYING = re.compile(
    "|".join(
        (
            # Codes that say which error it is.
            r"(?P<kept>\b(?:http(?:/\d(?:\.\d)?)?|status|errno|winerror|sqlstate|signal|code"
            r"|exit(?:ed)?(?: with)?(?: code| status)?|returned)[ \t:=#]{0,3}\d{1,5}(?![\w.]))",
            r"(?P<url>\b[a-z][a-z0-9+.-]{1,15}://[^\s'\"<>`|)\]}]+)",
            r"(?P<uuid>\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b)",
            r"(?P<time>\b\d{4}[-/]\d\d[-/]\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?"
            r"(?: ?Z| ?[+-]\d\d:?\d\d)?)?\b|\b\d\d:\d\d:\d\d(?:[.,]\d{1,9})?\b)",
            r"(?P<host>\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?::\d{1,5})?\b"
            r"|\[[0-9a-f:]{2,45}\](?::\d{1,5})?(?!\w))",
            r"(?P<hex>\b0x[0-9a-f]+\b|\b(?=[a-f]{0,64}\d)(?=\d{0,64}[a-f])[0-9a-f]{8,128}\b)",
            r"(?P<text>(?<!\w)(?:'[^'\n]{0,200}'|\"[^\"\n]{0,200}\"|`[^`\n]{0,200}`)(?!\w))",
            r"(?P<path>\b[a-z]:[\\/][^\s'\"<>|*?:;,]*"
            r"|(?<![\w/.<])(?:~|\.{1,2})?/[\w.@+~%-]+(?:/[\w.@+~%-]+)*/?"
            r"|(?<![\w/.-])[\w.-]{1,80}(?:/[\w.-]{1,80}){1,20}\.\w{1,12}\b)",
            rf"(?P<size>(?<![\w.])[-+]?\d+(?:[.,]\d+)*\s?{_UNITS}\b|(?<![\w.])\d+(?:\.\d+)?\s?%)",
            r"(?P<number>(?:(?<!\w)[-+])?\d+(?:[.,]\d+)*(?:e[-+]?\d{1,4}\b)?)",
        )
    ),
    re.IGNORECASE,
)
_ROW = re.compile(r"<number>(?:\s?[,x×*]\s?<number>)+")
_SPACE = re.compile(r"\s+")


def normalise(message: str) -> str:
    """``message`` with what varies replaced by words such as ``<number>``, cut to its start."""
    text = _VARYING.sub(_placeholder, message[:READ_CHARACTERS])
    # A shape or a list has as many members as it has; which ones is all the same.
    text = _ROW.sub("<number>", text)
    return _SPACE.sub(" ", text).strip()[:KEPT_CHARACTERS]


def digest(error_type: str, message: str, frames: Sequence[str] = (), category: str = "") -> str:
    """As `fingerprint`, without its memory of recent answers."""
    parts = (error_type, category, *frames[:FRAMES], normalise(message))
    told = "\0".join(part.replace("\0", " ") for part in parts)
    return blake2b(told.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


_remembered = lru_cache(maxsize=256)(digest)


def fingerprint(
    error_type: str, message: str, frames: Sequence[str] = (), category: str = ""
) -> str:
    """The name of the group that an error belongs to: 16 hexadecimal digits.

    Args:
        error_type: name of the exception's class.
        message: its message, of any length.
        frames: where it was raised, as ``module:function``, the innermost first.
        category: the `ErrorCategory` it was given, or its value.
    """
    # Cut before it is remembered, so that the memory holds no message of 10 MB.
    return _remembered(error_type, message[:READ_CHARACTERS], tuple(frames[:FRAMES]), str(category))


def _placeholder(found: re.Match[str]) -> str:
    kind = found.lastgroup
    if kind == "kept":
        return found[0]
    return f"<{kind}>"
