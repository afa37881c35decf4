"""What people save in the page: workflows and settings, each user's own.

They lie in the database: what was saved is on the disk, whole or not at all, and is backed up with
the jobs. A path is only a text here, so none can lead out of anywhere; folders are what stands
before the slashes of paths.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from holdfast.errors import BadInputError
from holdfast.stores.jobs import rows, tables

MOST_BYTES = 32 * 2**20
"""Of one file."""
MOST_TOTAL = 256 * 2**20
"""Bytes of all files of a user."""
MOST_FILES = 5_000
"""Of a user."""
MOST_PATH = 400
"""Characters of a path."""
SETTINGS = "comfy.settings.json"
"""Where ComfyUI keeps the page's settings."""
MOST_SETTINGS = 4 * 2**20
"""Bytes of them: they are read and written as a whole each time that one is changed."""
_T = tables.userdata
_FOUND = (_T.c.path, _T.c.size, _T.c.created, _T.c.modified)


class NoRoomError(BadInputError):
    """A user has as much here as one may have."""


class NameTakenError(BadInputError):
    """There is a file of that name."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A file of somebody's."""

    path: str
    size: int
    created: float
    modified: float
    """Seconds since 1970."""


def plain_path(name: str) -> str | None:
    """The one spelling of a path; empty for the top, None if it would leave it.

    Raises:
        BadInputError: no file can be called so.
    """
    # Spaces of other scripts and joined signs are names like others.
    if "\\" in name or any(unicodedata.category(each) in {"Cc", "Cs"} for each in name):
        raise BadInputError(
            f"a file's name must be without \\ and control characters, got {name!r:.100}"
        )
    if name.startswith("/"):
        return None
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    path = "/".join(parts)
    if len(path) > MOST_PATH or any(len(part.encode()) > 255 for part in parts):
        raise BadInputError(f"a file's name must not be so long, got {len(path)} characters")
    return path


def listed(on: Connection, user: str) -> list[Saved]:
    """All files of a user, by path."""
    wanted = sa.select(*_FOUND).where(_T.c.user == user).order_by(_T.c.path).limit(MOST_FILES)
    return [Saved(*row) for row in on.execute(wanted)]


def read(on: Connection, user: str, path: str) -> tuple[Saved, bytes] | None:
    """A file, if there is one."""
    wanted = sa.select(*_FOUND, _T.c.content).where(_T.c.user == user, _T.c.path == path)
    row = on.execute(wanted).first()
    return None if row is None else (Saved(*row[:4]), bytes(row[4]))


def put(
    on: Connection, now: float, user: str, path: str, content: bytes, *, replace: bool = True
) -> Saved:
    """Save a file.

    Raises:
        NameTakenError: there is one, and it is not to be replaced.
        NoRoomError: the user has too much.
        BadInputError: it cannot be called so.
    """
    there = _at(on, user, path)
    if there is not None and not replace:
        raise NameTakenError(f"a file {path!r:.100} is there already")
    _check_room(on, user, path, there, len(content))
    made = Saved(path, len(content), there.created if there is not None else now, now)
    values = {"content": content, "size": made.size, "modified": now}
    if there is None:
        on.execute(sa.insert(_T).values(user=user, path=path, created=now, **values))
    else:
        on.execute(sa.update(_T).where(_T.c.user == user, _T.c.path == path).values(**values))
    return made


def put_missing(
    on: Connection, now: float, user: str, files: Iterable[tuple[str, bytes]]
) -> list[str]:
    """Save what is not there yet, as far as there is room; what is left out, in words.

    What there is is read once for all of them, so many cost little more than one. What is there
    was saved by the user, and is newer.
    """
    rows.label("user", user)
    there = listed(on, user)
    names, total = {each.path for each in there}, sum(each.size for each in there)
    folders = {up for path in names for up in above(path)}
    made: list[dict[str, Any]] = []
    left: list[str] = []
    for path, content in files:
        size, folders_of = len(content), above(path)
        if not path or path in names:
            continue
        if path in folders or not names.isdisjoint(folders_of):
            left.append(f"{path!r:.100}: it cannot be a file and a folder at once")
            continue
        if size > _most(path) or len(names) >= MOST_FILES or total + size > MOST_TOTAL:
            left.append(f"{path!r:.100}: there is no room for its {size:,} bytes")
            continue
        names.add(path)
        folders.update(folders_of)
        total += size
        when = {"created": now, "modified": now}
        made.append({"user": user, "path": path, "content": content, "size": size, **when})
    if made:
        on.execute(sa.insert(_T), made)
    return left


