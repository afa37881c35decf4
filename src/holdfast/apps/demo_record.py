"""Which fault met which job: the servers' record of strikes against the client's of attempts."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from holdfast.apps.account import Account
from holdfast.apps.crew import Strike
from holdfast.apps.demo_script import LOOKS
from holdfast.comfyui import Failure, events
from holdfast.comfyui.standin.faults import STANDING


@dataclass(frozen=True, slots=True)
class Try:
    """An attempt as the client saw it, with its times."""

    job: str
    server: str
    began: float
    ended: float
    failure: Failure | None = None
    recovery: str = ""


@dataclass(slots=True)
class Record:
    """Keeps the attempts' times, to tell which fault met which job."""

    tries: list[Try] = field(default_factory=list)
    _open: dict[str, tuple[str, float]] = field(default_factory=dict)

    def note(self, event: object) -> None:
        """Take an event into the record."""
        now = time.monotonic()
        match event:
            case events.AttemptStarted(job=job, server=server):
                self._open[job] = (server, now)
            case events.AttemptFailed(job=job):
                server, began = self._open.pop(job, (event.server, now - 0.1))
                self.tries.append(Try(job, server, began, now, event.failure, event.recovery))
            case events.JobDelivered(job=job) if job in self._open:
                server, began = self._open.pop(job)
                self.tries.append(Try(job, server, began, now))

    def met(self, strike: Strike) -> Try | None:
        """The attempt that a fault struck, if there was one."""
        there = [each for each in self.tries if each.server == strike.server]
        if strike.kind in STANDING:
            failed = [each for each in there if each.failure is not None]
            return next((each for each in failed if _looks_like(strike.kind, each.failure)), None)
        near = [each for each in there if each.began - 0.3 <= strike.at <= each.ended + 0.3]
        fitting = [each for each in near if _looks_like(strike.kind, each.failure)]
        within = [each for each in near if each.began <= strike.at <= each.ended]
        found = within if LOOKS[strike.kind][0] is None else fitting or within
        return min(found, key=lambda each: abs(each.began - strike.at), default=None)


def _looks_like(kind: str, failure: Failure | None) -> bool:
    expected, word = LOOKS[kind]
    if failure is None or expected is None:
        return failure is None and expected is None
    return failure.kind is expected and word in failure.message


def mended(kind: str, met: Try | None, account: Account, names: dict[str, str]) -> str:
    """What became of the job that a fault met, in words."""
    if met is None:
        return "no job was there at that moment"
    result = account.delivered.get(met.job)
    end = "not delivered"
    if result is not None:
        tries = len(result.attempts)
        times = "at the first attempt" if tries == 1 else f"at attempt {tries}"
        end = f"delivered by {names.get(result.server, result.server)} {times}"
    if met.failure is None:
        return f"{met.job}: did no harm; queue and history were asked; {end}"
    if not _looks_like(kind, met.failure):
        trouble = f"by itself no harm, but then {met.failure.message}"
        return f"{met.job}: {trouble} -> {met.recovery} -> {end}"
    return f"{met.job}: {met.failure.message} -> {met.recovery} -> {end}"
