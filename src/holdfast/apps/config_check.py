"""`holdfast config check`: is a file right, and if not, what is wrong in which line?"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from holdfast.apps.exits import Exit
from holdfast.apps.toml_lines import line_of
from holdfast.errors import BadInputError
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

    def __bool__(self) -> bool:
        # Or `names or {}` would take it for no names at all.
        return True


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
        with path.open("rb") as stream:
            read = stream.read(LARGEST + 1)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror}") from None
    if len(read) > LARGEST:
        raise BadInputError(f"{path}: larger than {LARGEST:,} bytes")
    try:
        text = read.decode("utf-8")
    except UnicodeDecodeError as error:
        line = read[: error.start].count(b"\n") + 1
        raise BadInputError(f"{path}:{line}: not UTF-8") from None
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise BadInputError(f"{path}: nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        where = found[1] if found else text.rstrip().count("\n") + 1
        raise BadInputError(f"{path}:{where}: not TOML: {error}") from None
    try:
        settings_from(table, AnyName())
    except BadInputError as error:
        raise BadInputError(f"{path}:{line_of(text, str(error))}: {error}") from None
