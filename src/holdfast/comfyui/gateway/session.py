"""The cookie that a browser gets after it has shown a key once. Pure: nothing is kept here.

It names the key, not the user's rights, so a key that is disabled, expires or changes takes its
sessions with it. It is signed with a secret of this gateway and the key's own hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

from holdfast.comfyui.gateway.keys import Key
from holdfast.errors import BadInputError
from holdfast.policies import checks

COOKIE = "holdfast_session"
SECURE_COOKIE = "__Host-holdfast_session"
"""Over TLS: browsers take it from nobody but this very host."""
COOKIES = (COOKIE, SECURE_COOKIE)
_SHAPE = re.compile(r"1\.([a-z2-7]{12})\.([0-9]{1,12})\.([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Sessions:
    """Makes and checks cookies."""

    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """At random, sessions end when the process does; browsers then ask for the key again."""
    seconds: float = 12 * 3_600.0
    """How long a session lasts."""

    def __post_init__(self) -> None:
        if len(self.secret) < 32:
            raise BadInputError("secret must be at least 32 bytes, got fewer")
        checks.seconds("seconds", self.seconds)

    def make(self, key: Key, wall: float) -> str:
        """A cookie's value for who has shown this key."""
        ends = int(wall + self.seconds)
        return f"1.{key.id}.{ends}.{self._sign(key, ends)}"

    def key_id(self, value: str) -> str | None:
        """Which key a cookie speaks of; nothing is checked yet."""
        found = _SHAPE.fullmatch(value) if len(value) <= 128 else None
        return None if found is None else found[1]

    def check(self, value: str, key: Key, wall: float) -> bool:
        """Whether a cookie was made here for this key and still counts."""
        found = _SHAPE.fullmatch(value) if len(value) <= 128 else None
        if found is None or found[1] != key.id:
            return False
        ends = int(found[2])
        return hmac.compare_digest(found[3], self._sign(key, ends)) and wall < ends

    def header(self, value: str, *, secure: bool) -> bytes:
        """The Set-Cookie header's value."""
        name = SECURE_COOKIE if secure else COOKIE
        end = "; Secure" if secure else ""
        told = (
            f"{name}={value}; Path=/; Max-Age={int(self.seconds)}; HttpOnly; SameSite=Strict{end}"
        )
        return told.encode()

    def _sign(self, key: Key, ends: int) -> str:
        told = f"session 1\0{key.id}\0{key.digest}\0{ends}".encode()
        return hmac.new(self.secret, told, hashlib.sha256).hexdigest()
