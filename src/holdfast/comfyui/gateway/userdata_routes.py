"""Saved workflows and settings, as ComfyUI's own `/userdata` and `/settings`, each user's own.

A server knows no users of ours, and there are several of them: what is saved there is everybody's,
differs from one to the other, and goes with its disk. So the gateway keeps it. What the first
server has is taken over once, for whoever may see what is everybody's.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Callable
from dataclasses import asdict
from email.utils import formatdate
from typing import Any, TypeVar
from urllib.parse import unquote

from sqlalchemy.engine import Connection
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from holdfast.comfyui.gateway.desk import Desk
from holdfast.comfyui.gateway.exchange import (
    Caller,
    Handler,
    allowed,
    answer,
    raw_answer,
    read_body,
)
from holdfast.comfyui.gateway.guard import Refusal
from holdfast.comfyui.gateway.heirloom import Heirloom
from holdfast.comfyui.gateway.safe_types import GUARD, is_active
from holdfast.errors import BadInputError
from holdfast.stores.jobs import userdata
from holdfast.stores.jobs.userdata import NameTakenError, NoRoomError, Saved

T = TypeVar("T")
_MOVED = 3
"""Parts of a path that moves a file: from, ``move``, and to."""


class UserData:
    """Their routes. Belongs to one event loop."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._heirloom = Heirloom(desk)

    def listed(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        return [
            ("GET", "/users", self.users),
            ("POST", "/users", self.no_more_users),
            ("GET", "/settings", self.settings),
            ("POST", "/settings", self.set_some),
            ("GET", "/settings/{id:path}", self.setting),
            ("POST", "/settings/{id:path}", self.set_one),
            ("GET", "/userdata", self.folder),
            ("GET", "/v2/userdata", self.tree),
            ("GET", "/userdata/{file:path}", self.file),
            ("POST", "/userdata/{file:path}", self.save_or_move),
            ("DELETE", "/userdata/{file:path}", self.remove),
        ]

    # Settings ---------------------------------------------------------------------------

    async def users(self, request: Request) -> Response:
        """Say that settings are kept here, as a server with one user does."""
        caller = await self._whose(request, "view")
        found = await self._read(lambda on: userdata.listed(on, caller.user))
        return answer({"storage": "server", "migrated": bool(found)})

    async def no_more_users(self, request: Request) -> Response:
        """Refuse another user: they come with their keys."""
        allowed(request, "admin")
        words = "The gateway's users are those of its keys: holdfast keys create"
        raise Refusal("no_such_users", words)

    async def settings(self, request: Request) -> Response:
        """All settings."""
        caller = await self._whose(request, "view")
        # Written beside the event loop: they may be large.
        text = await self._read(lambda on: json.dumps(userdata.settings(on, caller.user)))
        return raw_answer(text.encode())

    async def setting(self, request: Request) -> Response:
        """One setting, or null."""
        caller = await self._whose(request, "view")
        name = request.path_params["id"]
        text = await self._read(lambda on: json.dumps(userdata.settings(on, caller.user).get(name)))
        return raw_answer(text.encode())

    async def set_some(self, request: Request) -> Response:
        """Change some settings."""
        caller = await self._whose(request, "run")
        changed = await self._json(request)
        if not isinstance(changed, dict):
            raise Refusal("invalid_settings", "Settings must be an object")
        return await self._set(caller, changed)

    async def set_one(self, request: Request) -> Response:
        """Change one setting."""
        caller = await self._whose(request, "run")
        return await self._set(caller, {request.path_params["id"]: await self._json(request)})

    async def _set(self, caller: Caller, changed: dict[str, Any]) -> Response:
        await self._write(userdata.writing(userdata.change_settings, caller.user, changed))
        return Response()

    async def _json(self, request: Request) -> Any:
        raw = await read_body(request, userdata.MOST_SETTINGS)
        try:
            value = json.loads(raw, parse_constant=_no_number)
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError):
            raise Refusal("invalid_json", "The body must be JSON") from None
        return value

    # Files ------------------------------------------------------------------------------

    async def folder(self, request: Request) -> Response:
        """The files of a folder."""
        caller = await self._whose(request, "view")
        asked = request.query_params
        if not asked.get("dir"):
            return PlainTextResponse("Directory not provided", 400)
        top = _path(asked["dir"])
        if top is None:
            return PlainTextResponse("Invalid directory", 403)
        found = await self._below(caller, top)
        if not found and top:
            return PlainTextResponse("Directory not found", 404)
        # As a server lists, without what hides behind a dot: so the page keeps its bookmarks.
        found = [(path, each) for path, each in found if not _hidden(path)]
        if asked.get("recurse", "").lower() != "true":
            found = [(path, each) for path, each in found if "/" not in path]
        if asked.get("full_info", "").lower() == "true":
            return answer([_info(each, path) for path, each in found])
        if asked.get("split", "").lower() == "true":
            return answer([[path, *path.split("/")] for path, _ in found])
        return answer([path for path, _ in found])

    async def tree(self, request: Request) -> Response:
        """All that lies below a folder, folders first."""
        caller = await self._whose(request, "view")
        top = _path(request.query_params.get("path", ""))
        if top is None:
            return PlainTextResponse("Invalid path requested", 400)
        everything = await self._read(lambda on: userdata.listed(on, caller.user))
        if any(each.path == top for each in everything):
            return PlainTextResponse("Requested path is not a directory", 400)
        start = f"{top}/" if top else ""
        found = [each for each in everything if each.path.startswith(start)]
        if top and not found:
            return PlainTextResponse("Requested path not found", 404)
        folders = {up for each in found for up in userdata.above(each.path) if up.startswith(start)}
        shown = [
            {"name": path.rpartition("/")[2], "path": path, "type": "directory"} for path in folders
        ] + [
            {
                "name": each.path.rpartition("/")[2],
                "path": each.path,
                "type": "file",
                "size": each.size,
                "modified": each.modified,
            }
            for each in found
        ]
        return answer(sorted(shown, key=lambda each: (each["type"] != "directory", _low(each))))

    async def file(self, request: Request) -> Response:
        """A file's content."""
        caller = await self._whose(request, "view")
        path = _named(request, 1)[0]
        found = await self._read(lambda on: userdata.read(on, caller.user, path))
        if found is None:
            return Response(status_code=404)
        saved, content = found
        # With a slash before it, it is a file's name, and never an address as `data:text/x,`.
        kind = mimetypes.guess_type(f"/{path}")[0] or "application/octet-stream"
        headers = {"last-modified": formatdate(saved.modified, usegmt=True)}
        if is_active(kind, path):
            headers |= {**GUARD, "content-disposition": "attachment"}
        return Response(content, 200, headers, media_type=kind)

    async def save_or_move(self, request: Request) -> Response:
        """Save a file, or give it another path."""
        caller = await self._whose(request, "run")
        names = _named(request, 1, _MOVED)
        asked = request.query_params
        replace = asked.get("overwrite", "true") != "false"
        change: Callable[[Connection, float], Saved | None]
        if len(names) > 1:
            change = userdata.writing(userdata.move, caller.user, *names, replace=replace)
        else:
            content = await read_body(request, userdata.MOST_BYTES)
            change = userdata.writing(userdata.put, caller.user, names[0], content, replace=replace)
        try:
            saved = await self._write(change)
        except NameTakenError:
            return PlainTextResponse("File already exists", 409)
        if saved is None:
            return Response(status_code=404)
        full = asked.get("full_info", "false").lower() == "true"
        return answer(_info(saved, saved.path) if full else saved.path)

    async def remove(self, request: Request) -> Response:
        """Remove a file."""
        caller = await self._whose(request, "run")
        path = _named(request, 1)[0]
        done = await self._write(lambda on, _now: userdata.remove(on, caller.user, path))
        return Response(status_code=204 if done else 404)

    async def _below(self, caller: Caller, top: str) -> list[tuple[str, Saved]]:
        """The files below a folder, with their paths from there."""
        found = await self._read(lambda on: userdata.listed(on, caller.user))
        start = f"{top}/" if top else ""
        return [(e.path[len(start) :], e) for e in found if e.path.startswith(start)]

    # ------------------------------------------------------------------------------------

    async def _whose(self, request: Request, scope: str) -> Caller:
        caller = allowed(request, scope)
        await self._heirloom.take(caller)
        return caller

    async def _read(self, question: Callable[[Connection], T]) -> T:
        return await self._desk.ask(self._desk.store.read, question)

    async def _write(self, change: Callable[[Connection, float], T]) -> T:
        try:
            return await self._desk.written(self._desk.store.write(change))
        except NoRoomError as error:
            raise Refusal("no_room", str(error), status=413) from None
        except NameTakenError:
            raise
        except BadInputError as error:
            raise Refusal("invalid_name", str(error)) from None


