"""The circuit breaker's state machine: closed, open, half-open, and three states set by hand.

Laws:

- Time and chance are arguments. `now` is any monotonic count of seconds from 0
  on; a `now` earlier than the last one seen counts as no time passed. `chance`
  is a number in [0, 1).
- Every permission is a *permit* that carries the era it was given in. An
  outcome from an earlier era changes nothing: a call that began before the
  breaker opened says nothing about the world after it.
- A probe in the half-open state is a lease. It ends as success, failure,
  ignored or abandoned, and expires by itself, so a hung probe never wedges the
  breaker. A second outcome of a probe changes nothing.
- What was set by hand is undone by hand: `trip` and `close` leave `forced_open`
  and `disabled` alone, and under `metrics_only` move only what would be.
- Not safe for concurrent use: callers guard a circuit with their own lock, or
  use it from one event loop. `door` and `open_until` may be read without.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from holdfast.machines.circuit_settings import CircuitSettings, whole_number
from holdfast.machines.evidence import Evidence
from holdfast.machines.permits import CircuitSnapshot, CircuitState, Permit, ProbeLeases

__all__ = ["Circuit", "CircuitSettings", "CircuitSnapshot", "CircuitState", "Permit"]

# Read at every call, and a global is read faster than an enum's member.
_CLOSED, _OPEN, _HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
_FORCED_OPEN, _DISABLED = CircuitState.FORCED_OPEN, CircuitState.DISABLED
_NOT_JUDGED = (_FORCED_OPEN, _DISABLED)


@dataclass(slots=True, eq=False, repr=False)
class Door:
    """What a hot path looks at."""

    admits: int | None = None
    """The era while every call may pass without asking, else None."""
    quiet: int | None = None
    """The era while calls may pass without asking and successes need no recording, else None."""


@dataclass(slots=True)
class Circuit:
    """One breaker's state. Starts closed."""

    settings: CircuitSettings = field(default_factory=CircuitSettings)
    """Changed by `reconfigure` only."""
    era: int = 0
    """Counts the state changes; permits of another era are stale."""
    door: Door = field(init=False, default_factory=Door)
    """What may be asked at every call without a lock; another one after `change_door`."""
    open_until: float = field(init=False, default=0.0)
    """The moment before which every call is refused; 0 when there is none, `inf` for ever."""
    reason: str = field(init=False, default="new")
    """What led to the present state, in words."""
    _state: CircuitState = field(init=False, default=_CLOSED)
    _by_hand: CircuitState | None = field(init=False, default=None)
    _evidence: Evidence = field(init=False)
    _successes: int = field(init=False, default=0)
    opened_at: float = field(init=False, default=-math.inf)
    """Monotonic seconds of the latest opening by the rules or by a trip."""
    _openings: int = field(init=False, default=0)
    _half_open_at: float = field(init=False, default=0.0)
    _closed_at: float = field(init=False, default=-math.inf)
    _probes: ProbeLeases | None = field(init=False, default=None)
    _permit: Permit | None = field(init=False, default=None)
    _latest: float = field(init=False, default=-math.inf)

    def __post_init__(self) -> None:
        """Begin with no evidence."""
        self._evidence = Evidence(self.settings)
        self._refresh()

    def state(self, now: float) -> CircuitState:
        """The state at `now`; an open circuit whose time is up is half-open."""
        would_be = self.would_be(now)
        return would_be if self._by_hand is None else self._by_hand

    @property
    def last_state(self) -> CircuitState:
        """The state as it was left, without looking at the time."""
        return self._state if self._by_hand is None else self._by_hand

    def would_be(self, now: float) -> CircuitState:
        """The state the rules alone lead to: what a circuit that only measures would do."""
        self._onwards(now)
        if self._state is _OPEN and self._latest >= self._half_open_at:
            self._enter(_HALF_OPEN, "open time over")
        return self._state

    def retry_after(self, now: float, chance: float = 0.0) -> float:
        """Seconds until `admit` may say yes; 0 if it may at once, `inf` if only a hand can.

        With the `chance` that `admit` refused during a ramp: until it would be enough.
        """
        if self._by_hand is not None:
            return math.inf if self._by_hand is _FORCED_OPEN else 0.0
        state, now = self.would_be(now), self._latest
        if state is _OPEN:
            return self._half_open_at - now
        if state is _HALF_OPEN:
            full = self._full_until(now)
            return 0.0 if full is None else full - now
        return max(0.0, self._closed_at + self.settings.ramp_reaches(chance) - now)

    def snapshot(self, now: float) -> CircuitSnapshot:
        """How it stands at `now`."""
        state = self.state(now)
        calls, failed, slow = self._evidence.counts(self._latest)
        self._forget_openings()
        return CircuitSnapshot(
            state=state,
            would_be=self._state,
            reason=self.reason,
            era=self.era,
            failures=self._evidence.failures,
            calls=calls,
            failure_rate=failed / calls if calls else None,
            slow_rate=slow / calls if calls else None,
            openings=self._openings,
            retry_after=self.retry_after(now),
            probes=0 if self._probes is None else self._probes.live(self._latest),
        )

    def admit(self, now: float, chance: float = 0.0) -> Permit | None:
        """A permit for one call, or None if the circuit refuses it."""
        if self._by_hand is _FORCED_OPEN:
            return None
        if self._by_hand is _DISABLED:
            return self._plain_permit()
        permit = self._ask(now, chance)
        if permit is None and self._by_hand is CircuitState.METRICS_ONLY:
            return Permit(self.era, shadow=True)
        return permit

    @property
    def admits(self) -> int | None:
        """The era while every call may pass without asking, else None."""
        return self.door.admits

    @property
    def quiet(self) -> int | None:
        """The era while calls may pass without asking and successes need no recording."""
        return self.door.quiet

    def change_door(self) -> None:
        """Send all who look at the present door the long way, for good: they know too little."""
        self.door.admits = self.door.quiet = None
        self.door = Door()
        self._refresh()

    @property
    def failures(self) -> int:
        """Failures in a row, by weight."""
        return self._evidence.failures

    @property
    def good_probes(self) -> int:
        """Successful probes in a row, while half-open."""
        return self._successes

    def success(
        self, permit: Permit, now: float, seconds: float | None = None, *, chance: float = 0.5
    ) -> bool:
        """Record a good outcome; False if the permit was stale and nothing changed.

        `seconds` and `chance` are as for `failure`: a good but slow call may open the circuit.
        """
        if not self._claim(permit, now):
            return False
        if permit.probe is not None:
            self._successes += 1
            if self._successes >= self.settings.success_threshold:
                self._close("good probes")
        elif self._counts(permit):
            self._judge_by(self._evidence.success(self._latest, seconds), chance)
        return True

    def failure(
        self,
        permit: Permit,
        now: float,
        seconds: float | None = None,
        weight: int = 1,
        *,
        chance: float = 0.5,
    ) -> bool:
        """Record a bad outcome; False if the permit was stale and nothing changed.

        `seconds` is how long the call took, if known. It counts as `weight` failures in a
        row. `chance` moves the length of the opening it may bring; 0.5 leaves it as set.

        Raises:
            BadInputError: if `weight` is not an integer from 1.
        """
        whole_number("weight", weight)
        if not self._claim(permit, now):
            return False
        if permit.probe is not None:
            self._open("failed probe", chance)
        elif self._counts(permit):
            self._judge_by(self._evidence.failure(self._latest, seconds, weight), chance)
        return True

    def ignore(self, permit: Permit, now: float) -> bool:
        """Give a permit back after an outcome that counts neither way; False if it was stale."""
        return self._claim(permit, now)

    def stands(self, permit: Permit, now: float) -> bool:
        """Whether a probe's lease runs still; nothing changes by asking."""
        if permit.era != self.era or permit.probe is None or self._probes is None:
            return False
        return self._probes.runs(permit.probe, max(now, self._latest))

    def abandon(self, permit: Permit, now: float) -> bool:
        """Give a permit back without an outcome, the call was cancelled; False if it was stale."""
        return self._claim(permit, now)

    def renew(self, permit: Permit, now: float) -> bool:
        """Progress was seen: the probe's lease starts anew; False if the permit was stale.

        Where `progress_closes` is set, the first progress is the probe's success and settles it.
        """
        if permit.probe is None:
            return self._claim(permit, now)
        if permit.era != self.era or self._probes is None:
            return False
        if self.settings.progress_closes:
            return self.success(permit, now)
        now = self._onwards(now)
        return self._probes.renew(permit.probe, now, now + self.settings.probe_seconds)

    def trip(self, now: float, chance: float = 0.5, *, reason: str = "tripped") -> None:
        """Open at once: one failure was proof enough."""
        self._onwards(now)
        if self._by_hand not in _NOT_JUDGED:
            self._open(reason, chance)

    def close(self, now: float) -> None:
        """Close at once: whoever says so has seen it work."""
        self._onwards(now)
        if self._by_hand in _NOT_JUDGED:
            return
        self._openings = 0
        if self._state is not _CLOSED:
            self._close("seen to work")

    def force_open(self, now: float) -> None:
        """Refuse every call until somebody says otherwise."""
        if self._by_hand is not _FORCED_OPEN:
            self._wipe(_FORCED_OPEN, now)

    def disable(self, now: float) -> None:
        """Admit every call and count nothing until somebody says otherwise."""
        if self._by_hand is not _DISABLED:
            self._wipe(_DISABLED, now)

    def half_open(self, now: float) -> None:
        """Open, with the time of the opening over: the next calls are probes."""
        self._onwards(now)
        self._by_hand = None
        self._openings = max(1, self._openings)
        self._half_open_at = self._latest
        self._enter(_OPEN, "set by hand")
        self.would_be(now)

    def measure_only(self, now: float) -> None:
        """Admit every call, and go on keeping account of what would be."""
        self.would_be(now)
        if self._by_hand is not CircuitState.METRICS_ONLY:
            self._by_hand = CircuitState.METRICS_ONLY
            self._begin_era("set by hand")

    def reset(self, now: float) -> None:
        """Closed and clean, as on the first day."""
        self._wipe(None, now)
        self._evidence.forget_durations()

    def reconfigure(self, settings: CircuitSettings, now: float) -> None:
        """Go on under other settings, keeping the state, the era and the counts.

        Running leases and a running opening keep their end; the rules are
        applied anew at the next outcome.
        """
        self.would_be(now)
        self._forget_openings()
        self.settings = settings
        self._evidence.adopt(settings, self._latest)
        self._refresh()

    def _ask(self, now: float, chance: float) -> Permit | None:
        state, now = self.would_be(now), self._latest
        if state is _OPEN:
            return None
        if state is _CLOSED:
            if self.settings.ramp_seconds:
                share = self.settings.ramp_share(now - self._closed_at)
                if chance > share:
                    return None
                if share >= 1.0:
                    self._refresh()
            return self._plain_permit()
        if self._full_until(now) is not None:
            return None
        if self._probes is None:
            self._probes = ProbeLeases()
        return Permit(self.era, self._probes.grant(now + self.settings.probe_seconds))

    def _full_until(self, now: float) -> float | None:
        room = self.settings.half_open_max_calls
        if self._probes is None or self._probes.live(now) < room:
            return None
        return self._probes.room_at(room)

    def _plain_permit(self) -> Permit:
        # One for all calls of an era: a closed circuit does not tell them apart.
        if self._permit is None:
            self._permit = Permit(self.era)
        return self._permit

    def _claim(self, permit: Permit, now: float) -> bool:
        if permit.era != self.era:
            return False
        self._onwards(now)
        if permit.probe is not None:
            return self._probes is not None and self._probes.settle(permit.probe, self._latest)
        return permit.shadow or self._state is _CLOSED

    def _counts(self, permit: Permit) -> bool:
        return not permit.shadow and self._by_hand not in _NOT_JUDGED

    def _judge_by(self, reason_to_open: str | None, chance: float) -> None:
        if reason_to_open is not None:
            self._open(reason_to_open, chance)
        elif self.door.quiet is not None or not self._evidence.heeds_success:
            self._refresh()

    def _close(self, reason: str) -> None:
        self._closed_at = self._latest
        self._enter(_CLOSED, reason)

    def _open(self, reason: str, chance: float) -> None:
        self._forget_openings()
        self._openings += 1
        self._half_open_at = self._latest + self.settings.opening(self._openings, chance)
        self.opened_at = self._latest
        self._enter(_OPEN, reason)

    def _forget_openings(self) -> None:
        # Not at the moment of closing: a server that flaps would be tried at the shortest
        # interval for ever.
        if (
            self._state is _CLOSED
            and self._latest >= self._closed_at + self.settings.forget_seconds
        ):
            self._openings = 0

    def _wipe(self, by_hand: CircuitState | None, now: float) -> None:
        self._onwards(now)
        self._by_hand = by_hand
        self._openings = 0
        self._closed_at = -math.inf
        self._enter(_CLOSED, "reset" if by_hand is None else "set by hand")

    def _enter(self, state: CircuitState, reason: str) -> None:
        self._state = state
        self._evidence.clear()
        self._begin_era(reason)

    def _begin_era(self, reason: str) -> None:
        self.era += 1
        self.reason = reason
        self._successes = 0
        self._probes = self._permit = None
        self._refresh()

    def _refresh(self) -> None:
        by_hand, state = self._by_hand, self._state
        if by_hand is _FORCED_OPEN:
            self.open_until = math.inf
        elif by_hand is None and state is _OPEN:
            self.open_until = self._half_open_at
        else:
            self.open_until = 0.0
        steady = by_hand is _DISABLED or (
            by_hand is None
            and state is _CLOSED
            and self._latest >= self._closed_at + self.settings.ramp_seconds
        )
        self.door.admits = self.era if steady else None
        silent = steady and (by_hand is _DISABLED or not self._evidence.heeds_success)
        self.door.quiet = self.era if silent else None

    def _onwards(self, now: float) -> float:
        if now > self._latest:  # noqa: PLR1730 - at a third of the price of max()
            self._latest = now
        return self._latest
