"""How many jobs of a user may run at once, as the user's keys say.

The limits are read where the keys are, in the transaction that gives jobs out. So they hold over
all workers and processes, and a key that is made, disabled or has run out counts from then on.

Of a user's keys that are good the most generous counts. Where none is good any more, it is the most
generous of all: what was queued with a key does not run more freely because the key was disabled.
Who has no key, such as the command line, has no limit.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from holdfast.machines.tenure import JobState
from holdfast.stores.jobs import rows, tables

_J = tables.job.c
_KEY = tables.api_key.c
# Few run, and those that wait are not looked at: the index has states first.
_RUNNING = (
    sa.select(_J.user, sa.func.count()).where(_J.state == JobState.RUNNING.value).group_by(_J.user)
)
_LIMITS = sa.select(_KEY.user, _KEY.max_running, _KEY.disabled, _KEY.expires).where(
    _KEY.user.in_(sa.bindparam("users", expanding=True))
)


class Room:
    """Who has as many jobs running as they may; in a transaction in which nobody else gives any.

    Args:
        connection: in that transaction.
        now: seconds since 1970.
    """

    def __init__(self, connection: Connection, now: float) -> None:
        self._connection, self._now = connection, now
        found = connection.execute(_RUNNING)
        self._running = Counter({str(user): int(count) for user, count in found})
        self._limits = self._read(list(self._running))

    def full(self) -> list[str]:
        """The users who have to wait."""
        return [user for user, most in self._limits.items() if self._running[user] >= most]

    def took(self, user: str) -> None:
        """One more of this user's runs."""
        if user not in self._running:
            self._limits |= self._read([user])
        self._running[user] += 1

    def _read(self, users: list[str]) -> dict[str, int]:
        good: dict[str, list[int | None]] = {}
        bad: dict[str, list[int | None]] = {}
        for some in rows.chunks(users):
            found = self._connection.execute(_LIMITS, {"users": list(some)})
            for user, most, disabled, expires in found:
                kept = bad if disabled or _is_over(expires, self._now) else good
                kept.setdefault(user, []).append(_number(most))
        limits = {}
        for user, own in (bad | good).items():
            known = [each for each in own if each is not None]
            if len(known) == len(own):
                limits[user] = max(known)
        return limits


def _number(most: Any) -> int | None:
    """A limit that was damaged is the strictest there is, and not none."""
    return most if most is None or (isinstance(most, int) and most > 0) else 1


def _is_over(expires: Any, now: float) -> bool:
    return expires is not None and not (isinstance(expires, int | float) and now < expires)
