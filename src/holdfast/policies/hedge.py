"""A second call beside a slow one; the first good result wins.

Dean and Barroso, "The Tail at Scale" (2013): of a hundred servers one is always
slow, and whoever asks another one after the usual time is rid of the slowest few
calls for a few per cent more load.

- A hedge is against slowness. A failure starts none unless ``on`` says so, and the
  race goes on while any of its calls runs; when all have failed, the last error stands.
- Losers are cancelled and awaited (threads: told and left behind), and what they
  still return is disposed of. They count for nobody.
- An empty budget suppresses only the hedge, and says so.
- The usual time is learned from first calls alone. One that lost its race counts
  with the time it had run, or the slow ones would be missing and the usual time sink.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

from holdfast import events
from holdfast.errors import BadInputError
from holdfast.events import hub
from holdfast.machines.quantile import LiveQuantile
from holdfast.outcome import Attempt, Ok, Result, describe
from holdfast.policies import checks
from holdfast.policies.budget import RetryBudget
from holdfast.policies.call import Call
from holdfast.policies.effects import Flow, Race, Raced, Step
from holdfast.policies.idempotency import Idempotency
from holdfast.policies.matching import (
    Condition,
    compile_condition,
    every_leaf,
    may_match_rejections,
)
from holdfast.policies.policy import Bound, Policy
from holdfast.ports import ambient

KEPT_SECONDS = 1.0
"""How long an answer of the quantile is used before it is asked again."""
LEAST_SECONDS = 0.001
"""The shortest learned wait: a hedge at once would double the load for nothing."""


class Hedge(Policy):
    """Start up to ``max_extra`` more calls beside one that takes longer than ``after``."""

    __slots__ = (
        "_fresh_until",
        "_learned",
        "_live",
        "_lock",
        "_matches",
        "_may_match_rejections",
        "_tally",
        "after",
        "budget",
        "idempotency",
        "initial",
        "max_extra",
        "minimum_calls",
        "name",
        "on_discard",
        "quantile",
    )

    settings = frozenset(
        {
            "after",
            "budget",
            "idempotency",
            "initial",
            "max_extra",
            "minimum_calls",
            "name",
            "on_discard",
            "quantile",
        }
    )

    def __init__(
        self,
        after: float | str = "p95",
        max_extra: int = 1,
        *,
        budget: RetryBudget | None = None,
        idempotency: Idempotency | None = None,
        on: Condition | None = None,
        on_discard: Callable[[Any], Any] | None = None,
        initial: float | None = None,
        minimum_calls: int | None = None,
        window: float = 300.0,
        name: str = "hedge",
    ) -> None:
        """Make a hedge.

        Args:
            after: seconds before another call starts beside the running ones; or a quantile of
                the durations of recent calls, as "p95" or "p99.9".
            max_extra: extra calls at most.
            budget: shared with every other retry and hedge towards the same dependency.
            idempotency: makes a key that all calls of a race share. A call that is not safe to
                carry out twice cannot be hedged.
            on: failures after which another call starts at once; None: no failure does.
            on_discard: given each result that came too late; close it here. May be async.
            initial: seconds used until enough calls have been seen; None: no hedge until then.
            minimum_calls: how many that is (default: as many as make the quantile mean
                something; 20 for p95, 100 for p99).
            window: seconds the quantile looks back.
            name: in events and errors.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        checks.whole("max_extra", max_extra, at_least=1)
        checks.instance("budget", budget, RetryBudget)
        checks.instance("idempotency", idempotency, Idempotency)
        checks.hook("on_discard", on_discard)
        checks.seconds("initial", initial, optional=True)
        checks.whole("minimum_calls", minimum_calls, at_least=1, optional=True)
        checks.seconds("window", window)
        checks.label("name", name)
        if idempotency is not None and not idempotency.safe:
            raise BadInputError(
                "Hedge runs a call beside itself, so it cannot be used for one that is declared "
                "not idempotent: no lookup can tell what is still under way"
            )
        self.quantile = quantile_of(after) if isinstance(after, str) else None
        """Between 0 and 1; None if ``after`` is in seconds."""
        if self.quantile is None:
            checks.seconds("after", after, zero=True)
            for field, value in (("initial", initial), ("minimum_calls", minimum_calls)):
                if value is not None:
                    raise BadInputError(
                        f"{field} needs a quantile for after, such as 'p95', got {value} "
                        f"with after={after}"
                    )
        elif minimum_calls is None:
            minimum_calls = max(20, math.ceil(round(1.0 / (1.0 - self.quantile), 6)))
        self.after, self.max_extra, self.budget = after, max_extra, budget
        self.idempotency, self.on_discard = idempotency, on_discard
        self.initial, self.minimum_calls, self.name = initial, minimum_calls, name
        self._may_match_rejections = on is not None and may_match_rejections(on)
        self._matches = None if on is None else compile_condition("on", on)
        self._live = LiveQuantile(window)
        self._learned = initial
        self._fresh_until = -math.inf
        self._tally = dict.fromkeys(("calls", "hedged", "won_by_hedge", "suppressed"), 0)
        self._lock = threading.Lock()

    def describe(self) -> str:
        """The wait and the number in one line."""
        when = f"{self.after:g} s" if self.quantile is None else f"the {self.after} of recent calls"
        return f"Hedge {self.name!r}: up to {self.max_extra} more after {when}"

    def bound(self, inner: Bound) -> Bound:
        """Each extra call may start just before the one before it ends."""
        wait = inner.seconds
        if self.quantile is None and self._matches is None:
            wait = min(wait, float(self.after))
        return Bound(inner.seconds + self.max_extra * wait, inner.calls * (1 + self.max_extra))

    def snapshot(self) -> dict[str, Any]:
        """The wait now in seconds (None: no hedging yet), and what has happened so far."""
        after = self.wait()
        with self._lock:
            samples = self._live.count(ambient.now())
            told = {"name": self.name, "after": after, "samples": samples} | self._tally
        return told if self.budget is None else told | {"budget": self.budget.snapshot()}

    def wait(self) -> float | None:
        """Seconds before the next hedge starts; None while too few calls have been seen."""
        if self.quantile is None or self.minimum_calls is None:
            return float(self.after)
        now = ambient.now()
        with self._lock:
            # Asking the sketch takes as long as a whole pipeline; recent is good enough.
            if now >= self._fresh_until:
                self._fresh_until = now + KEPT_SECONDS
                self._learned = self.initial
                if self._live.count(now) >= self.minimum_calls:
                    learned = self._live.quantile(now, self.quantile)
                    self._learned = None if learned is None else max(learned, LEAST_SECONDS)
            return self._learned

    def flow(self, call: Call, inner: Step) -> Flow:
        """Run ``inner``, and more of it beside it when it is slow."""
        if self.idempotency is not None and self.idempotency.key and not call.keyed:
            call.scope.key, call.keyed = self.idempotency.key(), True
        # A retry around this with the same budget has counted the first call already.
        counted = call.retrying is not None and call.retrying.budget is self.budget
        if call.adopt(self) is None:
            if self.budget is not None and not counted:
                self.budget.deposit()
            self.count("calls")
        after = self.wait()
        heat = _Heat(self, call, inner, after or 0.0)
        try:
            if after is None:
                return (yield from heat.first(call))
            raced: Raced = yield Race(
                heat.first, heat.another, heat.delay, _succeeded, self.name, self.on_discard
            )
        except BaseException:
            call.hand_on(self)
            raise
        if raced.started > 1:
            heat.close(raced)
        return raced.result

    @property
    def passes_rejections(self) -> bool:  # type: ignore[override]
        """Whether a rejection from inside starts no other call."""
        return not self._may_match_rejections

    def wants(self, error: Exception) -> bool:
        """Whether a failure is one after which another call starts at once."""
        return self._matches is not None and every_leaf(self._matches, error)

    def learn(self, seconds: float) -> None:
        """Count how long a first call took."""
        if self.quantile is not None:
            with self._lock:
                self._live.add(ambient.now(), seconds)

    def count(self, what: str) -> None:
        """Count something for `snapshot`."""
        with self._lock:
            self._tally[what] += 1

    def __repr__(self) -> str:
        return f"Hedge({self.after!r}, {self.max_extra}, name={self.name!r})"


