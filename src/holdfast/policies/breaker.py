"""Stop calling what is down, ask now and then whether it is back, and return gently.

Michael Nygard's circuit breaker ("Release It!", 2007). The rules are in
`holdfast.machines.circuit`; here they meet calls.

- The lock guards the machine, never the protected call.
- A call through a closed, untroubled breaker takes no lock and records nothing.
- A permit carries the era it was given in. What began in an earlier era changes
  nothing, and says so in an `OutcomeDiscarded` event.
- A call ended by its caller proves nothing; one that was at work when a limit
  of ours ended it counts as a failure.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from holdfast import events
from holdfast.errors import BadInputError, CircuitBreakerOpenError
from holdfast.events import hub
from holdfast.machines.circuit import Circuit, CircuitSettings, CircuitState, Permit
from holdfast.outcome import Err, Outcome, Refusal, Result
from holdfast.policies import checks
from holdfast.policies.by_hand import Leaves, WorkedByHand
from holdfast.policies.call import Call
from holdfast.policies.effects import Flow, Step
from holdfast.policies.matching import (
    Condition,
    any_leaf,
    compile_condition,
    counts_as_failure,
    every_leaf,
    refuse_empty,
)
from holdfast.ports import ambient


class CircuitBreaker(WorkedByHand):
    """Refuses calls to a dependency that keeps failing. Share one object per dependency."""

    __slots__ = (
        "__weakref__",
        "_counts",
        "_excluded",
        "_result_failed",
        "measures",
        "name",
        "on_change",
        "rejected",
    )

    settings = frozenset({"circuit", "measures", "name"})

    def __init__(
        self,
        name: str = "circuit",
        failure_threshold: int | None = 5,
        success_threshold: int = 2,
        timeout: float = 60.0,
        half_open_max_calls: int = 1,
        *,
        on: Condition | None = None,
        exclude: Condition = (),
        failure_on_result: Callable[[Any], bool] | None = None,
        failure_rate: float | None = None,
        window: float | None = None,
        window_calls: int | None = None,
        minimum_calls: int | None = None,
        slow_rate: float | None = None,
        slow_factor: float | None = None,
        slow_seconds: float | None = None,
        timeout_growth: float = 2.0,
        timeout_maximum: float | None = None,
        timeout_jitter: float = 0.1,
        probe_seconds: float = 600.0,
        progress_closes: bool = False,
        ramp_seconds: float = 0.0,
    ) -> None:
        """Make a closed breaker.

        Args:
            name: of the dependency; in errors and events.
            failure_threshold: consecutive failures that open it; None: do not count these.
            success_threshold: consecutive successful probes that close it.
            timeout: seconds the first opening lasts.
            half_open_max_calls: probes allowed at the same time.
            on: what counts as a failure (default: every exception but our own rejections).
            exclude: what counts neither as a failure nor as a success.
            failure_on_result: says whether a returned value is a failure.
            failure_rate: share of failed calls (above 0, at most 1) in the window that opens it.
            window: seconds the rates look back (60 if a rate is given without a window).
            window_calls: look back over so many calls instead.
            minimum_calls: calls in the window before a rate means anything (20).
            slow_rate: share of slow calls in the window that opens it.
            slow_factor: a call is slow when it takes this many times what is learned to be
                normal (3).
            slow_seconds: a call is slow above this; instead of the learned baseline.
            timeout_growth: each opening without a recovery lasts this many times the last.
            timeout_maximum: seconds no opening exceeds (default: ten times ``timeout``).
            timeout_jitter: share of each opening after the first it is moved by, either way.
            probe_seconds: seconds after which a probe without an end no longer holds its place;
                progress renews it.
            progress_closes: whether a probe counts as successful at its first sign of progress.
            ramp_seconds: seconds over which the admitted share grows from 10 % to all of the
                calls after closing; 0 admits all at once.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        checks.label("name", name)
        checks.seconds("timeout", timeout)
        checks.number("timeout_growth", timeout_growth, at_least=1)
        checks.seconds("timeout_maximum", timeout_maximum, optional=True)
        if isinstance(timeout_jitter, bool) or not isinstance(timeout_jitter, int | float):
            timeout_jitter = math.nan
        if not 0 <= timeout_jitter < 1:
            raise BadInputError(
                f"timeout_jitter must be at least 0 and below 1, got {timeout_jitter!r}"
            )
        if timeout_maximum is not None and timeout_maximum < timeout:
            raise BadInputError(
                f"timeout_maximum must be at least timeout ({timeout:g} seconds), "
                f"got {timeout_maximum!r}"
            )
        checks.whole("window_calls", window_calls, at_least=1, optional=True)
        checks.hook("failure_on_result", failure_on_result)
        if slow_factor is not None and (slow_rate is None or slow_seconds is not None):
            why = "needs slow_rate" if slow_rate is None else "contradicts slow_seconds: give one"
            raise BadInputError(f"slow_factor {why}, got {slow_factor!r}")
        rates = failure_rate is not None or slow_rate is not None
        if not rates:
            idle = {"window": window, "window_calls": window_calls, "minimum_calls": minimum_calls}
            checks.unused(idle, "failure_rate or slow_rate")
        if failure_on_result is None and slow_rate is None:
            refuse_empty("on", on, "failure_on_result or slow_rate")
        if rates and window is None and window_calls is None:
            window = 60.0
        if minimum_calls is None:
            minimum_calls = 20 if window_calls is None else min(20, window_calls)
        settings = CircuitSettings(
            failure_threshold=failure_threshold,
            success_threshold=success_threshold,
            open_seconds=timeout,
            open_growth=timeout_growth,
            open_maximum=10.0 * timeout if timeout_maximum is None else timeout_maximum,
            open_jitter=timeout_jitter,
            half_open_max_calls=half_open_max_calls,
            probe_seconds=probe_seconds,
            progress_closes=progress_closes,
            failure_rate=failure_rate,
            window=window,
            window_calls=window_calls,
            minimum_calls=minimum_calls,
            slow_rate=slow_rate,
            slow_factor=3.0 if slow_factor is None else slow_factor,
            slow_seconds=slow_seconds,
            ramp_seconds=ramp_seconds,
        )
        self.name = name
        self.on_change: Callable[[str, str, str], object] | None = None
        """Told of each change: old state, new state, reason. What it raises is ignored."""
        self.circuit = Circuit(settings)
        """The machine. Its `door` and `open_until` may be read without the lock."""
        self._counts = counts_as_failure if on is None else compile_condition("on", on)
        self._excluded = compile_condition("exclude", exclude) if exclude != () else None
        self._result_failed = failure_on_result
        self.measures = slow_rate is not None
        self._lock = threading.Lock()
        self._by_hand: Leaves | None = None
        self.rejected: tuple[float, Outcome[Any]] | None = None
        """The outcome of refused calls, and until when it serves."""

    # -- permits ---------------------------------------------------------------------------

    def admit(self) -> Permit | None:
        """A permit for one call, or None; end it with `settle`, or `abandon` it."""
        now = ambient.now()
        circuit = self.circuit
        with self._lock:
            era, old = circuit.era, circuit.last_state
            permit = circuit.admit(now, ambient.chance())
            new, changed = circuit.last_state, circuit.era
        if changed != era:
            self._tell(old, new, "time")
        return permit

    def abandon(self, permit: Permit) -> None:
        """Give a permit back without an outcome: the call was cancelled, or proved nothing."""
        self._change("abandoned", lambda now: self.circuit.abandon(permit, now))

    def get_state(self) -> CircuitState:
        """The state now."""
        return self.state

    @property
    def state(self) -> CircuitState:
        """The state now; an open breaker whose time is up is half-open."""
        state: CircuitState = self._change("time", self.circuit.state)
        return state

    @property
    def would_be(self) -> CircuitState:
        """In `metrics_only`: the state it would be in if it acted."""
        would_be: CircuitState = self._change("time", self.circuit.would_be)
        return would_be

    @property
    def retry_after(self) -> float:
        """Seconds until a call may be admitted; 0 if one may now."""
        seconds: float = self._change("time", self.circuit.retry_after)
        return seconds

    def snapshot(self) -> dict[str, Any]:
        """The state, as plain data."""
        told = self._change("time", self.circuit.snapshot)
        state = {field: getattr(told, field) for field in type(told).__dataclass_fields__}
        if state["retry_after"] == math.inf:
            state["retry_after"] = None  # nobody knows; and JSON has no infinity
        return {"name": self.name} | state

    def describe(self) -> str:
        """The rules in one line."""
        rules, s = [], self.circuit.settings
        if s.failure_threshold is not None:
            rules.append(f"{s.failure_threshold} failures in a row")
        if s.failure_rate is not None:
            rules.append(f"{s.failure_rate:.0%} failed")
        if s.slow_rate is not None:
            rules.append(f"{s.slow_rate:.0%} slow")
        return (
            f"CircuitBreaker {self.name!r}: opens for {s.open_seconds:g} s at {' or '.join(rules)}"
        )

    def adopt_settings_of(self, other: CircuitBreaker) -> None:
        """Take over another breaker's settings and keep state, era and counts.

        If more is to be looked at than before, or less, hot paths that were made around it are
        left for good: what they look at was decided when they were made.
        """
        with self._lock:
            looked_at = self.plain, self.measures
            self.circuit.reconfigure(other.circuit.settings, ambient.now())
            self._counts, self._excluded = other._counts, other._excluded
            self._result_failed = other._result_failed
            object.__setattr__(self, "measures", other.measures)  # sealed for everybody else
            if looked_at != (self.plain, self.measures):
                self.circuit.change_door()
                if hasattr(self, "_pipeline"):
                    del self._pipeline  # calls through the breaker alone get a new one

    # -- in a pipeline ---------------------------------------------------------------------

    def flow(self, call: Call, inner: Step) -> Flow:
        """Run ``inner`` if the circuit lets it, and learn from its end."""
        era = self.circuit.admits
        permit = (
            call.adopt(self)
            or (self._by_hand and self._leave_in_hand())
            or (self.admit() if era is None else Permit(era))
        )
        if not isinstance(permit, Permit):
            return self._refuse(call)
        scope, listeners = call.scope, call.scope.listeners
        if permit.probe is not None:
            probe = permit
            scope.listeners = (*listeners, lambda: self._renew(probe))
        # Waiting is not running: time in a queue of ours makes no call slow.
        began = ambient.now() - scope.queued if self.measures else 0.0
        held = self, permit
        call.permits.append(held)
        try:
            result = yield from inner(call)
            failed = self.judge(result)
            # In sync code a limit further out can only be seen to have passed.
            if failed is False and scope.deadline != math.inf and ambient.now() >= scope.deadline:
                failed = True
        except BaseException as error:
            if call.left_behind:
                raise
            if call.interrupted_while_running():
                self.settle(permit, failed=True)
            else:
                self.abandon(permit)
            if isinstance(error, Exception):
                # What a predicate of the user's raises is told as the end of the call.
                return Err(error)
            raise
        finally:
            call.permits.remove(held)
            scope.listeners = listeners
        if call.left_behind or (failed is False and self.circuit.quiet == permit.era):
            return result
        seconds = ambient.now() - scope.queued - began if self.measures else None
        if failed is None:
            self._change("excluded", lambda now: self.circuit.ignore(permit, now))
        else:
            self.settle(permit, failed=failed, seconds=seconds)
        return result

    def judge(self, result: Result) -> bool | None:
        """Whether a result is a failure; None if it counts as neither."""
        if type(result) is Err:
            if self._excluded is not None and every_leaf(self._excluded, result.error):
                return None
            if any_leaf(self._counts, result.error):
                return True
            # What is no failure of the dependency is no proof of its health either.
            return None
        return self._result_failed is not None and bool(self._result_failed(result.value))

    def settle(self, permit: Permit, *, failed: bool, seconds: float | None = None) -> None:
        """Record how a permitted call ended."""
        self._change("time", self.circuit.state)
        now, chance = ambient.now(), ambient.chance() if failed or self.measures else 0.5
        circuit = self.circuit
        with self._lock:
            era, old = circuit.era, circuit.last_state
            if failed:
                counted = circuit.failure(permit, now, seconds, chance=chance)
            else:
                counted = circuit.success(permit, now, seconds, chance=chance)
            new, changed = circuit.last_state, circuit.era
        if changed != era:
            self._tell(old, new, "failures" if failed else "successful probes")
        if not counted and hub.active:
            hub.emit(events.OutcomeDiscarded(self.name, now, permit.era, failed))

    def rejection(self, now: float) -> Outcome[Any]:
        """The outcome of calls that are sure to be refused at ``now``; it serves 0.1 seconds."""
        until = self.circuit.open_until
        after = until - now if until != math.inf else None
        error = CircuitBreakerOpenError(self.name, retry_after=after)
        outcome = Refusal(error, (f"{self.name}: refused, the circuit is open",))
        self.rejected = (min(until, now + 0.1), outcome)
        return outcome

    @property
    def plain(self) -> bool:
        """Whether a success in a quiet circuit leaves nothing to judge or to record."""
        return self._result_failed is None

    def _refuse(self, call: Call) -> Err:
        now = ambient.now()
        with self._lock:
            after, state = self.circuit.retry_after(now, 0.5), self.circuit.state(now)
        call.say(f"{self.name}: refused, the circuit is {state}")
        if hub.active:
            hub.emit(events.CircuitRejected(self.name, now, str(state), after))
        told = None if after == math.inf else after
        return Err(CircuitBreakerOpenError(self.name, retry_after=told))

    def _renew(self, permit: Permit) -> None:
        self._change("progress of a probe", lambda now: self.circuit.renew(permit, now))

    def _change(self, reason: str, action: Callable[[float], Any]) -> Any:
        now = ambient.now()
        circuit = self.circuit
        with self._lock:
            era, old = circuit.era, circuit.last_state
            answer = action(now)
            new, changed = circuit.last_state, circuit.era
        if changed != era:
            self._tell(old, new, reason)
        return answer

    def _tell(self, old: CircuitState, new: CircuitState, reason: str) -> None:
        self.rejected = None
        if self.on_change is not None:
            with suppress(Exception):
                self.on_change(str(old), str(new), reason)
        if hub.active:
            now = ambient.now()
            after = max(0.0, self.circuit.open_until - now)
            hub.emit(
                events.CircuitChanged(
                    self.name, now, str(old), str(new), self.circuit.era, reason, after
                )
            )

    def __repr__(self) -> str:
        return f"CircuitBreaker({self.name!r}, {self.state})"
