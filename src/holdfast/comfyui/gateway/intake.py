"""Whether one more job of a caller is let into the queue: quotas, and shedding as it fills.

Counts are a second old at most, so that a burst costs no question each. A job that was let in and
is not on the disk yet is in no count, and is added to each until it has `landed`. What a user had
accepted in the last hour is read from the store once, and counted here from then on: a restart
forgets nothing.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping

from holdfast.comfyui.gateway.guard import Refusal
from holdfast.comfyui.gateway.limits import Hourly, Shedding, over_quota
from holdfast.comfyui.gateway.limits import Refusal as Limit
from holdfast.ports import ambient

RECOUNT_SECONDS = 1.0
ON_THE_WAY_SECONDS = 10.0
"""How long a job that was let in is counted without having landed; then it was not accepted."""
_NAMES = 10_000


class Intake:
    """Judges jobs before they are accepted. Belongs to one event loop.

    Args:
        count: says how many jobs of a user, or of all for None, wait or run; blocks.
        shedding: who is turned away as the queue fills.
        lately: says how many jobs of a user were accepted so many whole minutes ago, in the last
            hour; blocks. None: nothing is known of what was before.
    """

    def __init__(
        self,
        count: Callable[[str | None], int],
        shedding: Shedding | None = None,
        lately: Callable[[str], Mapping[int, int]] | None = None,
    ) -> None:
        self._count, self._lately = count, lately
        self._shedding = shedding or Shedding()
        self._hourly = Hourly()
        self._known: dict[str | None, tuple[float, int]] = {}
        self._coming: dict[str | None, deque[float]] = {}
        self._landed: dict[str | None, deque[float]] = {}
        self._lock = threading.Lock()

    async def let_in(self, caller: object, priority: int) -> None:
        """Count what must be counted, and let one job in, or not.

        Args:
            caller: whose it is, with its quotas.
            priority: what is asked for.

        Raises:
            Refusal: it must wait, or be left.
            StoreUnavailableError: it cannot be counted.
        """
        user = getattr(caller, "user", "")
        for name in (None, user):
            if self.stale(name):
                await asyncio.to_thread(self.recount, name)
        hourly = getattr(getattr(caller, "quotas", None), "jobs_per_hour", None)
        if hourly is not None and self._lately is not None and not self._hourly.knows(user):
            ages = await asyncio.to_thread(self._lately, user)
            if not self._hourly.knows(user):  # nobody else has counted meanwhile
                self._hourly.begin(user, ages, ambient.now())
        self.judge(caller, priority)

    def stale(self, user: str | None) -> bool:
        """Whether the number is to be counted anew before `judge` is asked."""
        known = self._known.get(user)
        return known is None or ambient.now() - known[0] > RECOUNT_SECONDS

    def recount(self, user: str | None) -> None:
        """Count; blocks, and may be called in a thread."""
        begun = ambient.now()
        count = self._count(user)
        with self._lock:
            if len(self._known) > _NAMES:
                self._known.clear()
            # What landed meanwhile may have been counted or not: rather once too often.
            late = _since(self._landed, user, begun)
            coming = _since(self._coming, user, begun - ON_THE_WAY_SECONDS)
            self._known[user] = (begun, count + coming + late)

    def landed(self, user: str) -> None:
        """A job of the user that was let in is on the disk, where it is counted."""
        now = ambient.now()
        with self._lock:
            for name in (None, user):
                coming = self._coming.get(name)
                if not coming:
                    continue
                coming.popleft()
                if not coming:
                    del self._coming[name]
                _since(self._landed, name, now - ON_THE_WAY_SECONDS)
                self._landed.setdefault(name, deque()).append(now)
                if len(self._landed) > _NAMES:
                    del self._landed[next(iter(self._landed))]

    def judge(self, caller: object, priority: int) -> None:
        """Let one job in, or not.

        Args:
            caller: whose it is, with its quotas.
            priority: what is asked for.

        Raises:
            Refusal: it must wait, or be left.
        """
        now = ambient.now()
        quotas = getattr(caller, "quotas", None)
        user = getattr(caller, "user", "")
        refusal = self._shedding.judge(priority, self._number(None))
        if refusal is None and quotas is not None:
            refusal = over_quota(quotas, self._number(user), priority)
            wait = self._hourly.wait(user, quotas.jobs_per_hour, now)
            if refusal is None and wait > 0:
                refusal = Limit(
                    429, f"this key may queue {quotas.jobs_per_hour} jobs an hour", wait
                )
        if refusal is not None:
            raise Refusal(
                "queue_full" if refusal.status == 429 else "over_quota",
                refusal.reason,
                "",
                status=refusal.status,
                retry_after=refusal.retry_after,
            )
        hourly = quotas is not None and quotas.jobs_per_hour is not None
        if hourly or self._hourly.knows(user):
            self._hourly.count(user, now)
        with self._lock:
            for name in (None, user):
                _since(self._coming, name, now - ON_THE_WAY_SECONDS)
                self._coming.setdefault(name, deque()).append(now)
                if len(self._coming) > _NAMES:
                    del self._coming[next(iter(self._coming))]
                if name in self._known:
                    at, count = self._known[name]
                    self._known[name] = (at, count + 1)

    def _number(self, user: str | None) -> int:
        known = self._known.get(user)
        return 0 if known is None else known[1]


def _since(times: dict[str | None, deque[float]], name: str | None, moment: float) -> int:
    """How many there were since a moment; older ones are forgotten."""
    found = times.get(name)
    while found and found[0] < moment:
        found.popleft()
    if not found:
        times.pop(name, None)
        return 0
    return len(found)