def remove(on: Connection, user: str, path: str) -> bool:
    """Remove a file; whether there was one."""
    gone = on.execute(sa.delete(_T).where(_T.c.user == user, _T.c.path == path))
    return bool(gone.rowcount)


def move(
    on: Connection, now: float, user: str, path: str, to: str, *, replace: bool = True
) -> Saved | None:
    """Give a file another path; None if there is none.

    Raises:
        NameTakenError: another file has it, and is not to be replaced.
        NoRoomError: a file of that path must not have so much.
        BadInputError: it cannot be called so.
    """
    there = _at(on, user, path)
    if there is None:
        return None
    if path != to:
        if _at(on, user, to) is not None and not replace:
            raise NameTakenError(f"a file {to!r:.100} is there already")
        _check_size(to, there.size)
        _check_folders(on, user, to, but=path)
        remove(on, user, to)
        here = sa.update(_T).where(_T.c.user == user, _T.c.path == path)
        on.execute(here.values(path=to, modified=now))
    return _at(on, user, to)


def settings(on: Connection, user: str) -> dict[str, Any]:
    """The page's settings; none if they are damaged, as a server takes it."""
    found = read(on, user, SETTINGS)
    try:
        told = json.loads(found[1]) if found else {}
        told = rows.sendable(told) if isinstance(told, dict) else {}
        json.dumps(told)  # what is so deep that it can just be read could not be told
    except (ValueError, RecursionError):
        return {}
    return told


def change_settings(on: Connection, now: float, user: str, changed: Mapping[str, Any]) -> None:
    """Set some of the settings; the others stay.

    Raises:
        NoRoomError: they are too many.
        BadInputError: they are no JSON, or too deep.
    """
    put(on, now, user, SETTINGS, settings_text(settings(on, user) | dict(changed)))


def settings_text(told: Mapping[str, Any]) -> bytes:
    """Settings as they are kept.

    Unlike a server's they are not indented: of what is deep, that would make a thousandfold.

    Raises:
        BadInputError: they are no JSON, or too deep.
    """
    try:
        return json.dumps(told, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise BadInputError("settings must be JSON, with plain numbers and not so deep") from None


def writing(
    change: Callable[..., Any], *args: Any, **how: Any
) -> Callable[[Connection, float], Any]:
    """A change with its arguments, as `JobStore.write` takes it."""
    return lambda on, now: change(on, now, *args, **how)


def _at(on: Connection, user: str, path: str) -> Saved | None:
    row = on.execute(sa.select(*_FOUND).where(_T.c.user == user, _T.c.path == path)).first()
    return None if row is None else Saved(*row)


def _check_room(on: Connection, user: str, path: str, there: Saved | None, size: int) -> None:
    rows.label("user", user)
    _check_size(path, size)
    count, total = on.execute(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(_T.c.size), 0)).where(
            _T.c.user == user
        )
    ).one()
    if there is None and count >= MOST_FILES:
        raise NoRoomError(f"a user may save {MOST_FILES:,} files, and has them")
    if total + size - (there.size if there else 0) > MOST_TOTAL:
        raise NoRoomError(f"a user may save {MOST_TOTAL:,} bytes, and has {total:,}")
    if there is None:
        _check_folders(on, user, path)


def _check_size(path: str, size: int) -> None:
    if size > (most := _most(path)):
        raise NoRoomError(f"{path!r:.100} must have at most {most:,} bytes, got {size:,}")


def _most(path: str) -> int:
    return min(MOST_BYTES, MOST_SETTINGS) if path == SETTINGS else MOST_BYTES


def above(path: str) -> list[str]:
    """The folders that a path leads through, the outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _check_folders(on: Connection, user: str, path: str, *, but: str = "") -> None:
    mine = sa.select(_T.c.path).where(_T.c.user == user, _T.c.path != but)
    below = sa.func.substr(_T.c.path, 1, len(path) + 1) == f"{path}/"
    if (
        not path
        or on.execute(mine.where(sa.or_(_T.c.path.in_(above(path)), below)).limit(1)).first()
    ):
        raise BadInputError(f"{path!r:.100} cannot be a file and a folder at once")
