"""What the servers know, kept so that it is there while they are not.

Each server's answer to `/object_info` is asked for now and then, parsed once,
and written to a folder, from which a gateway that has just been started serves
it before the first server has answered. Asking is done once for everybody who
waits. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.gateway.merging import merged
from holdfast.comfyui.server import Server, ServerCallError
from holdfast.errors import BadInputError
from holdfast.ports import ambient

log = logging.getLogger(__name__)

FRESH_SECONDS = 5.0
"""How old an answer may be that a page is given, or a prompt is refused on."""
KEEP_SECONDS = 60.0
"""How often the servers are asked though nobody wants to know."""
PATIENCE_SECONDS = 10.0
"""How long somebody waits for fresh answers before the last known ones have to do."""
MAX_FILE_BYTES = 128 * 2**20


@dataclass(slots=True)
class _Known:
    info: Mapping[str, Any]
    catalog: Catalog | None
    asked_at: float


class ObjectInfo:
    """What each server knows, and the union of it."""

    def __init__(self, servers: Callable[[], Sequence[Server]], folder: Path) -> None:
        """Keep it for ``servers``, whoever they are at the time, in files in ``folder``."""
        self._servers = servers
        self._folder = folder
        self._known: dict[str, _Known] = {}
        self._asking: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._asked_at = float("-inf")
        self._version = 0
        self._text: tuple[object, bytes] | None = None

    async def start(self) -> None:
        """Read what is on the disk, and begin to ask."""
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        for server in self._servers():
            found = await asyncio.to_thread(_read, self._file(server.name))
            if found is not None:
                info, catalog = found
                self._known[server.name] = _Known(info, catalog, float("-inf"))
        self._version += 1
        self._keeper = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Ask no more."""
        for task in (self._keeper, self._asking):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._keeper = self._asking = None

    @property
    def fresh(self) -> bool:
        """Whether the servers were asked a moment ago."""
        return ambient.now() - self._asked_at < FRESH_SECONDS

    def catalogs(self) -> list[Catalog | None]:
        """What each server knows; None for one that nobody has heard of yet."""
        found = (self._known.get(each.name) for each in self._servers())
        return [None if each is None else each.catalog for each in found]

    async def refresh(self, *, seconds: float = PATIENCE_SECONDS) -> None:
        """Ask the servers, unless they were asked a moment ago; wait up to ``seconds``."""
        if self.fresh:
            return
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_all())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._asking), seconds)

    async def text(self, uploads: Sequence[str] = ()) -> bytes | None:
        """The union as JSON; None if no server was ever heard of."""
        infos = self._infos()
        if not infos:
            return None
        key = (self._version, tuple(infos), tuple(uploads))
        if self._text is None or self._text[0] != key:
            written = await asyncio.to_thread(_write_union, list(infos.values()), list(uploads))
            self._text = (key, written)
        return self._text[1]

    async def one(self, name: str, uploads: Sequence[str] = ()) -> dict[str, Any] | None:
        """One class as `/object_info/{class}` gives it; None if no server was ever heard of."""
        infos = self._infos()
        if not infos:
            return None
        return merged([{name: each[name]} for each in infos.values() if name in each], uploads)

    # Asking -----------------------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            await self.refresh()
            await asyncio.sleep(KEEP_SECONDS)

    async def _ask_all(self) -> None:
        servers = list(self._servers())
        await asyncio.gather(*(self._ask(each) for each in servers))
        self._asked_at = ambient.now()
        names = {each.name for each in servers}
        for name in [each for each in self._known if each not in names]:
            del self._known[name]
            self._version += 1

    async def _ask(self, server: Server) -> None:
        try:
            info = await server.object_info()
        except ServerCallError as error:
            log.debug("no object_info: %s", error)
            return
        known = self._known.get(server.name)
        if known is not None and await asyncio.to_thread(_same, known.info, info):
            known.asked_at = ambient.now()
            return
        catalog = await asyncio.to_thread(_catalog, info)
        self._known[server.name] = _Known(info, catalog, ambient.now())
        self._version += 1
        try:
            await asyncio.to_thread(_write, self._file(server.name), info)
        except OSError as error:
            # It is only missed if no server answers after the next start.
            log.warning("object_info of %s is not kept: %s", server.name, error.strerror)

    def _infos(self) -> dict[str, Mapping[str, Any]]:
        names = [each.name for each in self._servers()]
        return {name: self._known[name].info for name in names if name in self._known}

    def _file(self, name: str) -> Path:
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"


def _catalog(info: Mapping[str, Any]) -> Catalog | None:
    try:
        return Catalog.parse(info)
    except BadInputError:
        return None


def _same(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return ours == theirs


def _write_union(infos: list[Mapping[str, Any]], uploads: list[str]) -> bytes:
    return json.dumps(merged(infos, uploads)).encode("ascii")


def _read(path: Path) -> tuple[Mapping[str, Any], Catalog | None] | None:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return None
        loaded = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return (loaded, _catalog(loaded)) if isinstance(loaded, dict) else None


def _write(path: Path, info: Mapping[str, Any]) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        part.write_bytes(json.dumps(info).encode("ascii"))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
