"""Which server holds a file that a client was told of before it came into our store. Bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.errors import BadInputError

_LONGEST = 1_024
"""Characters a name may have; no file system takes longer ones."""


@dataclass(frozen=True, slots=True)
class _Name:
    filename: str
    subfolder: str
    type: str


class SeenFiles:
    """The files of relayed `executed` frames, those seen last."""

    def __init__(self, most: int = 10_000) -> None:
        if most <= 0:
            raise BadInputError(f"most is {most!r}; it must be more than 0")
        self._most = most
        self._seen: OrderedDict[_Name, tuple[str, str]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def remember(self, files: Iterable[Mapping[str, Any]], server: str, user: str) -> None:
        """These files are on that server, and were made for that user."""
        for each in files:
            parts = (each.get("filename"), each.get("subfolder", ""), each.get("type", ""))
            if not all(isinstance(part, str) and len(part) <= _LONGEST for part in parts):
                continue
            name = _Name(*map(str, parts))
            self._seen[name] = (server, user)
            self._seen.move_to_end(name)
            if len(self._seen) > self._most:
                self._seen.popitem(last=False)

    def server_of(
        self, filename: str, subfolder: str, type_: str, *, user: str | None = None
    ) -> str | None:
        """The server that holds the file; None if it is unknown, or was made for another user.

        Args:
            filename: its name, as the client was told it.
            subfolder: the folder it is in.
            type_: "temp" or whatever the client was told.
            user: whose it must be; None for anybody's.
        """
        name = _Name(filename, subfolder, type_)
        found = self._seen.get(name)
        if found is None or user not in (None, found[1]):
            return None
        self._seen.move_to_end(name)
        return found[0]
