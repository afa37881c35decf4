"""Errors as lines of JSON or as a table of CSV, one at a time: memory stays flat."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any, TextIO

from holdfast.errors import BadInputError
from holdfast.stores.records import StoredError

FORMATS = ("jsonl", "csv")
COLUMNS = (
    "id",
    "timestamp",
    "service",
    "fingerprint",
    "error_type",
    "error_message",
    "category",
    "severity",
    "transient",
    "suggested_recovery",
    "recovery_attempted",
    "recovery_successful",
    "strategy",
    "dependency",
    "operation",
    "reason",
    "frames",
    "context",
    "traceback",
)
_FORMULA = ("=", "+", "-", "@", "\t")


def export(errors: Iterator[StoredError], style: str, stream: TextIO) -> int:
    """Write errors to an open text file.

    Args:
        errors: in the order in which they are to be written.
        style: ``jsonl`` or ``csv``.
        stream: where to.

    Returns:
        How many there were.

    Raises:
        BadInputError: another format.
    """
    if style not in FORMATS:
        raise BadInputError(f"format must be one of jsonl, csv, got {style!r:.100}")
    count = 0
    table = csv.writer(stream, lineterminator="\n") if style == "csv" else None
    if table is not None:
        table.writerow(COLUMNS)
    for error in errors:
        record = as_record(error)
        if table is None:
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")
        else:
            table.writerow([_cell(record[column]) for column in COLUMNS])
        count += 1
    return count


def as_record(error: StoredError) -> dict[str, Any]:
    """An error as JSON can hold it."""
    info = error.info
    record: dict[str, Any] = {
        name: getattr(info, name)
        for name in COLUMNS
        if name not in {"id", "service", "fingerprint", "timestamp", "frames"}
    }
    record["timestamp"] = info.timestamp.isoformat()
    record["frames"] = list(info.frames)
    own = {"id": error.id, "service": error.service, "fingerprint": error.fingerprint}
    whole = own | record
    return {column: whole[column] for column in COLUMNS}


def _cell(value: Any) -> str:
    """A value as a cell that no spreadsheet takes for a formula (OWASP, "CSV injection")."""
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False) if value else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
