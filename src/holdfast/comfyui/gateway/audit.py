"""Who did what, from where, on what, and how it ended: kept for a while, never a secret.

Noting an entry costs a request nothing but an append: a thread writes them in batches. If the
database cannot keep up or is away, the oldest that wait are dropped, and how many is itself noted
when it is back. Old entries go, by age and by number.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from holdfast.policies import checks
from holdfast.ports import ambient
from holdfast.scrub import scrub
from holdfast.stores.address import writing
from holdfast.stores.jobs.tables import NAME, audit_entry
from holdfast.text import printable

LOG = logging.getLogger("holdfast")
MOST_TEXT = 1_000
MOST_READ = 1_000
_BATCH = 500
_RETENTION_SECONDS = 600.0
_ID = "{:016d}-{:06d}-{}"
_PROCESS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that somebody did or tried."""

    user: str
    key_id: str
    address: str
    action: str
    """A method, or a verb such as ``create key``."""
    target: str
    """A path without its query, or the id of a job or key."""
    outcome: str
    """A status of HTTP, or a word."""
    detail: str = ""
    at: float | None = None
    """Seconds since 1970; None is now."""
    id: str = ""


class AuditLog:
    """The audit of one database; any thread may use it."""

    def __init__(
        self,
        engine: Engine,
        *,
        days: float = 90.0,
        most: int = 100_000,
        flush_seconds: float = 1.0,
        waiting: int = 10_000,
    ) -> None:
        """Begin to write.

        Args:
            engine: the database.
            days: how long entries are kept.
            most: how many are kept.
            flush_seconds: how often they are written.
            waiting: how many wait to be written, at most.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        checks.number("days", days, above=0)
        checks.whole("most", most, at_least=1)
        checks.seconds("flush_seconds", flush_seconds)
        checks.whole("waiting", waiting, at_least=1)
        self._engine, self._days, self._most = engine, days, most
        self._flush_seconds, self._limit = flush_seconds, waiting
        self._waiting: deque[dict[str, Any]] = deque()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._numbers = itertools.count()
        # Two processes may note something in the same microsecond.
        self._mark = f"{id(self) & 0xFFFFFF:06x}{next(_PROCESS):02x}"
        self._lost = 0
        self._cleaned: float | None = None
        self._troubled = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="holdfast-audit", daemon=True)
        self._thread.start()

    def note(self, entry: Entry) -> None:
        """Keep an entry; never blocks and never fails."""
        row = self._row(entry)
        with self._lock:
            self._waiting.append(row)
            if len(self._waiting) > self._limit:
                self._waiting.popleft()
                self._lost += 1

    def flush(self) -> bool:
        """Write what waits now; False if that did not work, and it waits on."""
        with self._writing:
            while True:
                with self._lock:
                    batch = list(itertools.islice(self._waiting, _BATCH))
                    lost = self._lost
                if not batch and not lost:
                    return True
                rows = [*batch, self._loss(lost)] if lost else batch
                try:
                    with writing(self._engine) as connection:
                        connection.execute(sa.insert(audit_entry), rows)
                except (sa.exc.SQLAlchemyError, OSError) as error:
                    if not self._troubled:
                        LOG.warning("audit: cannot be written now: %s", type(error).__name__)
                    self._troubled = True
                    return False
                self._troubled = False
                written = {row["id"] for row in batch}
                with self._lock:
                    self._lost -= lost
                    while self._waiting and self._waiting[0]["id"] in written:
                        self._waiting.popleft()

    def read(
        self,
        *,
        user: str | None = None,
        key_id: str | None = None,
        address: str | None = None,
        action: str | None = None,
        outcome: str | None = None,
        since: float | None = None,
        until: float | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Entry]:
        """Entries, the newest first; those that wait to be written are not among them.

        Args:
            user: whose.
            key_id: by which key.
            address: from where.
            action: doing what.
            outcome: ended how.
            since: not before, in seconds since 1970.
            until: before, in seconds since 1970.
            before: the id of the last entry seen, for the next page.
            limit: how many, at most `MOST_READ`.
        """
        table = audit_entry.c
        query = (
            sa.select(audit_entry).order_by(table.id.desc()).limit(max(1, min(limit, MOST_READ)))
        )
        wanted = ((table.user, user), (table.key_id, key_id), (table.address, address))
        for column, value in (*wanted, (table.action, action), (table.outcome, outcome)):
            if value is not None:
                query = query.where(column == value)
        if since is not None:
            query = query.where(table.at >= since)
        if until is not None:
            query = query.where(table.at < until)
        if before is not None:
            query = query.where(table.id < before)
        with self._engine.connect() as connection:
            rows: Sequence[Any] = connection.execute(query).mappings().all()
        return [Entry(**row) for row in rows]

    def clean(self) -> int:
        """Take out what is too old or too much; how many that were.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database does not let us.
        """
        table = audit_entry.c
        oldest = f"{self._micros(ambient.wall() - self._days * 86_400):016d}"
        with writing(self._engine) as connection:
            gone = connection.execute(sa.delete(audit_entry).where(table.id < oldest)).rowcount
            last = connection.execute(
                sa.select(table.id).order_by(table.id.desc()).offset(self._most).limit(1)
            ).scalar()
            if last is not None:
                gone += connection.execute(sa.delete(audit_entry).where(table.id <= last)).rowcount
        self._cleaned = ambient.now()
        return gone

    def close(self) -> None:
        """Write what waits, and end."""
        self._over.set()
        self._thread.join(10.0)
        self.flush()

    def _work(self) -> None:
        while not self._over.wait(self._flush_seconds):
            if not self.flush():
                continue
            now = ambient.now()
            if self._cleaned is None or now - self._cleaned >= _RETENTION_SECONDS:
                self._cleaned = now
                try:
                    self.clean()
                except (sa.exc.SQLAlchemyError, OSError) as error:
                    LOG.warning("audit: old entries stay for now: %s", type(error).__name__)

    def _row(self, entry: Entry) -> dict[str, Any]:
        at = ambient.wall() if entry.at is None else entry.at
        return {
            "id": _ID.format(self._micros(at), next(self._numbers) % 1_000_000, self._mark),
            "at": at,
            "user": _clip(entry.user, NAME),
            "key_id": _clip(entry.key_id, NAME),
            "address": _clip(entry.address, NAME),
            "action": _clip(entry.action, NAME),
            "target": _clip(entry.target, MOST_TEXT),
            "outcome": _clip(entry.outcome, NAME),
            "detail": _clip(entry.detail, MOST_TEXT),
        }

    def _loss(self, count: int) -> dict[str, Any]:
        words = f"{count} entries could not be written and are lost"
        return self._row(Entry("", "", "", "audit", "", "lost", words))

    @staticmethod
    def _micros(at: float) -> int:
        return max(0, int(at * 1_000_000))


def _clip(text: str, most: int) -> str:
    # Cut before it is scrubbed, which takes time for what is long, and after, for it may grow.
    return printable(scrub(text[: 4 * most])).replace("\n", " ")[:most]
