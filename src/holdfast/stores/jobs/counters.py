"""Numbers that are given out once: of jobs, and of files that bear the same name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from holdfast.stores.jobs import tables

_COUNTER = tables.counter
# Built once: to build a statement takes longer than to run it.
_LAST = sa.select(_COUNTER.c.value).where(_COUNTER.c.name == sa.bindparam("of"))
_NEW = sa.insert(_COUNTER)
_NEXT = (
    sa.update(_COUNTER)
    .where(_COUNTER.c.name == sa.bindparam("of"))
    .values(value=sa.bindparam("new_value"))
)
_FILE = tables.job_file.c
_TAKEN = sa.select(sa.literal(1)).where(
    _FILE.filename == sa.bindparam("in_filename"),
    _FILE.user == sa.bindparam("in_user"),
    _FILE.type == sa.bindparam("in_type"),
    _FILE.subfolder == sa.bindparam("in_subfolder"),
)
_COUNTED = re.compile(r"(?P<prefix>.+)_(?P<number>\d{5,9})_?(?P<suffix>\.\w{1,10})", re.DOTALL)
"""As ComfyUI names what it saves: ``ComfyUI_00001_.png``."""


def take_numbers(connection: Connection, name: str, count: int = 1) -> int:
    """The first of ``count`` numbers that nobody had before."""
    last = connection.execute(_LAST, {"of": name}).scalar()
    if last is None:
        connection.execute(_NEW, {"name": name, "value": count})
        return 1
    connection.execute(_NEXT, {"of": name, "new_value": int(last) + count})
    return int(last) + 1


@dataclass(frozen=True, slots=True)
class Space:
    """Where a file name must be free."""

    user: str
    type: str
    subfolder: str


def free_name(connection: Connection, space: Space, filename: str) -> str:
    """A name of the make of ``filename`` that no other file of the user has."""
    counted = _COUNTED.fullmatch(filename)
    if counted is None:
        if not _taken(connection, space, filename):
            return filename
        pure = PurePosixPath(filename)
        prefix, suffix = pure.stem, pure.suffix
    else:
        prefix, suffix = counted["prefix"], counted["suffix"]
    name = f"file\x1f{space.user}\x1f{space.type}\x1f{space.subfolder}\x1f{prefix}"
    while True:
        number = take_numbers(connection, name)
        free = f"{prefix}_{number:05d}_{suffix}"
        if not _taken(connection, space, free):
            return free


def _taken(connection: Connection, space: Space, filename: str) -> bool:
    found = connection.execute(
        _TAKEN,
        {
            "in_filename": filename,
            "in_user": space.user,
            "in_type": space.type,
            "in_subfolder": space.subfolder,
        },
    )
    return found.first() is not None
