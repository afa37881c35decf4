"""Making sure that what was written is on the disk, names included."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Have the system write a folder's own changes to the disk, where it can.

    Without this a power cut may lose the name of a file whose content is safe.
    """
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def give_name(part: Path, target: Path) -> None:
    """Give a whole file its name, and take that from no other file; ``part`` may stay or go.

    Raises:
        FileExistsError: another file has it.
        OSError: it cannot be given.
    """
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        target.touch(exist_ok=False)
        try:
            part.replace(target)
        except OSError:
            target.unlink(missing_ok=True)  # the name was only claimed
            raise
