"""Damaged model files are put aside, never deleted, with a note that says why.

They go where no server lists them: into ``.quarantine`` beside the kinds of
models, under a name that no longer ends as a model's does.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from holdfast.comfyui.models.places import Place, disk_trouble
from holdfast.ports import ambient
from holdfast.stores.to_disk import sync_folder

QUARANTINE = ".quarantine"
SUFFIX = ".damaged"
_MOST_OF_A_NAME = 10_000


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A file that was put aside."""

    was: Path
    path: Path
    note: Path
    """JSON: ``was``, ``why``, ``size`` (bytes), ``when``."""
    why: str


def quarantine(place: Place, why: str) -> Quarantined:
    """Put a model file aside.

    Args:
        place: of the model; its file must be there.
        why: in words, for the note.

    Raises:
        ModelError: this machine does not let us.
    """
    when = datetime.fromtimestamp(ambient.wall(), UTC)
    with disk_trouble(place):
        size = place.path.lstat().st_size
        home = place.root / QUARANTINE / place.folder / place.relative.parent
        try:
            home.mkdir(parents=True, exist_ok=True)
            target = _moved(place.path, home, when)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # The kind's folder lies on another disk; copying gigabytes there helps nobody.
            target = _moved(place.path, place.path.parent, when)
        note = target.with_name(f"{target.name}.json")
        told = {"was": place.shown, "why": why, "size": size, "when": when.isoformat()}
        note.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        sync_folder(place.path.parent)
        sync_folder(target.parent)
    return Quarantined(place.path, target, note, why)


def _moved(path: Path, home: Path, when: datetime) -> Path:
    stamp = when.strftime("%Y%m%dT%H%M%SZ")
    for number in range(_MOST_OF_A_NAME):
        more = f".{number}" if number else ""
        target = home / f"{path.name}.{stamp}{more}{SUFFIX}"
        if not os.path.lexists(target):
            path.rename(target)
            return target
    raise FileExistsError(errno.EEXIST, "too many files of this name", str(home))


def restore(aside: Quarantined) -> None:
    """Undo it: give the file its place back, if nothing else has taken it.

    Raises:
        FileExistsError: something has.
    """
    if os.path.lexists(aside.was):
        raise FileExistsError(errno.EEXIST, "another file is there by now", str(aside.was))
    shutil.move(aside.path, aside.was)
    aside.note.unlink(missing_ok=True)
