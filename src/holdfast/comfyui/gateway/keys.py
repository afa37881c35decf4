"""API keys: made at random, shown once, kept as a hash, checked in constant time.

A key reads ``hf_<id>_<secret>``. The id is public: it is in the audit and finds the row. The secret
has 256 random bits, so SHA-256 is hash enough: there is nothing to guess that a slower one would
protect, and a request costs microseconds. The hash covers the id, so a row's hash is of no use in
another row.

A gateway asks the database at most every `REFRESH_SECONDS`, for all keys at once, so a key disabled
by another process is refused that much later at most. While the database cannot be read, the keys
last read are good for `STALE_SECONDS` more; after that nobody gets in.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from holdfast.comfyui.gateway.caller import UNLIMITED, Quotas, Scope, scopes_of
from holdfast.errors import BadInputError
from holdfast.policies import checks
from holdfast.ports import ambient
from holdfast.stores.address import writing
from holdfast.stores.jobs.tables import api_key
from holdfast.text import printable

REFRESH_SECONDS = 2.0
NEWS_SECONDS = 0.5
"""How old a reading must be before an unknown key makes for another."""
STALE_SECONDS = 60.0
MOST_KEYS = 10_000
_ID = "abcdefghijklmnopqrstuvwxyz234567"
_SECRET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"  # noqa: S105  # an alphabet
_SHAPE = re.compile(r"hf_([a-z2-7]{12})_([A-Za-z0-9]{43})", re.ASCII)
_LENGTH = 3 + 12 + 1 + 43
_NOBODY = "0" * 64
_LATEST = 253_402_300_799.0
"""The last second of the year 9999, which is as far as dates go."""


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """A text that has the shape of a key."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key; never its secret."""

    id: str
    user: str
    scopes: frozenset[Scope]
    label: str = ""
    created: float = 0.0
    expires: float | None = None
    """Seconds since 1970, or None for never."""
    disabled: bool = False
    quotas: Quotas = UNLIMITED
    digest: str = field(default="", repr=False)

    def good(self, wall: float) -> bool:
        """Whether it opens anything at this moment, in seconds since 1970."""
        return not self.disabled and (self.expires is None or wall < self.expires)


class KeysUnavailableError(Exception):
    """The keys could not be read for so long that nobody can be let in."""


def parse_key(text: Any) -> ParsedKey | None:
    """Take a key apart; None if it has not the shape of one."""
    if not isinstance(text, str) or len(text) != _LENGTH:
        return None
    found = _SHAPE.fullmatch(text)
    return None if found is None else ParsedKey(found[1], found[2])


def digest_of(parsed: ParsedKey) -> str:
    """What is kept of a key."""
    told = f"holdfast key 1\0{parsed.id}\0{parsed.secret}"
    return hashlib.sha256(told.encode()).hexdigest()


def new_key() -> tuple[str, ParsedKey]:
    """Make up a key: the text to show once, and its parts."""
    key_id = "".join(secrets.choice(_ID) for _ in range(12))
    secret = "".join(secrets.choice(_SECRET) for _ in range(43))
    return f"hf_{key_id}_{secret}", ParsedKey(key_id, secret)


