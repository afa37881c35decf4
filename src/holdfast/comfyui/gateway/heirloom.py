"""Saved workflows and settings that a server had before there was a gateway: taken over, once.

Only for those who may see what is everybody's, for a server does not say whose they are.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from urllib.parse import quote

from holdfast.comfyui.gateway.desk import Desk
from holdfast.comfyui.gateway.exchange import Caller
from holdfast.comfyui.server import Server, ServerCallError
from holdfast.errors import BadInputError
from holdfast.ports import ambient
from holdfast.stores.jobs import userdata
from holdfast.stores.jobs.userdata import MOST_BYTES, MOST_FILES, MOST_TOTAL, plain_path

log = logging.getLogger(__name__)
SECONDS = 20.0
"""How long the page may have to wait for it; what had not come then is not taken."""
AGAIN_SECONDS = 60.0
"""After which it is tried once more, when no server answered."""
_TOLD = 20


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
                        files, left = await _files_of(server)
                except (ServerCallError, TimeoutError) as error:
                    log.warning("%s: saved workflows were not taken over: %s", server.name, error)
                    continue
                put = userdata.writing(userdata.put_missing, caller.user, files)
                left += await self._desk.written(self._desk.store.write(put))
                await self._desk.written(self._desk.store.put_setting(mark, server.name))
                self._done.add(caller.user)
                if files:
                    log.info("%d saved files were found on %s", len(files), server.name)
                for words in left[:_TOLD]:
                    log.warning("%s: not taken over: %s", server.name, words)
                if len(left) > _TOLD:
                    log.warning("%s: and %d more", server.name, len(left) - _TOLD)
                return
            self._not_before = ambient.now() + AGAIN_SECONDS


async def _files_of(server: Server) -> tuple[list[tuple[str, bytes]], list[str]]:
    """The files that a server keeps for its only user, and what is left out, in words.

    Raises:
        ServerCallError: it does not answer.
    """
    found: list[tuple[str, bytes]] = []
    left: list[str] = []
    room = MOST_TOTAL
    listed = await _listed(server)
    for name in listed[:MOST_FILES]:
        try:
            path = plain_path(name)
        except BadInputError as error:
            left.append(str(error))
            continue
        # One after the other, so that no more is in memory than may be kept.
        content = path and await server.saved_file(quote(name, safe=""), min(MOST_BYTES, room))
        if not path or not isinstance(content, bytes):
            left.append(f"{name!r:.100}: it is gone, or there is no room for it")
            continue
        room -= len(content)
        found.append((path, content))
    if len(listed) > MOST_FILES:
        left.append(f"{len(listed) - MOST_FILES} files: at most {MOST_FILES:,} are kept")
    settings = await server.told("/settings")
    if (
        isinstance(settings, dict)
        and settings
        and not any(path == userdata.SETTINGS for path, _ in found)
    ):
        found.append((userdata.SETTINGS, json.dumps(settings, indent=4).encode()))
    return found, left


async def _listed(server: Server) -> list[str]:
    """The paths of all that is saved, of hidden files too if the server tells them."""
    told = await server.told("/v2/userdata")
    if isinstance(told, list):
        files = [each for each in told if isinstance(each, dict) and each.get("type") == "file"]
        told = [each.get("path") for each in files]
    else:  # an older server
        told = await server.told("/userdata?dir=.&recurse=true")
    return [each for each in told if isinstance(each, str)] if isinstance(told, list) else []
