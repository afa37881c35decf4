"""Files kept by their content: each under the SHA-256 of its bytes, once, whoever made it.

A file is written beside the store, forced to the disk, and only then linked to its name; so there
is never half a file under a name, and adopting the same content twice is adopting it once.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from holdfast.errors import BadInputError
from holdfast.stores.to_disk import give_name, sync_folder

_DIGEST = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20
_ABANDONED = 86_400.0
"""Seconds after which nobody is writing a file in `staging` any more."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """A file whose content is not what its name says."""

    sha256: str
    size: int
    """Bytes it has now."""
    why: str


class BlobStore:
    """A folder of files by content. Safe across threads and processes.

    Args:
        folder: for this store alone; made if need be.

    Raises:
        BadInputError: the folder cannot be made or written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).resolve()
        self._staging = self.folder / "staging"
        try:
            self._staging.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInputError(
                f"folder for files must be one that can be made, got {str(self.folder)!r}: "
                f"{error.strerror}"
            ) from None
        self._tidy()

    def staging(self) -> Path:
        """A folder on the same file system, for files on their way in."""
        return self._staging

    def path(self, sha256: str) -> Path | None:
        """Where the content lies; None if it is not here."""
        place = self._place(sha256)
        return place if place.is_file() else None

    def adopt(self, path: Path, sha256: str) -> Path:
        """Take a file in that lies in `staging` and is on the disk already; it is moved.

        Args:
            path: the file.
            sha256: of its content, as its writer found it.

        Raises:
            OSError: it cannot be moved.
        """
        place = self._place(sha256)
        if not place.parent.is_dir():
            place.parent.mkdir(parents=True, exist_ok=True)
            sync_folder(self.folder)
        # One that was damaged is replaced by the new one, which is well.
        with contextlib.suppress(FileNotFoundError):
            if digest_of(place) == sha256:
                os.utime(place)  # what is being used again is not old
                path.unlink(missing_ok=True)
                return place
        path.replace(place)
        sync_folder(place.parent)
        return place

    def put(self, content: bytes) -> str:
        """Keep bytes; returns their SHA-256."""
        digest = hashlib.sha256(content).hexdigest()
        if not self._use_again(digest):
            self.put_from(io.BytesIO(content))
        return digest

    def put_from(self, source: BinaryIO) -> tuple[str, int]:
        """Keep what an open file holds; returns its SHA-256 and its size in bytes."""
        part = self._staging / f"{os.getpid()}-{os.urandom(8).hex()}.part"
        digest, size = hashlib.sha256(), 0
        try:
            with part.open("xb") as file:
                while chunk := source.read(_CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            self.adopt(part, digest.hexdigest())
        finally:
            part.unlink(missing_ok=True)
        return digest.hexdigest(), size

    def export(self, sha256: str, target: Path) -> bool:
        """Give the content a name elsewhere; False if a file of that content is there already.

        Raises:
            FileNotFoundError: the content is not here.
            FileExistsError: another file has that name.
            OSError: it cannot be written.
        """
        source = self.path(sha256)
        if source is None:
            raise FileNotFoundError(sha256)
        if _holds(target, sha256):
            return False
        part = target.with_name(f".{target.name}-{os.urandom(4).hex()}.part")
        try:
            shutil.copyfile(source, part)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            try:
                give_name(part, target)
            except FileExistsError:  # somebody was quicker
                if _holds(target, sha256):
                    return False
                raise
        finally:
            part.unlink(missing_ok=True)
        sync_folder(target.parent)
        return True

    def all(self) -> Iterator[str]:
        """Every content there is."""
        for folder in sorted(self.folder.glob("[0-9a-f][0-9a-f]")):
            for each in sorted(folder.iterdir()):
                if _DIGEST.fullmatch(each.name):
                    yield each.name

    def check(self) -> list[Damaged]:
        """Read everything and compare it with its name."""
        found = []
        for digest in self.all():
            path = self._place(digest)
            try:
                actual = digest_of(path)
                size = path.stat().st_size
            except OSError as error:
                found.append(Damaged(digest, 0, f"it cannot be read: {error.strerror}"))
                continue
            if actual != digest:
                found.append(Damaged(digest, size, "its content is another one"))
        return found

    def remove(self, sha256: str) -> None:
        """Forget a content."""
        self._place(sha256).unlink(missing_ok=True)

    def _use_again(self, sha256: str) -> bool:
        try:
            os.utime(self._place(sha256))
        except FileNotFoundError:
            return False
        return True

    def _tidy(self) -> None:
        """Remove what a process that died left on its way in."""
        until = time.time() - _ABANDONED
        with contextlib.suppress(OSError):
            for each in self._staging.iterdir():
                with contextlib.suppress(OSError):
                    if each.is_file() and each.stat().st_mtime < until:
                        each.unlink()

    def _place(self, sha256: str) -> Path:
        given: object = sha256
        if not isinstance(given, str) or not _DIGEST.fullmatch(given):
            raise BadInputError(f"sha256 must be 64 hexadecimal digits, got {sha256!r:.80}")
        return self.folder / sha256[:2] / sha256


def _holds(target: Path, sha256: str) -> bool:
    """Whether a file of this content has the name already.

    Raises:
        FileExistsError: another file has it.
    """
    if not os.path.lexists(target):
        return False
    if target.is_file() and digest_of(target) == sha256:
        return True
    raise FileExistsError(str(target))


def digest_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
