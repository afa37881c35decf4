"""A history of errors that outlives the process: what services talk to."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, TextIO, TypeVar

from sqlalchemy.engine import Connection

from holdfast.error_info import ErrorInfo
from holdfast.errors import ErrorCategory, ErrorSeverity
from holdfast.policies import checks
from holdfast.ports import ambient
from holdfast.stores import address, exporting, reading, reporting, rows
from holdfast.stores.place import TROUBLES, Place
from holdfast.stores.reading import Moment
from holdfast.stores.records import StoredChange, StoredError, StoredGroup, StoredRecovery
from holdfast.stores.retention import Retention
from holdfast.stores.trouble import HistoryUnavailableError, Kind, kind_of, words
from holdfast.stores.writer import Writer

LOG = logging.getLogger("holdfast")
GIB = 1024**3
_PAGE = 1_000
T = TypeVar("T")


class ErrorHistory:
    """Errors, what was done about them, and changes of state, in SQLite or PostgreSQL.

    Safe across threads and forks; several processes may share one file or database. Writing
    never blocks, never raises and never keeps a secret: `append` takes microseconds, and one
    thread writes what has come within ``flush_seconds``. A process killed with SIGKILL
    loses at most what came in that last span.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        *,
        retention_days: float = 14,
        max_bytes: int = GIB,
        flush_seconds: float = 0.25,
        flush_rows: int = 200,
        max_pending: int = 10_000,
        service: str = "",
    ) -> None:
        """Open a history, and make it if there is none.

        A damaged file is moved aside and a new one begun. A database that cannot be reached now
        is tried again until it can. `trouble` says either.

        Args:
            url: a path, ``sqlite:///errors.db`` or ``postgresql://user:password@host/database``.
            retention_days: days that errors are kept. Counts by the hour stay for a year.
            max_bytes: how much room it may take before the oldest errors go.
            flush_seconds: seconds until what was added rests on disk.
            flush_rows: so many rows are written at once.
            max_pending: errors that may wait while the database is in trouble. Beyond that the
                oldest of the least severe is dropped and counted.
            service: the name of this service, where several share a database.

        Raises:
            BadInputError: naming the argument, its value and what is right; also if the file
                cannot be written as things are.
            SchemaTooNewError: the database was made by a newer Holdfast.
        """
        checks.number("retention_days", retention_days, above=0)
        checks.whole("max_bytes", max_bytes, at_least=1_000_000)
        checks.number("flush_seconds", flush_seconds, above=0, at_most=60, unit="seconds")
        checks.whole("flush_rows", flush_rows, at_least=1)
        checks.whole("max_pending", max_pending, at_least=1)
        if service:
            checks.label("service", service)
        self._service = rows.name(service)
        self._place = Place(address.parse(url))
        told = ""
        try:
            self._place.open()
        except TROUBLES as error:
            told = words(error)
            LOG.warning("error history: %s; trying again", told)
        except BaseException:
            self._place.close()
            raise
        self._writer = Writer(
            self._place,
            Retention(retention_days, max_bytes),
            flush_seconds=flush_seconds,
            flush_rows=flush_rows,
            max_pending=max_pending,
        )
        self._writer.trouble = told
        self._refused = 0

    def append(self, info: ErrorInfo, fingerprint: str) -> str:
        """Keep an error; returns at once, never raises.

        Args:
            info: what happened. It is copied, without secrets.
            fingerprint: the group it belongs to.

        Returns:
            The error's id, for `resolve`; empty if it is nothing that can be kept, or the
            history is closed. `state` counts those as ``refused``.
        """
        writer = self._writer
        try:
            row = rows.of_error(info, fingerprint, self._service, writer.ids, writer.memo)
            if writer.closed:
                return self._refuse("it is closed")
            writer.backlog.add(row)
        except Exception as error:  # noqa: BLE001  # a history must never fail a call
            return self._refuse(type(error).__name__)
        return str(row["id"])

    def resolve(self, event_id: str, *, strategy: str, successful: bool) -> None:
        """Say what became of an error; never blocks or raises."""
        self._note(
            "resolve",
            lambda: {
                "event": str(event_id)[:200],
                "ts": int(event_id[:14], 16) / 1e6,
                "strategy": rows.name(strategy),
                "successful": bool(successful),
            },
        )

    def record_recovery(
        self,
        strategy: str,
        *,
        successful: bool,
        category: ErrorCategory | str = ErrorCategory.UNKNOWN,
        seconds: float = 0.0,
        error_type: str = "",
        detail: str = "",
    ) -> None:
        """Keep one attempt to mend something; never blocks or raises.

        Args:
            strategy: what was tried.
            successful: whether its effect was verified.
            category: of the error.
            seconds: how long it took.
            error_type: the class of the error.
            detail: whatever else there is to say.
        """
        self._note(
            "recovery",
            lambda: {
                **self._stamp(),
                "strategy": rows.name(strategy),
                "category": rows.name(category),
                "successful": bool(successful),
                "seconds": float(seconds),
                "error_type": rows.name(error_type),
                "detail": rows.clean(str(detail), rows.MESSAGE),
            },
        )

    def record_change(self, kind: str, name: str, old: str, new: str, reason: str = "") -> None:
        """Keep one change of state; never blocks or raises.

        Args:
            kind: ``degradation``, ``breaker`` or another word.
            name: of what has changed.
            old: its state before.
            new: its state now.
            reason: why.
        """
        self._note(
            "change",
            lambda: {
                **self._stamp(),
                "kind": rows.name(kind),
                "name": rows.name(name),
                "old": rows.name(old),
                "new": rows.name(new),
                "reason": rows.clean(str(reason), rows.MESSAGE),
            },
        )

    def _stamp(self) -> dict[str, Any]:
        now = ambient.wall()
        return {"id": self._writer.ids.at(now), "ts": now, "service": self._service}

    def _note(self, kind: str, make: Callable[[], rows.Row]) -> None:
        try:
            row = make()
            if self._writer.closed:
                self._refuse("it is closed")
            else:
                self._writer.backlog.note(kind, row)
        except Exception as error:  # noqa: BLE001  # as in `append`
            self._refuse(type(error).__name__)

    def _refuse(self, why: str) -> str:
        self._refused += 1
        if self._refused == 1:
            LOG.warning("error history: a record was refused: %s (said once)", why)
        return ""

    def flush(self, timeout: float = 5.0) -> bool:
        """Write all that was added before this call.

        Args:
            timeout: seconds to wait at most.

        Returns:
            Whether it is written (or dropped, and counted as that).
        """
        checks.seconds("timeout", timeout, zero=True)
        return self._writer.flush(timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Write what waits and let go of the database; called twice, it does nothing more.

        Args:
            timeout: seconds to wait at most.

        Returns:
            Whether everything is written.
        """
        checks.seconds("timeout", timeout, zero=True)
        return self._writer.close(timeout)

    @property
    def trouble(self) -> str | None:
        """What is wrong, or has happened to the file, in words; None while all is well."""
        return self._writer.trouble or self._place.lasting or None

    def state(self) -> dict[str, Any]:
        """How it is: ``url`` (without credentials), ``written``, ``pending``, ``dropped`` and
        ``refused`` records, ``trouble``, and ``last_flush`` in seconds since 1970.
        """  # noqa: D205  # one sentence
        return {
            "url": self._place.address.shown,
            **self._writer.state(),
            "refused": self._refused,
        }

    def events(  # noqa: PLR0917  # each may be given by name
        self,
        since: Moment = None,
        until: Moment = None,
        category: ErrorCategory | str | None = None,
        severity: ErrorSeverity | str | None = None,
        dependency: str | None = None,
        search: str | None = None,
        limit: int = 100,
        before: str | None = None,
        *,
        fingerprint: str | None = None,
    ) -> list[StoredError]:
        """Errors, the newest first.

        Args:
            since: the earliest time, as a `datetime` or seconds since 1970.
            until: the time before which they happened.
            category: only these.
            severity: only these.
            dependency: only these.
            search: part of the message, type, operation or dependency, in either case.
            limit: how many at most.
            before: the id of the last error of the page before this one.
            fingerprint: only this group.

        Raises:
            BadInputError: naming the argument, its value and what is right.
            HistoryUnavailableError: the database cannot be read now.
        """
        return self._read(
            lambda connection: reading.events(
                connection,
                since=since,
                until=until,
                category=category,
                severity=severity,
                dependency=dependency,
                fingerprint=fingerprint,
                search=search,
                limit=limit,
                before=before,
            )
        )

    def recent(self, n: int = 1000) -> list[StoredError]:
        """The last ``n`` errors, the oldest of them first: to restore what was in memory.

        Raises:
            HistoryUnavailableError: the database cannot be read now.
        """
        return self.events(limit=n)[::-1]

    def groups(
        self, limit: int = 100, since: Moment = None, order: str = "count"
    ) -> list[StoredGroup]:
        """Groups of errors with the same fingerprint.

        Args:
            limit: how many at most.
            since: only those seen since then.
            order: ``count`` or ``last_seen``, the largest first.

        Raises:
            BadInputError: naming the argument, its value and what is right.
            HistoryUnavailableError: the database cannot be read now.
        """
        return self._read(lambda connection: reading.groups(connection, limit, since, order))

    def group(self, fingerprint: str, service: str | None = None) -> StoredGroup | None:
        """One group, or None; without ``service``, from where it happened last.

        Raises:
            HistoryUnavailableError: the database cannot be read now.
        """
        return self._read(lambda connection: reading.group(connection, fingerprint, service))

    def counts(
        self, since: Moment = None, until: Moment = None, by: str = "category"
    ) -> dict[Any, int]:
        """How many errors there were, those included that are kept no longer.

        Args:
            since: from the minute of this time on.
            until: up to the minute of this time.
            by: ``category``, ``severity`` or ``dependency`` (the most frequent first), or ``hour``
                or ``minute`` (by their first moment in UTC, in order).

        Raises:
            BadInputError: naming the argument, its value and what is right.
            HistoryUnavailableError: the database cannot be read now.
        """
        return self._read(lambda connection: reporting.counts(connection, since, until, by))

    def recoveries(self, **filters: Any) -> list[StoredRecovery]:
        """Attempts to mend something, the newest first.

        Args:
            **filters: ``since``, ``until``, ``strategy``, ``successful``, ``limit``, ``before``.

        Raises:
            HistoryUnavailableError: the database cannot be read now.
        """
        return self._read(lambda connection: reading.recoveries(connection, **filters))

    def changes(self, **filters: Any) -> list[StoredChange]:
        """Changes of state, the newest first.

        Args:
            **filters: ``since``, ``until``, ``kind``, ``name``, ``limit``, ``before``.

        Raises:
            HistoryUnavailableError: the database cannot be read now.
        """
        return self._read(lambda connection: reading.changes(connection, **filters))

    def report(self, since: Moment = None) -> dict[str, Any]:
        """What happened, as plain data: totals, rates, groups with trends, recoveries.

        Args:
            since: from the minute of this time on; None: from the beginning.

        Raises:
            HistoryUnavailableError: the database cannot be read now.
        """
        return self._read(lambda connection: reporting.report(connection, since))

    def export(self, format: str, stream: TextIO, since: Moment = None) -> int:  # noqa: A002
        """Write all errors, the newest first, to an open text file.

        Args:
            format: ``jsonl`` or ``csv``.
            stream: where to.
            since: only those since then.

        Returns:
            How many there were.

        Raises:
            BadInputError: another format.
            HistoryUnavailableError: the database cannot be read now.
        """
        return exporting.export(self._pages(since), format, stream)

    def _pages(self, since: Moment) -> Iterator[StoredError]:
        last: str | None = None
        while True:
            page = self.events(since=since, limit=_PAGE, before=last)
            yield from page
            if len(page) < _PAGE:
                return
            last = page[-1].id

    def _read(self, question: Callable[[Connection], T]) -> T:
        for attempt in (1, 2):
            try:
                self._place.ensure()
                with self._place.engine.connect() as connection:
                    return question(connection)
            except TROUBLES as error:
                # Drivers' messages name hosts and users: what is chained would be shown.
                told = f"{self._place.address.shown}: {words(error)}"
                if attempt == 1 and self._mended(error):
                    continue
                raise HistoryUnavailableError(told) from None
        raise AssertionError  # pragma: no cover  # the second attempt returns or raises

    def _mended(self, error: BaseException) -> bool:
        if kind_of(error) is not Kind.CORRUPT:
            return False
        try:
            self._place.heal()
        except TROUBLES:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ErrorHistory({self._place.address.shown!r})"
