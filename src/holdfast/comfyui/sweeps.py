"""Parameter sweeps: one run a line, from a JSONL or a CSV file. Pure but for reading the file.

A key is an input (``3.seed``, ``seed``) or one of `RESERVED`, which say how the run is called,
when it is due and which workflow it is of. The file is read line by line; nothing of it is held
but the line that is being read, and that has bounds.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

from holdfast.errors import BadInputError

RESERVED: Final = ("name", "priority", "deadline", "key", "workflow", "count", "expand")
MAX_LINE: Final = 2**20
"""Bytes of a line; of a CSV record all of its lines together."""
MAX_ROWS: Final = 100_000
"""Runs of one file, those of grids counted out."""
MAX_COLUMNS: Final = 1_000
MAX_COUNT: Final = 1_000_000
_CELL = 131_072
"""Characters of a CSV cell, as Python's `csv` has it."""
_TEXT = 200
_NO_MARKS = frozenset(map(chr, range(32)))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a sweep, or one point of its grid."""

    line: int
    """Its line in the file, counted from 1."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    name: str = ""
    priority: int | None = None
    due: float | None = None
    """When it must be done, in seconds since 1970."""
    within: float | None = None
    """Seconds after its acceptance within which it must be done."""
    key: str = ""
    workflow: Path | None = None
    count: int | None = None
    point: int = 0
    """Which point of a grid it is, counted from 1; 0 if it is none."""


def read(path: str | Path) -> Iterator[Row]:
    """The rows of a sweep file, one by one.

    Paths in it are taken from the folder that the file is in.

    Args:
        path: a ``.csv`` or ``.tsv`` file with a header, or a file of one JSON object a line.

    Raises:
        BadInputError: while it is read: the file cannot be read, or a line is wrong; the message
            names file, line, field and value, and what would be right.
    """
    path = Path(path)
    form = _csv_rows if path.suffix.lower() in {".csv", ".tsv"} else _json_rows
    try:
        with path.open("rb") as stream:
            made = 0
            for row in form(stream, path):
                made += 1
                if made > MAX_ROWS:
                    raise BadInputError(
                        f"{path}: line {row.line}: more than {MAX_ROWS:,} runs; split the file"
                    )
                yield row
            if not made:
                raise BadInputError(f"{path}: there is no run in it")
    except OSError as error:
        raise BadInputError(f"{path}: cannot read it: {error.strerror or error}") from None


# The two forms ------------------------------------------------------------------------------


def _json_rows(stream: IO[bytes], path: Path) -> Iterator[Row]:
    for number, text in _lines(stream, path):
        if not text.strip():
            continue
        where = f"{path}: line {number}"
        try:
            found = json.loads(
                text, object_pairs_hook=_no_twice(where), parse_constant=_no_number(where)
            )
        except RecursionError:
            raise BadInputError(f"{where}: nested too deeply") from None
        except BadInputError:
            raise
        except ValueError as error:
            raise BadInputError(
                f'{where}: not JSON: {error}; write one object a line, as {{"3.seed": 5}}'
            ) from None
        if not isinstance(found, dict):
            raise BadInputError(
                f"{where}: {_short(found)} is no object; write one object a line, as "
                '{"3.seed": 5}'
            )
        yield from _grid(found, number, path)


