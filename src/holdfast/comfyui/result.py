"""What a run leaves in the caller's hand: files, and an honest account of how they came to be."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.comfyui.failures import Failure


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try on one server."""

    number: int
    """Counted from 1 over the whole job."""
    server: str
    seconds: float
    """From submission to the end, waiting in the server's queue included."""
    failure: Failure | None = None
    """Why it came to nothing; None for the one that delivered."""
    recovery: str = ""
    """What was done about the failure, in words."""
    made: int = 0
    """Files it brought home. A run that had to be split is delivered by several attempts."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file a run made, fetched whole and checked."""

    filename: str
    """The name it was given here; the server's own name is in `server_name`."""
    node_id: str
    server_name: str
    size: int
    """Bytes."""
    sha256: str
    media_type: str
    """Found from the content, such as ``image/png``."""
    width: int | None = None
    """Pixels, for pictures."""
    height: int | None = None
    """Pixels, for pictures."""
    plain: str = ""
    """``black`` or ``of one colour`` if every pixel of a picture is alike."""
    suspect: str = ""
    """Why the picture may not be what was wanted, in words; empty if nothing speaks for it."""
    path: Path | None = None
    """Where it lies, if an output folder was given."""
    list_name: str = "images"
    """Under which key its node lists it: ``images``, ``gifs``, ``audio``, ..."""
    subfolder: str = ""
    """Where the server put it."""
    kind: str = "output"
    """``output`` if it was saved, ``temp`` if it was only shown."""
    data: bytes | None = field(default=None, repr=False)
    """The content, if no output folder was given."""

    @property
    def bytes(self) -> bytes:
        """The content.

        Raises:
            OSError: the file was moved or deleted since.
        """
        if self.data is not None:
            return self.data
        assert self.path is not None  # noqa: S101 - one of the two is always given
        return self.path.read_bytes()

    def save(self, path: str | Path) -> Path:
        """Write a copy to ``path`` and return it.

        Raises:
            OSError: the copy cannot be written.
        """
        target = Path(path)
        if self.path is not None:
            return Path(shutil.copyfile(self.path, target))
        target.write_bytes(self.bytes)
        return target


@dataclass(frozen=True, slots=True)
class RunResult:
    """A job that was delivered."""

    prompt_id: str
    server: str
    """The server that made it."""
    files: tuple[OutputFile, ...]
    attempts: tuple[Attempt, ...]
    """Every try, the last being the one that delivered."""
    seconds: float
    """From the call to the last file on disk."""
    degradations: tuple[str, ...] = ()
    """What was changed in the workflow to get a result; empty if nothing."""
    notes: tuple[str, ...] = ()
    """What else is worth knowing, such as a node that was made to run again."""
    outputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What each node of the last run showed, texts included, as its server lists it."""

    @property
    def suspects(self) -> tuple[OutputFile, ...]:
        """The files that may not be what was wanted; each says why."""
        return tuple(each for each in self.files if each.suspect)

    @property
    def images(self) -> tuple[OutputFile, ...]:
        """The files that are pictures, animated ones included."""
        return tuple(each for each in self.files if each.media_type.startswith("image/"))

    @property
    def videos(self) -> tuple[OutputFile, ...]:
        """The files that are videos."""
        return tuple(each for each in self.files if each.media_type.startswith("video/"))
