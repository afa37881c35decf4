"""Taking jobs from the store: one claim at a time, none forgotten, the first without waiting."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future

from holdfast.stores.jobs import Claim, JobStore, LeaseLostError, StoreUnavailableError


class Taking:
    """A worker's way to its jobs. Belongs to one event loop.

    Args:
        store: the jobs.
        name: what the worker is called.
        room: how many more jobs it could take now.
    """

    def __init__(self, store: JobStore, name: str, room: Callable[[], int]) -> None:
        self.drained = False
        """The last look found fewer jobs than there was room for."""
        self._store = store
        self._name = name
        self._room = room
        self._order: str | None = None
        self._open = False
        self._asked: tuple[int, Future[tuple[Claim, ...]]] | None = None
        """How many were asked for, and the claim that is on its way."""
        self._coming = self._covered = 0
        """Jobs that were announced, and how many of them the last claim came after."""

    def open(self, order: str | None) -> None:
        """Jobs may be taken, of one order or of all."""
        self._order, self._open = order, True

    @property
    def behind(self) -> bool:
        """Whether a job was announced after the last claim."""
        return self._coming != self._covered

    def ahead(self) -> bool:
        """A job is announced: ask for it without waiting for the answer, which `some` gives.

        Returns:
            Whether it was asked for.
        """
        self._coming += 1
        if not self._open or self._asked is not None or self._room() <= 0:
            return False
        with contextlib.suppress(StoreUnavailableError):
            self._ask()
        return self._asked is not None

    async def some(self) -> tuple[Claim, ...]:
        """As many jobs as there is room for and the store gives.

        Raises:
            StoreUnavailableError: the store cannot be used now.
        """
        if self._asked is None:
            if self._room() <= 0:
                return ()
            self._ask()
        return await self._answer()

    async def close(self) -> None:
        """Take no more; what was claimed and not begun goes back."""
        self._open = False
        with contextlib.suppress(StoreUnavailableError):
            for claim in await self._answer():
                with contextlib.suppress(LeaseLostError, StoreUnavailableError):
                    released = self._store.release(claim.job.id, claim.fence, "its worker stopped")
                    await asyncio.wrap_future(released)

    def _ask(self) -> None:
        free, self._covered = self._room(), self._coming
        self._asked = free, self._store.claim(self._name, free, order=self._order)

    async def _answer(self) -> tuple[Claim, ...]:
        if self._asked is None:
            return ()
        free, future = self._asked
        try:
            # Whoever is cancelled here leaves the claim to `close`.
            claims = await asyncio.shield(asyncio.wrap_future(future))
        except Exception:
            self._asked = None
            raise
        self._asked = None
        self.drained = len(claims) < free
        return claims
