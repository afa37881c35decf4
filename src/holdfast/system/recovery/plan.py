"""What happens in one recovery, as a flow: a generator that decides and yields what it wants done.

It knows neither threads nor event loops. `drive` has the two drivers that perform it. What ends
the call from outside is thrown in at a yield, so that the flow gives back the lead it holds.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Hashable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from holdfast import events
from holdfast.error_info import ErrorInfo
from holdfast.events import hub
from holdfast.outcome import Err, Ok, Result, describe
from holdfast.policies.ticket import Ticket
from holdfast.ports import ambient
from holdfast.system.recovery.context import RecoveryContext
from holdfast.system.recovery.errand import LateError
from holdfast.system.recovery.flight import Flights, Landed, Lead, Refused, Stray
from holdfast.system.recovery.result import Ending, RecoveryResult, Tried
from holdfast.system.recovery.strategy import Strategy, StrategyLike

logger = logging.getLogger("holdfast.recovery")

SLACK = 3.0
"""Seconds more than its steps may take, after which a run counts as vanished."""


@dataclass(slots=True, eq=False)
class Do:
    """Call this, sync or async, for so many seconds at most. The answer is a `Result`."""

    step: Callable[[], Any]
    method: Callable[..., Any]
    """What is called in there: it tells whether that is async."""
    seconds: float
    stray: Stray | None = field(default=None)
    """Set by the driver: what goes on although nobody waits for it."""


@dataclass(slots=True, eq=False)
class Await:
    """Wait until the ticket is granted, for so many seconds at most. The answer is None."""

    ticket: Ticket
    seconds: float


Plan = Generator[Do | Await, Any, RecoveryResult]
Part = Generator[Do | Await, Any, Tried]

_leading: ContextVar[frozenset[Hashable]] = ContextVar("holdfast_recovering", default=frozenset())


class Account:
    """Is told of every run; counts them."""

    def ran(self, name: str, ending: Ending, seconds: float) -> None:
        """A strategy came to an end in one recovery."""


@dataclass(frozen=True, slots=True, eq=False)
class Desk:
    """What all recoveries of a procedure share."""

    policy: str
    flights: Flights
    account: Account


def recovery(
    desk: Desk,
    strategies: tuple[StrategyLike, ...],
    error: ErrorInfo,
    context: RecoveryContext,
) -> Plan:
    """Try the strategies in order until the effect of one is verified."""
    began = ambient.now()
    tried: list[Tried] = []
    try:
        for strategy in strategies:
            if context.left() <= 0:
                tried.append(Tried(strategy.name, Ending.OUT_OF_TIME, "the deadline has passed"))
                break
            branch = context.branch(may_change=not is_shared(strategy))
            try:
                attempt = _Attempt(desk, strategy, error, branch)
                one = yield from attempt.flow()
            except BaseException:
                desk.account.ran(strategy.name, Ending.INTERRUPTED, 0.0)
                raise
            finally:
                branch.close()
            desk.account.ran(strategy.name, one.ending, one.seconds)
            tried.append(one)
            if one.ending in (Ending.MENDED, Ending.SHARED):
                return RecoveryResult(
                    success=True,
                    strategy=strategy.name,
                    tried=tuple(tried),
                    changes=branch.changes,
                    notes=branch.said(),
                    seconds=ambient.now() - began,
                    shared=one.ending is Ending.SHARED,
                    verified_at=attempt.verified_at,
                )
    finally:
        context.exception = None
    return RecoveryResult(success=False, tried=tuple(tried), seconds=ambient.now() - began)


def is_shared(strategy: StrategyLike) -> bool:
    """Whether one run of it serves all failures of the moment."""
    return getattr(strategy, "shared", True) is True


_ALWAYS = (Strategy.applies, Strategy.adjust)
"""What does nothing need not be done in a thread."""


class _Attempt:
    """One strategy in one recovery."""

    __slots__ = (
        "branch",
        "cut_short",
        "error",
        "flights",
        "key",
        "policy",
        "strategy",
        "stray",
        "verified_at",
    )

    def __init__(
        self,
        desk: Desk,
        strategy: StrategyLike,
        error: ErrorInfo,
        branch: RecoveryContext,
    ) -> None:
        self.policy, self.flights, self.strategy = desk.policy, desk.flights, strategy
        self.error, self.branch = error, branch
        self.key: Hashable = None
        self.stray: Stray | None = None
        self.cut_short = False
        self.verified_at = -math.inf
        """Monotonic seconds at which the effect was seen, by this run or by the one it shares."""
        """Whether the last step had less time than the strategy allows, and used it up."""

    def flow(self) -> Part:
        """From the question whether it applies to how it ended."""
        began = ambient.now()
        answer = yield from self._do("applies")
        if type(answer) is Err:
            return self._failed("applies", answer, began)
        if not answer.value:
            return self._tried(Ending.NOT_APPLICABLE, "it does not apply", began)
        del answer
        try:
            own = getattr(self.strategy, "key", self.strategy.name)
            self.key = (self.error.category, self.branch.dependency, own)
            hash(self.key)
        except Exception as error:  # noqa: BLE001  # the user's property
            return self._failed("key", Err(error), began)
        if self.key in _leading.get():
            return self._tried(Ending.BUSY, "this very call is part of a run of it", began)
        if not is_shared(self.strategy):
            return (yield from self._alone(began))
        return (yield from self._together(began))

    def _alone(self, began: float) -> Part:
        cooldown = self.strategy.cooldown
        refused = self.flights.resting(self.key, ambient.now(), cooldown)
        if refused is not None:
            return self._refused(refused, began)
        try:
            one = yield from self._run(began)
        finally:
            if cooldown > 0 or self.stray is not None:
                self.flights.rest(self.key, ambient.now(), "it ran for one call", self.stray)
        if one.ending is Ending.MENDED:
            return (yield from self._adjusted(one, began))
        return one

    def _together(self, began: float) -> Part:
        longest = 2 * self.strategy.timeout + SLACK
        berth = self.flights.board(
            self.key,
            began,
            cooldown=self.strategy.cooldown,
            lease=longest,
            began=self.branch.began,
            number=self.branch.number,
        )
        if isinstance(berth, Refused):
            return self._refused(berth, began)
        if isinstance(berth, Ticket):
            ticket = berth
            try:
                yield Await(ticket, min(longest, self.branch.left()))
            except BaseException:
                if self.flights.leave(self.key, ticket) and isinstance(ticket.value, Lead):
                    self.flights.hand_over(ticket.value, ambient.now())
                raise
            if not self.flights.leave(self.key, ticket):
                ending = Ending.LATE if self.branch.left() > 0 else Ending.OUT_OF_TIME
                return self._tried(ending, "the run for another call has not ended in time", began)
            berth = ticket.value if isinstance(ticket.value, Lead | Landed) else berth
        if isinstance(berth, Landed):
            return (yield from self._share(berth, began))
        if not isinstance(berth, Lead):
            raise TypeError(f"a follower was given {type(berth).__name__}")
        return (yield from self._lead(berth, began))

    def _lead(self, lead: Lead, began: float) -> Part:
        one: Tried | None = None
        try:
            one = yield from self._run(began)
        finally:
            self._let_go(lead, one)
        if one.ending is Ending.MENDED:
            return (yield from self._adjusted(one, began))
        return one

    def _let_go(self, lead: Lead, one: Tried | None) -> None:
        """Give the end of the run to all who wait, or the lead to one of them."""
        now = ambient.now()
        if one is None:
            if self.stray is not None:
                why = "the call that ran it was ended, and its work goes on in a thread"
                self.flights.land(lead, Landed(success=False, at=now, detail=why), self.stray)
            else:
                self.flights.hand_over(lead, now)
            return
        success = one.ending is Ending.MENDED
        # It may have failed only for lack of time that those who wait still have.
        if not success and self.cut_short and self.stray is None:
            if self.flights.hand_over(lead, now):
                return
            self.flights.rest(lead.key, now, one.reason)
            return
        landed = Landed(success, now, one.reason, self.branch.said())
        self.flights.land(lead, landed, self.stray)

    def _share(self, landed: Landed, began: float) -> Part:
        if not landed.success:
            return self._tried(
                Ending.SHARED_FAILURE, f"the run for another call failed: {landed.detail}", began
            )
        for note in landed.notes:
            self.branch.note(note)
        self.verified_at = landed.at
        one = self._tried(Ending.SHARED, "its effect was verified for another call", began)
        return (yield from self._adjusted(one, began))

    def _run(self, began: float) -> Part:
        """Act and verify."""
        category = self.error.category.value
        name = self.strategy.name
        if hub.active:
            told = f"{self.error.error_type} of {self.branch.dependency or 'an unnamed dependency'}"
            hub.emit(events.RecoveryStarted(self.policy, ambient.now(), name, category, told))
        mark = _leading.set(_leading.get() | {self.key})
        one: Tried | None = None
        try:
            one = yield from self._act(began)
        finally:
            # A flow nobody drives any more is closed wherever the collector runs.
            with suppress(ValueError):
                _leading.reset(mark)
            now = ambient.now()
            if hub.active:
                seconds = now - began
                if one is not None and one.ending is Ending.MENDED:
                    said = "; ".join(self.branch.said())
                    event: events.Event = events.RecoverySucceeded(
                        self.policy, now, name, category, seconds, said
                    )
                else:
                    why = "the call was ended from outside" if one is None else one.reason
                    event = events.RecoveryFailed(self.policy, now, name, category, seconds, why)
                hub.emit(event)
        return one

    def _act(self, began: float) -> Part:
        answer = yield from self._do("apply")
        if type(answer) is Err:
            return self._failed("apply", answer, began)
        answer = yield from self._do("verify")
        if type(answer) is Err:
            return self._failed("verify", answer, began)
        if answer.value is True:
            self.verified_at = ambient.now()
            return self._tried(Ending.MENDED, "its effect was verified", began)
        if answer.value is False:
            return self._tried(Ending.NOT_VERIFIED, "its effect was not seen", began)
        told = f"verify returned {answer.value!r:.100}, and only True counts"
        return self._tried(Ending.NOT_VERIFIED, told, began)

    def _adjusted(self, one: Tried, began: float) -> Part:
        """Let the strategy change this one call's retry."""
        if getattr(self.strategy, "adjust", None) is None:
            return one
        self.branch.allow_changes()
        answer = yield from self._do("adjust")
        return self._failed("adjust", answer, began) if type(answer) is Err else one

    def _do(self, what: str) -> Generator[Do | Await, Any, Result]:
        method = getattr(self.strategy, what)
        if getattr(method, "__func__", None) in _ALWAYS:
            return Ok(value=True)
        left = self.branch.left()
        effect = Do(
            partial(method, self.error, self.branch),
            method,
            max(0.0, min(self.strategy.timeout, left)),
        )
        try:
            answer: Result = yield effect
        finally:
            self.stray = effect.stray or self.stray
        self.cut_short = (
            type(answer) is Err
            and isinstance(answer.error, LateError)
            and effect.seconds < self.strategy.timeout
        )
        return answer

    def _failed(self, what: str, answer: Err, began: float) -> Tried:
        name, error = self.strategy.name, answer.error
        if isinstance(error, LateError):
            seconds = min(self.strategy.timeout, ambient.now() - began)
            left = "; its thread was left behind" if self.stray is not None else ""
            told = f"{what} had not ended after {seconds:.3g} s{left}"
            ending = Ending.OUT_OF_TIME if self.cut_short else Ending.LATE
            logger.warning("recovery strategy %s: %s", name, told)
            return self._tried(ending, told, began)
        told = f"{what} raised {describe(error)}"
        logger.warning("recovery strategy %s: %s", name, told)
        return self._tried(Ending.FAILED, told, began)

    def _refused(self, refused: Refused, began: float) -> Tried:
        return self._tried(Ending.BUSY if refused.busy else Ending.COOLING, refused.reason, began)

    def _tried(self, ending: Ending, reason: str, began: float) -> Tried:
        return Tried(self.strategy.name, ending, reason, ambient.now() - began)