def _path(name: str) -> str | None:
    # As a server does: clients encode a name once more than the rest of the address.
    return userdata.plain_path(unquote(name) if "%" in name else name)


def _named(request: Request, *counts: int) -> list[str]:
    """The paths that a request names, of so many parts of its address.

    Raises:
        Refusal: it names none, or not so.
    """
    raw = request.scope.get("raw_path") or request.url.path.encode()
    told = raw.decode("ascii", "replace").partition("?")[0].partition("/userdata/")[2]
    parts = [unquote(each) for each in told.split("/")]
    # A folder may be spelled with plain slashes; a server would know no such address.
    if len(parts) not in counts or (len(parts) > 1 and parts[1] != "move"):
        raise Refusal("not_found", "There is no such address", status=404)
    names = [_path(each) for each in parts[:1] + parts[2:]]
    if any(each is None for each in names):
        raise Refusal("invalid_name", "The name leads out of the user's folder", status=403)
    if not all(names):
        raise Refusal("invalid_name", "It needs a file's name")
    return [each for each in names if each]


def _info(saved: Saved, path: str) -> dict[str, Any]:
    return asdict(saved) | {"path": path}


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _low(shown: dict[str, Any]) -> str:
    return str(shown["name"]).lower()


def _no_number(text: str) -> Any:
    raise ValueError(text)