def _csv_rows(stream: IO[bytes], path: Path) -> Iterator[Row]:
    lines = _Records(stream, path)
    first = next(lines, None)
    if first is None:
        return
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(first)
    reader = csv.reader(itertools.chain([first], lines), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        began = lines.number + 1 if header is not None else 1
        lines.record = 0
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise BadInputError(
                f"{path}: line {began}: {error}; a cell is at most {_CELL:,} characters, and a "
                'quote in it is doubled, as in "a ""red"" cat"'
            ) from None
        if header is None:
            header = _header(cells, path)
            continue
        if not any(cell.strip() for cell in cells):
            continue
        where = f"{path}: line {began}"
        if len(cells) != len(header):
            raise BadInputError(
                f"{where}: {len(cells)} cells under a header of {len(header)}; a cell with "
                f"{delimiter!r} in it is put in quotes"
            )
        pairs = ((key, _cell(cell)) for key, cell in zip(header, cells, strict=True) if cell)
        yield _row(dict(pairs), began, path)


class _Records:
    """The lines of a CSV file; knows where it is, and how long the record has become."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self.number = 0
        self.record = 0
        self._path = path
        self._lines = _lines(stream, path)

    def __iter__(self) -> _Records:
        return self

    def __next__(self) -> str:
        self.number, text = next(self._lines)
        self.record += len(text)
        if self.record > MAX_LINE:
            raise BadInputError(
                f"{self._path}: line {self.number}: a record has more than {MAX_LINE:,} "
                "characters; is a quote missing?"
            )
        return text


def _lines(stream: IO[bytes], path: Path) -> Iterator[tuple[int, str]]:
    for number in itertools.count(1):
        raw = stream.readline(MAX_LINE + 1)
        if not raw:
            return
        if len(raw) > MAX_LINE:
            raise BadInputError(
                f"{path}: line {number}: longer than {MAX_LINE:,} bytes; write one run a line"
            )
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise BadInputError(f"{path}: line {number}: not UTF-8; save it as UTF-8") from None
        if "\0" in text:
            raise BadInputError(f"{path}: line {number}: a zero byte; is this a text file?")
        yield number, text


def _delimiter(header: str) -> str:
    """What stands between cells: some spreadsheets write semicolons."""
    return next((each for each in ",;\t" if each in header), ",")


def _header(cells: list[str], path: Path) -> list[str]:
    header = [cell.strip() for cell in cells]
    if len(header) > MAX_COLUMNS:
        raise BadInputError(f"{path}: line 1: {len(header):,} columns; at most {MAX_COLUMNS:,}")
    for index, key in enumerate(header):
        if not key:
            raise BadInputError(
                f"{path}: line 1: column {index + 1} has no name; name an input, as 3.seed, or one "
                f"of {', '.join(RESERVED[:-1])}"
            )
        if key in header[:index]:
            raise BadInputError(f"{path}: line 1: {key}: named twice; a column has one name")
        if key == "expand":
            raise BadInputError(f"{path}: line 1: expand: grids are for JSONL files")
    return header


def _cell(text: str) -> Any:
    """A cell as JSON where it is some, and as text where not; files keep their mark."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    # NaN and the like are words here.
    return text if isinstance(found, float) and not math.isfinite(found) else found


# What a line says ---------------------------------------------------------------------------


def _grid(found: dict[str, Any], line: int, path: Path) -> Iterator[Row]:
    expand = found.pop("expand", False)
    if not isinstance(expand, bool):
        raise BadInputError(f"{path}: line {line}: expand: {_short(expand)}: write true or false")
    axes = {
        key: value
        for key, value in found.items()
        if expand and isinstance(value, list) and key not in RESERVED
    }
    if not expand:
        yield _row(found, line, path)
        return
    for key, values in axes.items():
        if not values:
            raise BadInputError(f"{path}: line {line}: {key}: []: a list to expand has values")
    size = math.prod(len(values) for values in axes.values())
    if size > MAX_ROWS:
        raise BadInputError(
            f"{path}: line {line}: its lists make {size:,} runs; at most {MAX_ROWS:,}"
        )
    if size > 1 and found.get("key"):
        raise BadInputError(
            f"{path}: line {line}: key: {_short(found['key'])}: {size} runs of a grid cannot have "
            "one key; leave it out, and give --key for all"
        )
    for point, chosen in enumerate(itertools.product(*axes.values()), 1):
        one = found | dict(zip(axes, chosen, strict=True))
        yield replace(_row(one, line, path), point=point)


def _row(found: Mapping[str, Any], line: int, path: Path) -> Row:
    inputs: dict[str, Any] = {}
    files: dict[str, Path] = {}
    own: dict[str, Any] = {}
    for key, value in found.items():
        where = f"{path}: line {line}: {key}"
        if key in RESERVED:
            if value is not None:
                own |= _READERS[key](value, where, path.parent)
        elif not key.strip():
            raise BadInputError(f"{where!s}: a key is an input, such as 3.seed")
        elif isinstance(value, str) and value.startswith("@@"):
            inputs[key] = value[1:]
        elif isinstance(value, str) and value.startswith("@"):
            files[key] = _file(value[1:], where, path.parent, or_else=" (for a text write @@)")
        else:
            inputs[key] = value
    return Row(line, inputs, files, **own)


def _file(text: str, where: str, folder: Path, or_else: str = "") -> Path:
    path = folder / text
    if not text or not path.is_file():
        raise BadInputError(f"{where}: there is no file {str(path)!r:.300}{or_else}")
    return path


def _label(field_name: str) -> Callable[[Any, str, Path], dict[str, Any]]:
    def read_label(value: Any, where: str, _folder: Path) -> dict[str, Any]:
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str) or len(text) > _TEXT or _NO_MARKS.intersection(text):
            raise BadInputError(
                f"{where}: {_short(value)}: write a text of at most {_TEXT} characters"
            )
        return {field_name: text}

    return read_label


def _whole(field_name: str, least: int, most: int) -> Callable[[Any, str, Path], dict[str, Any]]:
    def read_whole(value: Any, where: str, _folder: Path) -> dict[str, Any]:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise BadInputError(
                f"{where}: {_short(value)}: write a whole number from {least:,} to {most:,}"
            )
        return {field_name: value}

    return read_whole


def _deadline(value: Any, where: str, _folder: Path) -> dict[str, Any]:
    return deadline(value, where)


def deadline(value: Any, where: str) -> dict[str, float]:
    """``{"within": seconds}`` of a number, ``{"due": seconds since 1970}`` of a date and time.

    Raises:
        BadInputError: it is neither.
    """
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if number is not None and 0 < number < 1e9:
        return {"within": float(number)}
    if isinstance(value, str):
        try:
            return {"due": datetime.fromisoformat(value).timestamp()}
        except (ValueError, OverflowError, OSError):
            pass
    raise BadInputError(
        f"{where}: {_short(value)}: write seconds from now, as 3600, or a time, as 2026-11-30T07:00"
    )


def _workflow(value: Any, where: str, folder: Path) -> dict[str, Any]:
    if not isinstance(value, str):
        raise BadInputError(f"{where}: {_short(value)}: write the path of a workflow file")
    return {"workflow": _file(value, where, folder)}


_READERS: Final[Mapping[str, Callable[[Any, str, Path], dict[str, Any]]]] = {
    "name": _label("name"),
    "key": _label("key"),
    "priority": _whole("priority", -1_000_000, 1_000_000),
    "count": _whole("count", 1, MAX_COUNT),
    "deadline": _deadline,
    "workflow": _workflow,
}


def _short(value: Any) -> str:
    return f"{value!r:.80}"


def _no_twice(where: str) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise BadInputError(f"{where}: {key}: given twice; a key has one value")
            found[key] = value
        return found

    return collect


def _no_number(where: str) -> Callable[[str], Any]:
    def refuse(name: str) -> Any:
        raise BadInputError(f"{where}: {name} is no number in JSON; write a finite one")

    return refuse
