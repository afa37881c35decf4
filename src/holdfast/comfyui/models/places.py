"""The models folder of a server, as far as this process may write there.

::

    models/
        checkpoints/SDXL/base.safetensors
        checkpoints/SDXL/base.safetensors.part        while it is being fetched
        checkpoints/SDXL/base.safetensors.part.json   of what it is a part
        .holdfast/                                    locks
        .quarantine/checkpoints/...                   damaged files, with notes why

A file appears under its own name whole or not at all. Nothing is written
outside: names are checked, and so is where links on the way lead.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from holdfast.comfyui.failures import clip
from holdfast.comfyui.models.errors import ModelError, ModelPlaceError, NoSpaceError
from holdfast.comfyui.models.names import safe_folder, safe_path
from holdfast.errors import BadInputError
from holdfast.stores.to_disk import sync_folder

LOCKS = ".holdfast"
RESERVE_BYTES = 256 * 2**20
"""What is left free on the disk, so that the server itself can go on."""

OLD_NAMES = {"text_encoders": "clip", "diffusion_models": "unet"}
"""Folders that servers read as well as the new one; where the new one is missing, they are used."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one model belongs."""

    root: Path
    folder: str
    relative: PurePosixPath
    """Below the folder."""
    path: Path

    @property
    def part(self) -> Path:
        """What has come of it so far."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def note(self) -> Path:
        """Of what `part` is a part."""
        return self.path.with_name(f"{self.path.name}.part.json")

    @property
    def lock(self) -> Path:
        """What keeps other processes from fetching it at the same time."""
        key = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:32]
        return self.root / LOCKS / f"{key}.lock"

    @property
    def shown(self) -> str:
        """Folder and name, as people know it."""
        return f"{self.folder}/{self.relative}"


class ModelsFolder:
    """A server's ``models`` folder."""

    def __init__(self, root: str | Path) -> None:
        """Take the folder, which must be there.

        Raises:
            BadInputError: it is not there, or is no folder.
        """
        given = Path(root)
        try:
            self.root = given.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise BadInputError(f"folder {str(given)!r} cannot be used: {reason}") from None
        if not self.root.is_dir():
            raise BadInputError(f"folder {str(given)!r} must be a server's models folder")

    def place(self, folder: str, name: str) -> Place:
        """Where a model belongs; makes nothing.

        Raises:
            ModelPlaceError: its name is not safe, or a link on the way leads out of its folder.
        """
        kind, relative = safe_folder(folder), safe_path(name)
        home = self.root / kind
        old = OLD_NAMES.get(kind)
        if old is not None and not home.exists() and (self.root / old).is_dir():
            home = self.root / old
        # The kind's own folder may be a link to a larger disk; below it no link may lead away.
        try:
            real = home.resolve()
            parent = home.joinpath(*relative.parent.parts).resolve()
        except (OSError, RuntimeError):
            raise ModelPlaceError(f"{kind}/{relative}: a link leads in a circle") from None
        if not parent.is_relative_to(real):
            raise ModelPlaceError(
                f"{kind}/{relative}: a link on the way leads out of the folder", model=name
            )
        return Place(self.root, kind, relative, parent / relative.name)

    def find(self, name: str) -> list[Place]:
        """Every folder in which a file of this name lies.

        Raises:
            ModelPlaceError: the name is not safe.
        """
        safe_path(name)
        found = []
        for each in sorted(self.root.iterdir()):
            if each.name.startswith(".") or not each.is_dir():
                continue
            with contextlib.suppress(ModelPlaceError):
                place = self.place(each.name, name)
                if place.path.is_file():
                    found.append(place)
        return found


def prepare(place: Place) -> None:
    """Make the folders that a model and its lock need.

    Raises:
        ModelError: this machine does not let us.
    """
    with disk_trouble(place):
        place.path.parent.mkdir(parents=True, exist_ok=True)
        place.lock.parent.mkdir(exist_ok=True)


def open_part(place: Place, *, keep: bool) -> int:
    """Open what has come so far for writing, as a file descriptor; never through a link.

    Args:
        place: of the model.
        keep: whether what is in it stays.
    """
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    flags |= getattr(os, "O_BINARY", 0) | (os.O_APPEND if keep else os.O_TRUNC)
    return os.open(place.part, flags, 0o644)


def put_in_place(place: Place) -> None:
    """Give a part that is whole its own name, in one step that outlasts a power cut.

    Raises:
        ModelError: this machine does not let us.
    """
    with disk_trouble(place):
        with place.part.open("rb") as file:
            os.fsync(file.fileno())
        place.part.replace(place.path)
        place.note.unlink(missing_ok=True)
        sync_folder(place.path.parent)


def discard_part(place: Place) -> None:
    """Forget what has come so far."""
    with disk_trouble(place):
        place.part.unlink(missing_ok=True)
        place.note.unlink(missing_ok=True)


def require_space(place: Place, needed: int) -> None:
    """See that so many bytes more fit on the disk.

    Raises:
        NoSpaceError: they do not.
    """
    with disk_trouble(place):
        free = shutil.disk_usage(place.path.parent).free
    if needed + RESERVE_BYTES > free:
        raise NoSpaceError(
            f"no room for {place.shown}: {needed:,} bytes are to come, {free:,} are free on the "
            f"disk, and {RESERVE_BYTES:,} must stay so",
            model=str(place.relative),
        )


@contextmanager
def disk_trouble(place: Place) -> Iterator[None]:
    """Turn this machine's own trouble with writing into one clear error."""
    try:
        yield
    except OSError as error:
        reason = clip(error.strerror or str(error), 200)
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        kind = NoSpaceError if full else ModelError
        raise kind(
            f"{place.shown} cannot be written: {reason}", model=str(place.relative)
        ) from None
