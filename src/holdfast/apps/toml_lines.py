"""In which line of a TOML text each setting stands; the parser of the language forgets them.

It reads only texts that this parser has taken, and so need not find any mistake in them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from holdfast.pipeline.config_fields import at

Place = tuple[int, str]
"""A line, from 1, and a setting, named as errors name it: ``pipelines.a.policies[1].seconds``."""

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|[\[\]{}=,\n]"
    r"|[^\"'#\[\]{}=,\n]+",
    re.DOTALL,
)
_PATH = re.compile(r'(?:[A-Za-z0-9_-]+|"[^"]*")(?:\.(?:[A-Za-z0-9_-]+|"[^"]*")|\[[0-9]+\])*')


def line_of(text: str, message: str) -> int:
    """The line of the setting a message begins with, or of the nearest around it, from 1."""
    found = _PATH.match(message)
    path = found[0] if found else ""
    best, length = 1, 0
    for number, known in _Reader(text).places():
        # Exactly that, or something it lies in.
        inside = path == known or path.startswith((f"{known}.", f"{known}["))
        if inside and len(known) > length:
            best, length = number, len(known)
    return best


@dataclass(slots=True)
class _Reader:
    """Goes through a text once."""

    text: str
    line: int = 1
    _at: int = 0
    _counts: dict[str, int] = field(default_factory=dict)
    """How many tables each array of tables has so far."""

    def places(self) -> Iterator[Place]:
        """Every table and setting with its line, in their order."""
        table = ""
        while self._skip():
            line = self.line
            if self._peek() == "[":
                table = self._header()
                if table:
                    yield line, table
            else:
                yield from self._setting(table)

    def _header(self) -> str:
        told = ""
        while (piece := self._peek()) and piece != "\n":
            told += self._take() if piece[0] != "#" else self._take() and ""
        several = told.startswith("[[")
        keys = _keys(told.strip().strip("[]") if not several else told.strip()[2:-2])
        return self._named(keys, several=several)

    def _named(self, keys: list[str], *, several: bool) -> str:
        name = ""
        for number, key in enumerate(keys, 1):
            name = at(name, key)
            if several and number == len(keys):
                self._counts[name] = self._counts.get(name, -1) + 1
            if name in self._counts:
                name = f"{name}[{self._counts[name]}]"
        return name

    def _setting(self, inside: str) -> Iterator[Place]:
        """A key, a sign of equality, a value."""
        line, told = self.line, ""
        while (piece := self._peek()) and piece != "=":
            told += self._take()
        self._take()
        name = inside
        for key in _keys(told):
            name = at(name, key)
        yield line, name
        yield from self._value(name)

    def _value(self, name: str) -> Iterator[Place]:
        piece = self._peek().strip()
        while not piece and self._peek():
            self._take()
            piece = self._peek().strip()
        if piece == "[":
            yield from self._array(name)
        elif piece == "{":
            yield from self._inline(name)
        else:
            while self._peek() not in ("", "\n", ",", "]", "}"):
                self._take()

    def _array(self, name: str) -> Iterator[Place]:
        self._take()
        number = 0
        while self._skip() and self._peek() != "]":
            if self._peek() == ",":
                self._take()
                number += 1
                continue
            yield self.line, f"{name}[{number}]"
            yield from self._value(f"{name}[{number}]")
        self._take()

    def _inline(self, name: str) -> Iterator[Place]:
        self._take()
        while self._skip() and self._peek() != "}":
            if self._peek() == ",":
                self._take()
                continue
            yield from self._setting(name)
        self._take()

    def _skip(self) -> bool:
        """Go on to what is neither space nor comment; is there anything?"""
        while piece := self._peek():
            if piece.strip() and piece[0] != "#":
                return True
            self._take()
        return False

    def _peek(self) -> str:
        found = _TOKEN.match(self.text, self._at)
        return found[0] if found else ""

    def _take(self) -> str:
        piece = self._peek()
        self._at += len(piece)
        self.line += piece.count("\n")
        return piece


def _keys(dotted: str) -> list[str]:
    """The parts of a dotted key."""
    try:
        level: Any = tomllib.loads(f"{dotted.strip()} = 0")
    except tomllib.TOMLDecodeError:
        return []
    keys = []
    while isinstance(level, dict) and level:
        key = next(iter(level))
        keys.append(key)
        level = level[key]
    return keys