class KeyStore:
    """The keys of one database; any thread may use it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._keys: Mapping[str, Key] = {}
        self._read_at: float | None = None

    def create(
        self,
        user: str,
        scopes: Iterable[str],
        *,
        label: str = "",
        expires: float | None = None,
        quotas: Quotas = UNLIMITED,
    ) -> tuple[str, Key]:
        """Make a key.

        Args:
            user: whose jobs it runs; several keys may belong to one user.
            scopes: what it is good for; see `Scope`.
            label: for people.
            expires: seconds since 1970, or None for never.
            quotas: how much it may ask for.

        Returns:
            The key itself, which cannot be had again, and what is known of it.

        Raises:
            BadInputError: naming what is wrong, and what would be right.
        """
        checks.label("user", user)
        if printable(user) != user or "\n" in user:
            raise BadInputError(f"user must be of printable characters, got {user!r:.100}")
        if len(label) > 200:
            raise BadInputError(
                f"label must be a text of at most 200 characters, got {label!r:.100}"
            )
        found = scopes_of(scopes)
        now = ambient.wall()
        if expires is not None:
            checks.number("expires", expires, at_most=_LATEST)
            if expires <= now:
                raise BadInputError(f"expires must be in the future, got {expires}")
        checks.instance("quotas", quotas, Quotas, optional=False)
        shown, parsed = new_key()
        key = Key(
            parsed.id, user, found, printable(label), now, expires, False, quotas, digest_of(parsed)
        )
        with writing(self._engine) as connection:
            count = connection.execute(sa.select(sa.func.count()).select_from(api_key)).scalar()
            if int(count or 0) >= MOST_KEYS:
                raise BadInputError(f"keys must be at most {MOST_KEYS}, and that many there are")
            connection.execute(sa.insert(api_key).values(_row(key)))
        self.refresh()
        return shown, key

    def list(self) -> tuple[Key, ...]:
        """All keys, the oldest first, as the database has them now."""
        self.refresh()
        return tuple(self._keys.values())

    def disable(self, key_id: str) -> Key | None:
        """Let a key open nothing any more; None if there is no such key."""
        with writing(self._engine) as connection:
            connection.execute(
                sa.update(api_key).where(api_key.c.id == key_id).values(disabled=True)
            )
        self.refresh()
        return self._keys.get(key_id)

    @property
    def fresh(self) -> bool:
        """Whether the keys in memory are recent enough to be asked."""
        return self.age < REFRESH_SECONDS

    @property
    def age(self) -> float:
        """Seconds since the keys were read; infinite if they never were."""
        return math.inf if self._read_at is None else max(0.0, ambient.now() - self._read_at)

    def refresh(self) -> None:
        """Read all keys anew.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: they cannot be read.
        """
        query = sa.select(api_key).order_by(api_key.c.created, api_key.c.id).limit(MOST_KEYS)
        # Under the lock, so that an older reading never replaces a newer one.
        with self._lock:
            with self._engine.connect() as connection:
                rows = connection.execute(query).mappings().all()
            self._keys = {row["id"]: _key(dict(row)) for row in rows}
            self._read_at = ambient.now()

    def refresh_if_due(self, *, news: bool = False) -> None:
        """Read all keys anew if they are not fresh, and bear it if that fails for a while.

        Args:
            news: read them even if they are.

        Raises:
            KeysUnavailableError: it has failed for too long.
        """
        if self.fresh and not news:
            return
        try:
            self.refresh()
        except (sa.exc.SQLAlchemyError, OSError):
            if self.age > STALE_SECONDS:
                raise KeysUnavailableError("the keys cannot be read") from None

    @property
    def any(self) -> bool:
        """Whether there is any key at all, good or not, as last read."""
        return bool(self._keys)

    def verify(self, text: Any) -> Key | None:
        """The key that this text is, if it opens anything now.

        Answers from memory. An unknown id costs what a wrong secret does.
        """
        parsed = parse_key(text)
        if parsed is None:
            return None
        key = self._keys.get(parsed.id)
        kept = _NOBODY if key is None else key.digest
        same = hmac.compare_digest(kept.encode(), digest_of(parsed).encode())
        return key if same and key is not None and key.good(ambient.wall()) else None

    def may_be_new(self, text: Any) -> bool:
        """Whether it may be a key that was made after the keys were read last.

        No more than every `NEWS_SECONDS`, so that made-up keys cost no reading each.
        """
        parsed = parse_key(text)
        return parsed is not None and parsed.id not in self._keys and self.age > NEWS_SECONDS

    def known(self, key_id: str) -> Key | None:
        """The key of this id, if it would open anything now; for sessions begun with it."""
        key = self._keys.get(key_id)
        return key if key is not None and key.good(ambient.wall()) else None


def _row(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "digest": key.digest,
        "user": key.user,
        "label": key.label,
        "scopes": ",".join(sorted(key.scopes)),
        "created": key.created,
        "expires": key.expires,
        "disabled": key.disabled,
        "max_queued": key.quotas.max_queued,
        "max_running": key.quotas.max_running,
        "jobs_per_hour": key.quotas.jobs_per_hour,
        "top_priority": key.quotas.top_priority,
    }


def _key(row: Mapping[Any, Any]) -> Key:
    # A scope that this Holdfast does not know opens nothing here.
    known = frozenset(Scope(one) for one in row["scopes"].split(",") if one in set(Scope))
    try:
        quotas = Quotas(
            row["max_queued"], row["max_running"], row["jobs_per_hour"], row["top_priority"]
        )
        disabled = bool(row["disabled"])
    except BadInputError:
        # Limits that cannot be understood are not taken for no limits.
        quotas, disabled = UNLIMITED, True
    return Key(
        row["id"],
        row["user"],
        known,
        row["label"],
        row["created"],
        row["expires"],
        disabled,
        quotas,
        row["digest"],
    )
