"""Where a request says who it is, and how that is taken out of it again. Pure.

A key may come as ``Authorization: Bearer KEY``, as ``X-API-Key: KEY``, as the password of HTTP
Basic, or, for a WebSocket and for ``/view`` only, as ``?token=KEY``: there a page cannot set
headers. Whatever it came in is removed before anybody else sees the request, so it reaches neither
a log nor another server.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

Headers = Iterable[tuple[bytes, bytes]]

_SECRET_HEADERS = frozenset({b"authorization", b"x-api-key", b"proxy-authorization"})
_FORWARDED = (b"x-forwarded-", b"forwarded", b"x-real-ip")
MOST_CREDENTIAL = 4_096
"""Bytes of a credential that is looked at."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request offers to be let in by."""

    keys: tuple[str, ...] = field(default=(), repr=False)
    """Texts that may be keys; all the same, or the request contradicts itself."""
    basic: bool = False
    """Whether one came by HTTP Basic, so that a browser may be asking."""
    session: str = field(default="", repr=False)

    @property
    def given(self) -> bool:
        """Whether there is anything but a session."""
        return bool(self.keys)


def read_credentials(
    headers: Headers, query: bytes, cookie_names: Iterable[str], *, token: bool
) -> Credentials:
    """Read what a request offers.

    Args:
        headers: as ASGI has them, the names in lower case.
        query: the query, encoded.
        cookie_names: under which of them a session may be.
        token: whether a key in the query counts.
    """
    keys: list[str] = []
    basic, session = False, ""
    for name, value in headers:
        if name == b"authorization":
            kind, _, rest = value.partition(b" ")
            kind, rest = kind.lower(), rest.strip()
            if kind == b"basic":
                basic = True
                keys.append(_password(rest))
            elif kind == b"bearer" or not rest:
                keys.append(_text(rest or value))
            else:
                keys.append("")
        elif name == b"x-api-key":
            keys.append(_text(value.strip()))
        elif name == b"cookie" and not session:
            session = _cookie(value, cookie_names)
    if token:
        keys += [_text(unquote_to_bytes(value)) for part, value in _parts(query) if _is_token(part)]
    return Credentials(tuple(dict.fromkeys(keys)), basic, session)


def without_token(query: bytes) -> bytes:
    """A query without keys in it; everything else is left to the letter."""
    if b"token" not in unquote_to_bytes(query).lower():
        return query
    return b"&".join(part for part in query.split(b"&") if not _is_token(part.partition(b"=")[0]))


def without_secrets(
    headers: Headers, cookie_names: Iterable[str], *, trusted: bool
) -> list[tuple[bytes, bytes]]:
    """Headers without credentials, and without what only a trusted proxy may say.

    Args:
        headers: as ASGI has them.
        cookie_names: of our sessions; other cookies stay.
        trusted: whether a proxy that is trusted has sent the request.
    """
    names = {name.encode() for name in cookie_names}
    kept: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name in _SECRET_HEADERS or (not trusted and name.startswith(_FORWARDED)):
            continue
        if name == b"cookie":
            parts = [part.strip() for part in value.split(b";")]
            rest = [part for part in parts if part and part.partition(b"=")[0].strip() not in names]
            if rest:
                kept.append((name, b"; ".join(rest)))
            continue
        kept.append((name, value))
    return kept


def _parts(query: bytes) -> list[tuple[bytes, bytes]]:
    found = []
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        found.append((name, value))
    return found


def _is_token(name: bytes) -> bool:
    return unquote_to_bytes(name).strip().lower() == b"token"


def _text(value: bytes) -> str:
    """A credential as text; empty, which is no key, where it cannot be one."""
    return value.decode("ascii", "replace") if len(value) <= MOST_CREDENTIAL else ""


def _password(value: bytes) -> str:
    try:
        told = base64.b64decode(value[:MOST_CREDENTIAL], validate=True)
    except (binascii.Error, ValueError):
        return ""
    return _text(told.partition(b":")[2])


def _cookie(value: bytes, names: Iterable[str]) -> str:
    wanted = {name.encode() for name in names}
    for part in value.split(b";"):
        name, _, rest = part.strip().partition(b"=")
        if name in wanted:
            return _text(rest.strip().strip(b'"'))
    return ""
