"""Saved workflows and settings that a server had before there was a gateway: taken over, once.

Only for those who may see what is everybody's, for a server does not say whose they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
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
"""How long the page may have to wait for a server; what had not come then comes the next time."""
AGAIN_SECONDS = 60.0
"""After which it is tried once more, when no server answered."""
_AT_ONCE = 8
_SMALL = 4 * 2**20
"""Bytes that are written in one go."""
_TOLD = 20
"""Files left behind that are named in the log."""


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
                        left = await self._take_from(server, caller.user)
                except (ServerCallError, TimeoutError) as error:
                    log.warning("%s: saved workflows were not taken over: %s", server.name, error)
                    continue
                await self._desk.written(self._desk.store.put_setting(mark, server.name))
                self._done.add(caller.user)
                for words in left[:_TOLD]:
                    log.warning("%s: not taken over: %s", server.name, words)
                if len(left) > _TOLD:
                    log.warning("%s: and %d more", server.name, len(left) - _TOLD)
                return
            self._not_before = ambient.now() + AGAIN_SECONDS

    async def _take_from(self, server: Server, user: str) -> list[str]:
        """Take over what a server keeps for its only user; what is left there, in words.

        A few at a time, so that neither they are all in memory nor others' jobs wait until they
        are all written. What was taken before the server fell silent need not be asked for again.

        Raises:
            ServerCallError: it does not answer.
        """
        saved = await self._desk.ask(self._desk.store.read, lambda on: userdata.listed(on, user))
        there = {each.path for each in saved}
        listed = await _listed(server)
        left = [f"{len(listed) - MOST_FILES:,} files too many"] if len(listed) > MOST_FILES else []
        wanted: list[str] = []
        for name in listed[:MOST_FILES]:
            try:
                path = plain_path(name)
            except BadInputError as error:
                left.append(str(error))
                continue
            if path is None:
                left.append(f"{name!r:.100}: it leads out of its folder")
            elif path and path not in there:
                wanted.append(path)
        size = 0
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            if size > MOST_TOTAL:
                left += [f"{path!r:.100}: there is no room for it" for path in some]
                continue
            asked = (server.saved_file(quote(path, safe=""), MOST_BYTES) for path in some)
            both = list(zip(some, await asyncio.gather(*asked), strict=True))
            left += [f"{path!r:.100}: gone or too large" for path, each in both if each is None]
            found = [(path, content) for path, content in both if content is not None]
            there |= {path for path, _ in found}
            left += await self._put(user, found)
            size += sum(len(each) for _, each in found)
        if userdata.SETTINGS not in there:
            settings = await server.told("/settings")
            if isinstance(settings, dict) and settings:
                with contextlib.suppress(BadInputError):
                    text = userdata.settings_text(settings)
                    left += await self._put(user, [(userdata.SETTINGS, text)])
        return left

    async def _put(self, user: str, files: list[tuple[str, bytes]]) -> list[str]:
        small = sum(len(content) for _, content in files) <= _SMALL
        left: list[str] = []
        for some in [files] if small else [[each] for each in files]:
            put = userdata.writing(userdata.put_missing, user, some)
            left += await self._desk.written(self._desk.store.write(put))
        return left


async def _listed(server: Server) -> list[str]:
    """The paths of all that is saved, of hidden files too if the server tells them."""
    told = await server.told("/v2/userdata")
    if isinstance(told, list):
        files = [each for each in told if isinstance(each, dict) and each.get("type") == "file"]
        told = [each.get("path") for each in files]
    else:  # an older server
        told = await server.told("/userdata?dir=.&recurse=true")
    return [each for each in told if isinstance(each, str)] if isinstance(told, list) else []
