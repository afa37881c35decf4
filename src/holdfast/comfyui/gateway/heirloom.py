"""Saved workflows and settings that a server had before there was a gateway: taken over, once.

Only for those who may see what is everybody's, for a server does not say whose they are.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from typing import Any
from urllib.parse import quote

from holdfast.comfyui.gateway.desk import Desk
from holdfast.comfyui.gateway.exchange import Caller
from holdfast.comfyui.server import Server, ServerCallError
from holdfast.errors import BadInputError
from holdfast.ports import ambient
from holdfast.stores.jobs import userdata
from holdfast.stores.jobs.userdata import MOST_BYTES, MOST_FILES, plain_path

log = logging.getLogger(__name__)
SECONDS = 20.0
"""How long the page may have to wait for it; what had not come then is not taken."""
AGAIN_SECONDS = 60.0
"""After which it is tried once more, when no server answered."""
_AT_ONCE = 8


class Heirloom:
    """Takes over what the first server that answers has. Belongs to one event loop."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._done: set[str] = set()
        self._not_before = float("-inf")
        self._lock = asyncio.Lock()

    async def take(self, caller: Caller) -> None:
        """Take it over for a user, if that was not done and may be; else do nothing."""
        if caller.user in self._done or not caller.can("admin"):
            return
        async with self._lock:
            if caller.user in self._done or ambient.now() < self._not_before:
                return
            mark = "userdata:" + hashlib.sha256(caller.user.encode()).hexdigest()[:32]
            if await self._desk.ask(self._desk.store.setting, mark):
                self._done.add(caller.user)
                return
            for server in self._desk.servers():
                try:
                    async with asyncio.timeout(SECONDS):
                        files = await _files_of(server)
                except (ServerCallError, TimeoutError) as error:
                    log.warning("%s: saved workflows were not taken over: %s", server.name, error)
                    continue
                put = userdata.writing(userdata.put_missing, caller.user, files)
                count = await self._desk.written(self._desk.store.write(put))
                await self._desk.written(self._desk.store.put_setting(mark, server.name))
                self._done.add(caller.user)
                if count:
                    log.info("%d saved files were taken over from %s", count, server.name)
                return
            self._not_before = ambient.now() + AGAIN_SECONDS


async def _files_of(server: Server) -> list[tuple[str, bytes]]:
    """The files that a server keeps for its only user.

    Raises:
        ServerCallError: it does not answer.
    """
    listed = await server.saved_files()
    wanted = [path for path in map(_plain, listed[:MOST_FILES]) if path]
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(path: str) -> tuple[str, bytes] | None:
        async with gate:
            content = await server.saved_file(quote(path, safe=""), MOST_BYTES)
        return None if content is None else (path, content)

    found = [each for each in await asyncio.gather(*map(one, wanted)) if each is not None]
    settings = await server.page_settings()
    if settings and not any(path == userdata.SETTINGS for path, _ in found):
        found.append((userdata.SETTINGS, json.dumps(settings, indent=4).encode()))
    return found


def _plain(path: Any) -> str | None:
    try:
        return plain_path(path) if isinstance(path, str) else None
    except BadInputError:
        return None
