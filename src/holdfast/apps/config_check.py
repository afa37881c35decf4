"""`holdfast config check`: is a file right, and if not, what is wrong in which line?"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from holdfast.apps.exits import Exit
from holdfast.errors import BadInputError
from holdfast.pipeline.config_fields import at
from holdfast.system.settings import settings_from
from holdfast.text import printable

LARGEST = 10 * 1024 * 1024
"""Bytes of a file that are read."""


class AnyName(Mapping[str, Any]):
    """Stands for the names a service gives when it loads the file: here they cannot be known."""

    def __getitem__(self, name: str) -> Any:
        return lambda *_: True

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def check_all(files: tuple[str, ...]) -> int:
    """Check each file; 0 if all are right."""
    wrong = 0
    for name in files:
        try:
            check(Path(name))
        except BadInputError as error:
            wrong += 1
            sys.stderr.write(f"{printable(str(error))}\n")
        else:
            sys.stdout.write(f"{printable(name)}: right\n")
    return Exit.BAD_INPUT if wrong else Exit.OK


def check(path: Path) -> None:
    """Check one file.

    Raises:
        BadInputError: ``FILE:LINE: what is wrong``.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise BadInputError(f"{path}: larger than {LARGEST:,} bytes")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise BadInputError(f"{path}:{line}: not UTF-8") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        where = f":{found[1]}" if found else f":{text.count(chr(10)) + 1}"
        raise BadInputError(f"{path}{where}: not TOML: {error}") from None
    try:
        settings_from(table, AnyName())
    except BadInputError as error:
        line = line_of(text, str(error).split(" ", 1)[0].rstrip(":"))
        raise BadInputError(f"{path}:{line}: {error}") from None


def line_of(text: str, path: str) -> int:
    """The line of a setting, or of the nearest table around it, from 1."""
    best, length = 1, 0
    for number, known in _places(text):
        # Exactly that, or something it lies in.
        inside = path == known or path.startswith((f"{known}.", f"{known}["))
        if inside and len(known) > length:
            best, length = number, len(known)
    return best


def _places(text: str) -> Iterator[tuple[int, str]]:
    """Every table and setting with its line, named as errors name them."""
    table, counts = "", dict[str, int]()
    for number, line in enumerate(text.splitlines(), 1):
        told = line.strip()
        if told.startswith("[["):
            name = _joined(told.split("]]", 1)[0] + "]]")
            if name:
                index = counts[name] = counts.get(name, -1) + 1
                table = f"{name}[{index}]"
                yield number, table
        elif told.startswith("["):
            name = _joined(told.split("]", 1)[0] + "]")
            if name:
                table = name
                yield number, table
        elif "=" in told and not told.startswith("#"):
            key = _joined(told.split("=", 1)[0].strip() + " = 0")
            if key:
                yield number, f"{table}.{key}" if table else key


def _joined(line: str) -> str:
    """The dotted name in one line of TOML, or an empty text if it is none."""
    try:
        level: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ""
    name = ""
    while isinstance(level, dict) and level:
        key = next(iter(level))
        name = at(name, key)
        level = level[key]
    return name
