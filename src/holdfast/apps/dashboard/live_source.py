"""`LiveSource`: what the pages show of a running service, and what they do to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from holdfast.apps.dashboard import live_errors
from holdfast.apps.dashboard.live_jobs import LiveJobs
from holdfast.apps.dashboard.live_servers import LiveServers, Ticker
from holdfast.apps.dashboard.sources import (
    BreakerView,
    ErrorsView,
    JobDetail,
    JobPage,
    LevelView,
    Overview,
    ServerView,
)
from holdfast.comfyui import ComfyUI
from holdfast.policies.breaker import CircuitBreaker
from holdfast.stores.jobs import JobStore
from holdfast.system.error_handling import ErrorHandlingSystem


class LiveSource:
    """A `DashboardSource` over a job store, a `ComfyUI` and an error-handling system.

    Args:
        store: the jobs.
        comfy: the servers; entered, and of the event loop that calls this source.
        system: errors, breakers and levels.
        server_breakers: the breakers of the servers, by name, beside those of the system.
        ticker: hears what servers do; its `hear` must be given to ``comfy`` as ``on_event``.
    """

    def __init__(
        self,
        store: JobStore,
        comfy: ComfyUI,
        system: ErrorHandlingSystem,
        *,
        server_breakers: Callable[[], Mapping[str, CircuitBreaker]] | None = None,
        ticker: Ticker | None = None,
    ) -> None:
        self._jobs = LiveJobs(store)
        self._comfy = comfy
        self._servers = LiveServers(comfy, ticker or Ticker())
        self._system = system
        self._server_breakers = server_breakers

    # Reading ----------------------------------------------------------------------------

    async def overview(self, user: str | None) -> Overview:
        """The whole, at one look."""
        return await asyncio.to_thread(self._jobs.overview, user)

    async def servers(self) -> tuple[ServerView, ...]:
        """All servers."""
        return await self._servers.views()

    async def jobs(
        self,
        user: str | None,
        *,
        state: str = "",
        search: str = "",
        before: int | None = None,
        limit: int = 50,
    ) -> JobPage:
        """Some jobs, the newest first."""
        return await asyncio.to_thread(self._jobs.page, user, state, search, before, limit)

    async def job(self, job_id: str, user: str | None) -> JobDetail | None:
        """One job."""
        return await asyncio.to_thread(self._jobs.detail, job_id, user)

    async def owns_file(self, sha256: str, user: str | None) -> bool:
        """Whether a file of that content was made by a job that may be seen."""
        return await asyncio.to_thread(self._jobs.owns_file, sha256, user)

    async def errors(self) -> ErrorsView:
        """All errors of this process."""
        return await asyncio.to_thread(live_errors.errors_of, self._system.error_analytics)

    async def breakers(self) -> tuple[BreakerView, ...]:
        """All circuit breakers, by name."""
        return live_errors.breakers_of(self._breakers())

    async def level(self) -> LevelView:
        """How much of the service is given."""
        return live_errors.level_of(self._system.graceful_degradation)

    # Doing ------------------------------------------------------------------------------

    async def cancel(self, job_id: str, user: str | None) -> str:
        """End a job that waits or runs."""
        return await asyncio.to_thread(self._jobs.cancel, job_id, user)

    async def retry(self, job_id: str, user: str | None) -> str:
        """Queue a job again that failed or was cancelled."""
        return await asyncio.to_thread(self._jobs.retry, job_id, user)

    async def retry_all(self, user: str | None) -> str:
        """Queue all dead letters again."""
        return await asyncio.to_thread(self._jobs.retry_all, user)

    async def set_priority(self, job_id: str, priority: int, user: str | None) -> str:
        """Rank a job; higher comes first."""
        return await asyncio.to_thread(self._jobs.set_priority, job_id, priority, user)

    async def pause(self, reason: str) -> str:
        """Start no more jobs."""
        return await asyncio.to_thread(self._jobs.pause, reason)

    async def resume(self) -> str:
        """Start jobs again."""
        return await asyncio.to_thread(self._jobs.resume)

    async def force_breaker(self, name: str, how: str) -> str:
        """Move a breaker by hand: ``open``, ``closed`` or ``reset``."""
        return live_errors.force(self._breakers(), name, how)

    async def set_level(self, level: str, *, pinned: bool) -> str:
        """Give so much of the service, and keep it there if ``pinned``."""
        return live_errors.set_level(self._system.graceful_degradation, level, pinned=pinned)

    async def add_server(self, url: str) -> str:
        """Take a server into the pool."""
        await self._comfy.add_server(url)
        return f"{self._comfy.status()[-1].name} is in the pool, and is being asked how it is"

    async def remove_server(self, name: str) -> str:
        """Take a server out of the pool once it has finished its job."""
        await self._comfy.remove_server(name)
        return f"{name} gets no more jobs, and leaves the pool when it has none of ours"

    def _breakers(self) -> dict[str, CircuitBreaker]:
        own = dict(self._server_breakers()) if self._server_breakers is not None else {}
        return own | dict(self._system.circuit_breakers)
