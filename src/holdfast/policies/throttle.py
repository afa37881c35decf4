"""Hold back what the server would refuse anyway, where refusing is cheap.

Client-side throttling of Google's "Site Reliability Engineering" (2016, chapter 21).
The arithmetic is in `holdfast.machines.throttle`; here it meets calls.

- What counts is whether the server took a call on, not whether it went well: a
  failure is an answer, a refusal is not.
- What never reached the server counts as nothing: a call that a policy further
  in refused, or that its caller took back.
- A share always gets through, so that a recovery is noticed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from holdfast import events
from holdfast.errors import DeadlineExceededError, RejectedError, ThrottledError
from holdfast.events import hub
from holdfast.machines.throttle import ThrottleMachine
from holdfast.outcome import Err, Result
from holdfast.policies import checks
from holdfast.policies.call import Call
from holdfast.policies.effects import Flow, Step
from holdfast.policies.matching import Condition, any_leaf, compile_condition
from holdfast.policies.policy import Policy
from holdfast.ports import ambient

REFUSALS = frozenset({429, 503, 529})
"""HTTP statuses by which servers say that they will not take the work on now."""


def refused_by_server(error: BaseException) -> bool:
    """Whether an error is a refusal for lack of capacity, and not a failure of the work.

    That is a rejection of ours, or an error that carries the HTTP status 429, 503 or 529
    as aiohttp, httpx, requests and urllib do.
    """
    if isinstance(error, RejectedError):
        return True
    for holder in (error, getattr(error, "response", None)):
        for name in ("status", "status_code", "code"):
            status = getattr(holder, name, None)
            if isinstance(status, int) and status in REFUSALS:
                return True
    return False


class AdaptiveThrottle(Policy):
    """Refuses a share of the calls that grows with the share the server refuses."""

    __slots__ = ("_lock", "_machine", "_rejected", "_result_rejected", "k", "minimum", "name")

    settings = frozenset({"k", "minimum", "name"})

    def __init__(
        self,
        k: float = 2.0,
        seconds: float = 120.0,
        minimum: int = 10,
        *,
        rejected: Condition = refused_by_server,
        rejected_on_result: Callable[[Any], bool] | None = None,
        name: str = "throttle",
    ) -> None:
        """Start with an empty history.

        Args:
            k: calls asked for each one accepted that are still fine; at least 1. Nothing is
                held back while the server accepts one in ``k``.
            seconds: how far back it remembers.
            minimum: calls in that time before anything is held back.
            rejected: which errors mean that the server did not take the call on.
            rejected_on_result: says the same of a returned value, such as a response.
            name: of the server; in errors and events.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        checks.number("k", k, at_least=1)
        checks.seconds("seconds", seconds)
        checks.whole("minimum", minimum, at_least=0)
        checks.hook("rejected_on_result", rejected_on_result)
        checks.label("name", name)
        self.k = k
        self.minimum = minimum
        self.name = name
        self._rejected = compile_condition("rejected", rejected)
        self._result_rejected = rejected_on_result
        self._machine = ThrottleMachine(k, seconds, minimum=minimum)
        self._lock = threading.Lock()

    @property
    def probability(self) -> float:
        """How likely the next call is to be held back, from 0 to below 1."""
        with self._lock:
            return self._machine.probability(ambient.now())

    def describe(self) -> str:
        """The rule in one line."""
        return (
            f"AdaptiveThrottle {self.name!r}: holds calls back when the server accepts "
            f"less than one in {self.k:g}"
        )

    def snapshot(self) -> dict[str, Any]:
        """Settings and the present chance of being held back."""
        return {"k": self.k, "minimum": self.minimum, "probability": self.probability}

    def flow(self, call: Call, inner: Step) -> Flow:
        """Run ``inner`` unless it is held back, and count how it was received."""
        if call.adopt(self) is None:
            now, chance = ambient.now(), ambient.chance()
            with self._lock:
                admitted = self._machine.admit(now, chance)
            if not admitted:
                return self._refuse(call)
        sent = call.attempts
        try:
            result = yield from inner(call)
        except BaseException:
            call.hand_on(self)
            # A condition of the user's that raises must not replace the interruption.
            with suppress(Exception):
                self._count_cut(call)
            raise
        if call.attempts > sent:
            self._count(result)
        return result

    def _count_cut(self, call: Call) -> None:
        if call.interrupted_while_running():
            self._count(Err(DeadlineExceededError(f"{self.name}: no answer in time")))

    def _count(self, result: Result) -> None:
        if type(result) is Err:
            accepted = not any_leaf(self._rejected, result.error)
        else:
            accepted = self._result_rejected is None or not self._result_rejected(result.value)
        with self._lock:
            self._machine.answered(ambient.now(), accepted)

    def _refuse(self, call: Call) -> Err:
        probability = self.probability
        reason = f"the server refuses most calls; {probability:.0%} are held back"
        call.say(f"{self.name}: refused: {reason}")
        if hub.active:
            hub.emit(events.Rejected(self.name, ambient.now(), reason, None))
        return Err(ThrottledError(f"throttle {self.name!r}: {reason}"))

    def __repr__(self) -> str:
        return f"AdaptiveThrottle(k={self.k:g}, minimum={self.minimum}, name={self.name!r})"
