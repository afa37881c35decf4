"""Endpoints that only ComfyUI's own web page asks for.

There is no page here, so most answer that there is nothing: no extensions, no
settings, no user's files. What lies under ``/internal`` has no twin under
``/api``, as on the real server. Nothing can be written.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from holdfast.comfyui.standin.life import Life

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

NOT_MODELS = frozenset({"configs", "custom_nodes"})
"""Folders that the page's list of models leaves out."""

TERMINAL = {"cols": 80, "rows": 24}


class PageRoutes:
    """What the page would be told."""

    def __init__(self, life: Life) -> None:
        self._life = life

    def listed(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each, those under ``/internal`` left out."""
        return [
            ("GET", "/extensions", self.get_list),
            ("GET", "/settings", self.get_map),
            ("GET", "/settings/{name}", self.get_null),
            ("GET", "/i18n", self.get_map),
            ("GET", "/workflow_templates", self.get_map),
            ("GET", "/users", self.get_users),
            ("GET", "/userdata", self.get_user_files),
            ("GET", "/experiment/models", self.get_model_folders),
        ]

    def internal(self) -> web.Application:
        """Everything under ``/internal``."""
        app = web.Application()
        app.router.add_get("/logs", self.get_logs)
        app.router.add_get("/logs/raw", self.get_raw_logs)
        app.router.add_get("/folder_paths", self.get_folder_paths)
        app.router.add_get("/files/{kind}", self.get_files)
        return app

    async def get_list(self, _request: web.Request) -> web.Response:
        """Tell that there is none of this."""
        return web.json_response([])

    async def get_map(self, _request: web.Request) -> web.Response:
        """Tell that nothing is known by any name."""
        return web.json_response({})

    async def get_null(self, _request: web.Request) -> web.Response:
        """Tell that this one is not set."""
        return web.json_response(None)

    async def get_users(self, _request: web.Request) -> web.Response:
        """Tell that there is one user, whose settings lie on the server."""
        return web.json_response({"storage": "server", "migrated": True})

    async def get_user_files(self, request: web.Request) -> web.Response:
        """Refuse: the one user has no folder."""
        folder = request.rel_url.query.get("dir", "")
        if not folder:
            return web.Response(status=400, text="Directory not provided")
        path = PurePosixPath(folder)
        if path.is_absolute() or ".." in path.parts:
            return web.Response(status=403, text="Invalid directory")
        return web.Response(status=404, text="Directory not found")

    async def get_model_folders(self, _request: web.Request) -> web.Response:
        """Tell where each kind of model lies."""
        return web.json_response(
            [
                {"name": name, "folders": folders}
                for name, folders in self._life.disk.model_folders().items()
                if name not in NOT_MODELS
            ]
        )

    async def get_logs(self, _request: web.Request) -> web.Response:
        """Tell the server's log as one string."""
        lines = (f"{entry['t']} - {entry['m']}" for entry in self._life.log_entries())
        return web.json_response("".join(lines))

    async def get_raw_logs(self, _request: web.Request) -> web.Response:
        """Tell the server's log line by line, and the size of its terminal."""
        return web.json_response({"entries": self._life.log_entries(), "size": TERMINAL})

    async def get_folder_paths(self, _request: web.Request) -> web.Response:
        """Tell where everything of this server lies."""
        return web.json_response(self._life.disk.model_folders())

    async def get_files(self, request: web.Request) -> web.Response:
        """List the files directly in one folder, the newest first."""
        folders = self._life.disk.folders
        places = {"output": folders.output, "input": folders.input, "temp": folders.temp}
        place = places.get(request.match_info["kind"])
        if place is None:
            return web.json_response({"error": "Invalid directory type"}, status=400)
        return web.json_response(_newest_first(place))


def _newest_first(place: Path) -> list[str]:
    files = [path for path in place.iterdir() if path.is_file()]
    return [path.name for path in sorted(files, key=lambda path: -path.stat().st_mtime)]