class _Heat:
    """One call and those beside it. Its steps may run in threads of their own."""

    __slots__ = ("after", "began", "call", "first_open", "hedge", "inner", "lock", "open", "wanted")

    def __init__(self, hedge: Hedge, call: Call, inner: Step, after: float) -> None:
        self.hedge, self.call, self.inner, self.after = hedge, call, inner, after
        self.began = ambient.now()
        self.lock = threading.Lock()
        self.open = 1
        """Calls that have not ended."""
        self.first_open = True
        """Whether the duration of the first call is still to be learned."""
        self.wanted = False
        """Whether the latest failure asks for another call."""

    def delay(self) -> float:
        """Seconds before the next one."""
        return self.after

    def first(self, branch: Call) -> Flow:
        """The call itself."""
        result = yield from self.inner(branch)
        self._ended(0, result)
        return result

    def another(self, number: int, failed: bool) -> Step | None:  # noqa: FBT001  # set by `Race`
        """One more call, or None."""
        hedge = self.hedge
        if number > hedge.max_extra or (failed and not self.wanted):
            return None
        if hedge.budget is not None and not hedge.budget.try_spend():
            self.call.say(f"{hedge.name}: not hedged: the budget is used up")
            hedge.count("suppressed")
            if hub.active:
                hub.emit(events.HedgeSuppressed(hedge.name, ambient.now(), number))
            return None
        elapsed = ambient.now() - self.began
        self.call.say(f"{hedge.name}: call {number} started beside the first at {elapsed:.3g} s")
        hedge.count("hedged")
        if hub.active:
            hub.emit(events.HedgeStarted(hedge.name, ambient.now(), number, elapsed))
        with self.lock:
            self.open += 1

        def step(branch: Call) -> Flow:
            result = yield from self.inner(branch)
            self._ended(number, result)
            return result

        return step

    def close(self, raced: Raced) -> None:
        """The race is over."""
        hedge = self.hedge
        if type(raced.result) is Ok:
            self.call.say(f"{hedge.name}: call {raced.winner} of {raced.started} came first")
            if raced.winner:
                hedge.count("won_by_hedge")
            self._learn()
        if hub.active:
            hub.emit(events.HedgeEnded(hedge.name, ambient.now(), raced.winner, raced.started))

    def _ended(self, number: int, result: Result) -> None:
        with self.lock:
            self.open -= 1
            others = self.open
        if type(result) is Ok:
            if number == 0:
                self._learn()
            return
        if number == 0:
            # A failure says nothing about how long a good call takes.
            self.first_open = False
        self.wanted = self.hedge.wants(result.error)
        if others:
            told = describe(result.error)
            seconds = ambient.now() - self.began
            self.call.history.append(Attempt(number + 1, told, seconds, None))
            self.call.say(f"{self.hedge.name}: call {number} failed, {others} still run: {told}")

    def _learn(self) -> None:
        with self.lock:
            open_, self.first_open = self.first_open, False
        if open_:
            self.hedge.learn(ambient.now() - self.began)


def _succeeded(result: Result) -> bool:
    return type(result) is Ok


def quantile_of(text: str) -> float:
    """What "p95" means: 0.95.

    Raises:
        BadInputError: the text names no quantile.
    """
    try:
        share = float(text.removeprefix("p")) / 100.0 if text.startswith("p") else math.nan
    except ValueError:
        share = math.nan
    if not 0.0 < share < 1.0:
        raise BadInputError(
            f"after must be seconds or a quantile such as 'p95', above p0 and below p100, "
            f"got {text!r}"
        )
    return share
