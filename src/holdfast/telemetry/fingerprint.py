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

_UNIT = (
    r"(?:[KMGTP]i?B|bytes?|B|(?:milli|micro|nano)?seconds?|secs?|minutes?|mins?|hours?|hrs?|days?"
    r"|ms|us|µs|ns|s|h)\b"
)
_UUID = r"[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
_CLOCK = r"\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?"
_FILE = r"[\w.-]{0,80}+/(?:[\w.-]{1,80}+/){0,20}+[\w-]{1,80}+(?:\.[\w-]{1,40}+){1,8}+"
_DIRECTORIES = r"[\w.@+~%-]++(?:/[\w.@+~%-]++)*+/?"

# Every alternative begins with a character that few positions have, and no repetition gives back
# what it took (`++`), so that reading a message is quick, and linear for any message.
_VARYING = re.compile(
    rf"""
    '(?<!\w')[^'\n]{{0,200}}+'(?!\w)(?P<text>)
    | "(?<!\w")[^"\n]{{0,200}}+"(?!\w)(?P<text2>)
    | `(?<!\w`)[^`\n]{{0,200}}+`(?!\w)(?P<text3>)
    | [a-z_](?<!\w.)(?:
        (?<=[a-f])[0-9a-f]{{7}}-{_UUID}(?P<uuid>)
        | (?<=[a-f])(?=[a-f]{{0,64}}+\d)[0-9a-f]{{7,128}}+\b(?P<hex>)
        | [a-z0-9+.-]{{1,15}}+://[^\s'\"<>`|)\]}}]++(?P<url>)
        | :[\\/][^\s'"<>|*?:;,]*+(?P<path>)
        | (?<![/.-].)(?!(?<=h)ttp/\d){_FILE}(?P<path2>)
        )
    | \d(?:
        (?<!\w.)(?:
            [0-9a-f]{{7}}-{_UUID}(?P<uuid2>)
            | \d\d\d[-/]\d\d[-/]\d\d(?:[T ]{_CLOCK}(?:\ ?Z\b|\ ?[+-]\d\d:?\d\d)?)?\b(?P<time>)
            | \d:\d\d:\d\d(?:[.,]\d{{1,9}})?\b(?P<time2>)
            | \d{{0,2}}+\.\d{{1,3}}\.\d{{1,3}}\.\d{{1,3}}(?::\d{{1,5}})?\b(?P<host>)
            | (?<=0)x[0-9a-f]++\b(?P<hex2>)
            | (?=\d{{0,64}}+[a-f])[0-9a-f]{{7,128}}+\b(?P<hex3>)
            | (?<![/.-].){_FILE}(?P<path3>)
            )
        | \d*+(?:[.,]\d++)*+(?:\ ?{_UNIT}(?P<size>)|\ ?%(?P<size2>)
            |(?:e[-+]?\d{{1,4}}\b)?(?P<number>))
        )
    | [-+](?<!\w.)\d++(?:[.,]\d++)*+(?:\ ?{_UNIT}(?P<size3>)|(?:e[-+]?\d{{1,4}}\b)?(?P<number2>))
    | /(?<![\w/.<~]/){_DIRECTORIES}(?P<path4>)
    | [.~](?<![\w/.<].)\.?/{_DIRECTORIES}(?P<path5>)
    | \[[0-9a-f:]{{2,45}}+\](?::\d{{1,5}})?(?!\w)(?P<host2>)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_CODES = frozenset(
    (
        *("http", "http/1.0", "http/1.1", "http/2", "status", "statuscode", "code", "errno"),
        *("winerror", "sqlstate", "signal", "returncode", "exitcode"),
    )
)
"""Words before a number that says which error it is."""
_AFTER_CODE = (" server error", " client error", ", message=")
"""What stands after one: how `requests` and `aiohttp` tell an answer."""
_CODE_DIGITS = 5
_ROW = re.compile(r"<number>(?:\s?[,x*\N{MULTIPLICATION SIGN}]\s?<number>)+")
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
    kind = str(found.lastgroup).rstrip("2345")
    text = found[0]
    if kind == "number":
        if len(text) <= _CODE_DIGITS + 1 and text.lstrip("-").isdigit() and _is_code(found):
            return text
    elif kind == "text" and text[1:4].isdigit() and text[4:5] == " ":
        return text  # '503 Service Unavailable', as httpx tells an answer
    return f"<{kind}>"


def _is_code(found: re.Match[str]) -> bool:
    start, end = found.span()
    before = found.string[max(0, start - 24) : start].rstrip(" \t:=#").lower().split()
    if before:
        word = before[-1].lstrip("[(").rpartition("_")[2]
        if word in _CODES or (word == "with" and before[-2:-1] in (["exit"], ["exited"])):
            return True
    return found.string[end : end + 14].lower().startswith(_AFTER_CODE)
