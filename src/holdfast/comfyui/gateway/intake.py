"""Whether one more job of a caller is let into the queue: quotas, and shedding as it fills.

Counts are a second old at most, so that a burst costs no question each. What a user had accepted in
the last hour is read from the store once, and counted here from then on: a restart forgets nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from holdfast.comfyui.gateway.guard import Refusal
from holdfast.comfyui.gateway.limits import Hourly, Shedding, over_quota
from holdfast.comfyui.gateway.limits import Refusal as Limit
from holdfast.ports import ambient

RECOUNT_SECONDS = 1.0
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
        if len(self._known) > _NAMES:
            self._known.clear()
        self._known[user] = (ambient.now(), self._count(user))

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
        for name in (None, user):
            if name in self._known:
                at, count = self._known[name]
                self._known[name] = (at, count + 1)

    def _number(self, user: str | None) -> int:
        known = self._known.get(user)
        return 0 if known is None else known[1]
