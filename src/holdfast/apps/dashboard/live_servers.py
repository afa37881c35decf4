"""The part of the live source that looks at servers: how each stands, and what it does now.

What a server does now is heard from `holdfast.comfyui.events`; how much memory it has left is
asked for while somebody looks, and not more often than every few seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from holdfast.apps.dashboard.phrases import cut
from holdfast.apps.dashboard.sources import ServerView
from holdfast.comfyui import ComfyUI, events
from holdfast.comfyui.server import Server, ServerCallError
from holdfast.comfyui.status import ServerStatus
from holdfast.ports import ambient

MEMORY_SECONDS = 5.0
"""How old a reading of the memory may be."""
CALL_SECONDS = 3.0
MOST_SERVERS = 500
_OVER = events.AttemptFailed | events.ServerDown | events.ServerRemoved | events.Withdrawn


@dataclass(frozen=True, slots=True)
class Work:
    """What a server does now."""

    job: str
    node: str = ""
    progress: float | None = None

    @property
    def words(self) -> str:
        """In one line."""
        return cut(f"{self.job} · {self.node}" if self.node else self.job, 120)


class Ticker:
    """Hears what servers do: give `hear` to `ComfyUI` as ``on_event``."""

    def __init__(self) -> None:
        self._now: dict[str, Work] = {}

    def hear(self, event: events.Event) -> None:
        """Note what an event says of a server."""
        if isinstance(event, events.AttemptStarted):
            if len(self._now) < MOST_SERVERS or event.server in self._now:
                self._now[event.server] = Work(event.job)
        elif isinstance(event, events.NodeStarted):
            node = event.node_type or event.node_id
            self._change(event.server, event.job, node=node, progress=None)
        elif isinstance(event, events.NodeStepped):
            if event.maximum > 0:
                share = min(max(event.value / event.maximum, 0.0), 1.0)
                self._change(event.server, event.job, progress=share)
        elif isinstance(event, events.JobDelivered):
            self._now.pop(event.result.server, None)
        elif isinstance(event, _OVER):
            self._now.pop(event.server, None)

    def work(self, server: str) -> Work | None:
        """What a server does now, as far as it was heard."""
        return self._now.get(server)

    def _change(self, server: str, job: str, **what: Any) -> None:
        known = self._now.get(server)
        if known is not None and known.job == job:
            self._now[server] = replace(known, **what)


class LiveServers:
    """The servers of one `ComfyUI`. Belongs to its event loop."""

    def __init__(self, comfy: ComfyUI, ticker: Ticker) -> None:
        self._comfy = comfy
        self._ticker = ticker
        self._memory: dict[str, tuple[int, int] | None] = {}
        self._asked: float | None = None
        self._asking: asyncio.Task[None] | None = None

    async def views(self) -> tuple[ServerView, ...]:
        """How each stands; the memory as of the last reading, so that nobody waits for it."""
        now = ambient.now()
        old = self._asked is None or now - self._asked >= MEMORY_SECONDS
        if old and (self._asking is None or self._asking.done()):
            self._asked = now
            self._asking = asyncio.create_task(self._ask(self._comfy.servers))
        return tuple(
            view_of(status, self._ticker.work(status.name), self._memory.get(status.name))
            for status in self._comfy.status()[:MOST_SERVERS]
        )

    async def _ask(self, servers: list[Server]) -> None:
        readings: dict[str, tuple[int, int] | None] = {}

        async def one(server: Server) -> None:
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    readings[server.name] = memory_of(await server.system_stats())
            except (ServerCallError, TimeoutError):
                readings[server.name] = None

        await asyncio.gather(*(one(each) for each in servers[:MOST_SERVERS]))
        self._memory = readings


def view_of(status: ServerStatus, work: Work | None, memory: tuple[int, int] | None) -> ServerView:
    """A server as it is shown."""
    if status.busy == 0:
        work = None  # its end came by a way that nothing is told of
    return ServerView(
        name=status.name,
        state=status.state.value,
        reason=cut(status.reason, 300),
        busy=status.busy,
        capacity=status.capacity,
        foreign=status.foreign,
        done=status.done,
        failed=status.failed,
        seconds=status.seconds,
        pace=status.pace,
        loaded=status.loaded[:10],
        breaker=status.breaker,
        retry_in=status.retry_in,
        memory_used=None if memory is None else memory[0],
        memory_total=None if memory is None else memory[1],
        doing="" if work is None else work.words,
        progress=None if work is None else work.progress,
    )


def memory_of(stats: Mapping[str, Any]) -> tuple[int, int] | None:
    """Bytes used and bytes there are of all devices that `/system_stats` tells of."""
    devices = stats.get("devices")
    found = [
        (each["vram_total"] - each["vram_free"], each["vram_total"])
        for each in (devices if isinstance(devices, list) else [])
        if isinstance(each, dict)
        and isinstance(each.get("vram_total"), int)
        and isinstance(each.get("vram_free"), int)
    ]
    if not found:
        return None
    total = sum(whole for _, whole in found)
    return max(0, min(sum(used for used, _ in found), total)), total
