"""`holdfast errors`: what has gone wrong, out of the history that services keep."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from holdfast.apps.exits import Exit
from holdfast.errors import BadInputError
from holdfast.text import printable

if TYPE_CHECKING:
    from holdfast.stores import ErrorHistory, StoredError, StoredGroup

VARIABLE = "HOLDFAST_HISTORY"
CONFIG = "holdfast.toml"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def find_history(given: str | None) -> str:
    """Where the history is: as given, or in the environment, or in ``holdfast.toml`` here.

    Raises:
        BadInputError: nobody says where it is.
    """
    if given:
        return given
    named = os.environ.get(VARIABLE)
    if named:
        return named
    if Path(CONFIG).is_file():
        from holdfast.pipeline.config import read

        table = read(CONFIG).get("history", {})
        url = table.get("url") if isinstance(table, dict) else None
        if isinstance(url, str) and url:
            return url
    raise BadInputError(
        f"no history is named: give --history PATH or URL, set {VARIABLE}, or have "
        f"[history] url = ... in {CONFIG} here"
    )


@contextmanager
def opened(given: str | None) -> Iterator[ErrorHistory]:
    """The history, open; a file that does not exist is not made.

    Raises:
        BadInputError: it is not there, or cannot be read.
    """
    where = find_history(given)
    from holdfast.stores import ErrorHistory, HistoryUnavailableError

    plain = where.removeprefix("sqlite:///")
    if "://" not in plain:
        _look_at(Path(plain))
    history = ErrorHistory(where)
    try:
        yield history
    except HistoryUnavailableError as error:
        raise BadInputError(f"the history cannot be read: {error}") from None
    finally:
        history.close()


def _look_at(path: Path) -> None:
    """Refuse what opening it would make, move aside or add tables to."""
    if not path.is_file():
        raise BadInputError(f"history must be a file that exists, got {str(path)!r:.300}")
    import sqlite3

    from holdfast.stores.tables import error_event

    try:
        address = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
            ours = connection.execute(query, (error_event.name,)).fetchone()
    except sqlite3.Error as error:
        raise BadInputError(f"{path} cannot be read as a history: {error}") from None
    if ours is None:
        raise BadInputError(f"{path} is a database, but no history of errors")


def moment(text: str | None) -> float | None:
    """Seconds since 1970 of ``90m``, ``24h``, ``7d`` ago, or of a date and time.

    Raises:
        BadInputError: it is neither.
    """
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smhdw])", text.strip())
    if found:
        return max(0.0, time.time() - float(found[1]) * _UNITS[found[2]])
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError, OSError):
        raise BadInputError(
            f"--since must be like 90m, 24h, 7d or 2026-11-28T14:00, got {text!r:.100}"
        ) from None


def report(given: str | None, since: str | None, form: str, output: Path | None) -> int:
    """Print everything there is to know, or write it to a file."""
    from holdfast.telemetry.report import render

    with opened(given) as history:
        told = history.report(moment(since))
    if form == "table":
        from rich.console import Console

        from holdfast.telemetry.report_table import table

        with _stream(output) as stream:
            Console(file=stream, width=None if output is None else 120).print(table(told))
        return Exit.OK
    with _stream(output) as stream:
        stream.write(render(told, form).rstrip("\n") + "\n")
    return Exit.OK


def top(given: str | None, since: str | None, limit: int, order: str, *, as_json: bool) -> int:
    """Print the groups of errors, the most frequent or the latest first."""
    with opened(given) as history:
        groups = history.groups(limit, moment(since), order)
    if as_json:
        import json

        for group in groups:
            sys.stdout.write(json.dumps(_group(group)) + "\n")
        return Exit.OK
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("group", "count", "last seen", "category", "severity", "error")
    for group in groups:
        words = f"{group.error_type}: {group.message}"
        table.add_row(
            group.fingerprint,
            str(group.count),
            f"{group.last_seen:%Y-%m-%d %H:%M}",
            group.category,
            group.severity,
            escape(printable(words)[:200]),
        )
    Console().print(table if groups else "no errors")
    return Exit.OK


def show(given: str | None, mark: str, limit: int) -> int:
    """Print one group of errors, by the beginning of its fingerprint: when, what, where.

    Raises:
        BadInputError: no group, or more than one, begins like that.
    """
    with opened(given) as history:
        groups = [one for one in history.groups(10_000) if one.fingerprint.startswith(mark)]
        if len(groups) != 1:
            found = ", ".join(one.fingerprint for one in groups[:5]) or "none"
            raise BadInputError(f"{mark!r:.100} must begin one group's fingerprint; {found} do")
        group = groups[0]
        errors = history.events(fingerprint=group.fingerprint, limit=limit)
    out = sys.stdout.write
    out(f"{group.fingerprint}  {group.error_type}\n  {printable(group.message)}\n")
    out(f"  {group.category}, {group.severity}; {group.count} times\n")
    out(f"  first {group.first_seen:%Y-%m-%d %H:%M:%S}, last {group.last_seen:%Y-%m-%d %H:%M:%S}\n")
    for error in errors:
        out(_error(error))
    if errors and errors[0].info.traceback:
        out("latest traceback:\n")
        out("".join(f"  {printable(line)}\n" for line in errors[0].info.traceback.splitlines()))
    return Exit.OK


def export(given: str | None, since: str | None, form: str, output: Path | None) -> int:
    """Write every error as JSON lines or CSV."""
    with opened(given) as history, _stream(output) as stream:
        count = history.export(form, stream, moment(since))
    if output is not None:
        sys.stderr.write(f"{count} errors in {output}\n")
    return Exit.OK


def _error(error: StoredError) -> str:
    info = error.info
    where = " ".join(word for word in (info.operation, info.dependency) if word)
    if info.recovery_successful:
        end = f"mended by {info.strategy}"
    else:
        end = f"{info.strategy or 'recovery'} did not help" if info.recovery_attempted else ""
    parts = [f"{info.timestamp:%Y-%m-%d %H:%M:%S}", where, printable(info.error_message)[:200], end]
    return "  - " + "  ".join(part for part in parts if part) + "\n"


def _group(group: StoredGroup) -> dict[str, Any]:
    from dataclasses import asdict

    told = asdict(group)
    return told | {key: told[key].isoformat() for key in ("first_seen", "last_seen")}


@contextmanager
def _stream(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    try:
        with output.open("w", encoding="utf-8", newline="") as stream:
            yield stream
    except OSError as error:
        raise BadInputError(f"{output} cannot be written: {error.strerror}") from None
