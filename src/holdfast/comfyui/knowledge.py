"""What the client has learned of its servers: their node classes, their memory, what fits where.

Asked for when something has failed, not before: a run that goes well costs no
extra call. Shared by all jobs of a client; belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.lessons import Lessons
from holdfast.comfyui.poison import Quarantine
from holdfast.comfyui.server import Server, ServerCallError
from holdfast.errors import BadInputError
from holdfast.ports import ambient

log = logging.getLogger(__name__)

CATALOG_SECONDS = 60.0
"""A catalog older than this is asked for again: models come and go."""


class Knowledge:
    """What is known of the servers beyond their being up."""

    def __init__(self) -> None:
        self.lessons = Lessons()
        self.quarantine = Quarantine()
        self._catalogs: dict[str, tuple[float, Catalog]] = {}
        self._memory: dict[str, int] = {}

    async def catalog(
        self, server: Server, *, fresh: bool = False, seconds: float | None = None
    ) -> Catalog | None:
        """The node classes of a server; what was known last if it does not answer now.

        Args:
            server: the server.
            fresh: ask even if the answer known is young.
            seconds: how long to wait for an answer; None: as long as a large one may take.
        """
        asked_at, known = self._catalogs.get(server.name, (float("-inf"), None))
        now = ambient.now()
        if known is not None and not fresh and now - asked_at < CATALOG_SECONDS:
            return known
        try:
            async with asyncio.timeout(seconds):
                given = await server.object_info()
            # Hundreds of node packs make ten megabytes of it.
            catalog = await asyncio.to_thread(Catalog.parse, given, source=server.name)
        except (ServerCallError, BadInputError, TimeoutError) as error:
            log.debug("no object_info from %s: %s", server.name, error)
            return known
        self._catalogs[server.name] = (now, catalog)
        return catalog

    def last_catalog(self, names: Iterable[str] = ()) -> Catalog | None:
        """The catalog of the first of these servers that has one, of any server otherwise."""
        for name in (*names, *self._catalogs):
            if name in self._catalogs:
                return self._catalogs[name][1]
        return None

    async def memory(self, servers: Iterable[Server]) -> Mapping[str, int]:
        """Bytes of memory of the largest device of each server that can tell; asked once."""
        unknown = [each for each in servers if each.name not in self._memory]

        async def ask(server: Server) -> None:
            try:
                stats = await server.system_stats()
            except ServerCallError as error:
                log.debug("no memory figures from %s: %s", server.name, error)
                return
            size = device_bytes(stats)
            if size is not None:
                self._memory[server.name] = size

        await asyncio.gather(*(ask(each) for each in unknown))
        return dict(self._memory)


def device_bytes(stats: Mapping[str, Any]) -> int | None:
    """Bytes of the largest device `/system_stats` tells of, None if it tells of none."""
    devices = stats.get("devices")
    sizes = [
        each["vram_total"]
        for each in (devices if isinstance(devices, list) else [])
        if isinstance(each, dict) and isinstance(each.get("vram_total"), int)
    ]
    return max(sizes, default=None)
