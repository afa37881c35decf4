"""The breaker against the plainest possible account of its rules, under random callers."""

from __future__ import annotations

import copy
import math

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.machines.circuit import Circuit, CircuitSettings, CircuitState, Permit

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
FORCED, DISABLED = CircuitState.FORCED_OPEN, CircuitState.DISABLED
METRICS = CircuitState.METRICS_ONLY
JITTER, CALLS, MINIMUM, SLOW = 0.25, 6, 4, 2.0
OUTCOMES = st.sampled_from(["success", "failure", "ignore", "abandon", "renew"])
INDEX = st.integers(0, 1_000)
CHANCE = st.sampled_from([0.0, 0.5, 0.75])
SECONDS = st.sampled_from([None, 1.0, 3.0, math.nan])


@st.composite
def circuit_settings(draw):
    """Settings of all kinds, of numbers small enough for everything to happen."""
    threshold = draw(st.sampled_from([None, 1, 2, 3, 4]))
    rate = draw(st.sampled_from([None, None, 0.5, 1.0]))
    slow = draw(st.sampled_from([None, None, 0.5]))
    measured = rate is not None or slow is not None
    return CircuitSettings(
        failure_threshold=threshold or (None if measured else 2),
        success_threshold=draw(st.integers(1, 3)),
        half_open_max_calls=draw(st.integers(1, 3)),
        open_seconds=8.0,
        open_growth=draw(st.sampled_from([1.0, 2.0])),
        open_maximum=32.0,
        open_jitter=JITTER,
        open_forget=draw(st.sampled_from([0.0, 20.0, None])),
        probe_seconds=draw(st.sampled_from([4.0, 60.0])),
        failure_rate=rate,
        slow_rate=slow,
        slow_seconds=SLOW if slow else None,
        window_calls=CALLS if measured else None,
        minimum_calls=MINIMUM,
        progress_closes=draw(st.booleans()),
        ramp_seconds=draw(st.sampled_from([0.0, 0.0, 10.0])),
    )


class CircuitMachine(RuleBasedStateMachine):
    """Random callers, outcomes, hands and clocks."""

    @initialize(settings=circuit_settings())
    def begin(self, settings):
        self.settings = settings
        self.circuit = Circuit(settings)
        self.wall = self.now = 10_000.0
        self.skew = 0.0
        self.hand: CircuitState | None = None
        self.state = CLOSED
        self.era = 0
        self.open_until, self.closed_at = 0.0, -math.inf
        self.failures = self.successes = self.openings = 0
        self.calls: list[tuple[bool, bool]] = []  # (failed, slow), the last ones
        self.leases: dict[Permit, float] = {}
        self.fresh: list[Permit] = []  # permits given in the present era
        self.stale: list[Permit] = []  # permits of earlier eras, expired or used probes

    # The account ------------------------------------------------------------------------

    def told(self) -> float:
        """What the circuit is told the time is; the account's own time never steps back."""
        moment = self.wall - self.skew
        self.now = max(self.now, moment)
        if self.state is OPEN and self.now >= self.open_until:
            self.turn(HALF_OPEN)
        if self.state is CLOSED and self.now >= self.closed_at + self.settings.forget_seconds:
            self.openings = 0
        for permit in [each for each, until in self.leases.items() if until <= self.now]:
            self.settle(permit)
        return moment

    def new_era(self) -> None:
        self.era += 1
        self.successes = 0
        self.stale += self.fresh
        self.fresh, self.leases = [], {}

    def turn(self, state: CircuitState) -> None:
        self.state = state
        self.failures, self.calls = 0, []
        self.new_era()

    def open(self, chance: float) -> None:
        plain = min(32.0, 8.0 * self.settings.open_growth**self.openings)
        share = JITTER if self.openings else 0.0  # the first lasts exactly as set
        length = min(32.0, plain * (1 + share * (2 * chance - 1)))
        self.openings += 1
        # The last bit is the circuit's own: powers are not exact.
        self.open_until = self.circuit._half_open_at
        assert self.open_until == pytest.approx(self.now + length)
        self.turn(OPEN)

    def shut(self) -> None:
        self.closed_at = self.now
        self.turn(CLOSED)

    def settle(self, permit: Permit) -> None:
        del self.leases[permit]
        self.fresh.remove(permit)
        self.stale.append(permit)

    def good_probe(self, permit: Permit) -> None:
        self.settle(permit)
        self.successes += 1
        if self.successes >= self.settings.success_threshold:
            self.shut()

    def judge(self, chance: float, *, failed: bool, seconds: float | None) -> None:
        settings = self.settings
        convicted = failed and self.failures >= (settings.failure_threshold or math.inf)
        if settings.window_calls is not None:
            slow = settings.slow_rate is not None and seconds == 3.0
            self.calls = [*self.calls, (failed, slow)][-CALLS:]
            count = len(self.calls)
            shares = [sum(each) / count for each in zip(*self.calls, strict=True)]
            limits = [settings.failure_rate, settings.slow_rate]
            convicted |= count >= MINIMUM and any(
                limit is not None and share >= limit
                for share, limit in zip(shares, limits, strict=True)
            )
        if convicted:
            self.open(chance)

    @property
    def ramping(self) -> bool:
        return self.now < self.closed_at + self.settings.ramp_seconds

    @property
    def still(self) -> bool:
        """Whether a call may pass unasked and a success need not be told."""
        if self.hand is not None:
            return self.hand is DISABLED
        windowed = self.settings.window_calls is not None
        return self.state is CLOSED and not (self.failures or windowed or self.ramping)

    def admits(self, chance: float) -> bool:
        if self.state is CLOSED:
            done = (self.now - self.closed_at) / self.settings.ramp_seconds if self.ramping else 1
            return chance <= 0.1 + 0.9 * done or not self.ramping
        return self.state is HALF_OPEN and len(self.leases) < self.settings.half_open_max_calls

    # What happens -----------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 4.0, 8.0, 33.0, 100.0]))
    def pass_time(self, seconds):
        self.wall += seconds

    @rule(seconds=st.sampled_from([0.0, 0.0, 3.0, 5_000.0]))
    def set_the_clock_back(self, seconds):
        self.skew = seconds

    @rule(chance=st.sampled_from([0.0, 0.3, 0.7, 0.99]), callers=st.sampled_from([1, 1, 12]))
    def ask(self, chance, callers):
        for _ in range(callers):
            moment = self.told()
            permit = self.circuit.admit(moment, chance)
            if self.hand in {FORCED, DISABLED}:
                assert (permit is None) == (self.hand is FORCED)
                shadow = False
            else:
                shadow = not self.admits(chance)
                assert (permit is None) == (shadow and self.hand is None)
            if permit is None:
                continue
            assert permit.era == self.era
            assert permit.shadow == shadow
            assert (permit.probe is not None) == (self.state is HALF_OPEN and not shadow)
            if permit.probe is not None:
                assert permit not in self.leases
                self.leases[permit] = self.now + self.settings.probe_seconds
                # Those granted under earlier settings keep their end, but no new ones join them.
                assert len(self.leases) <= self.settings.half_open_max_calls
            if permit not in self.fresh:
                self.fresh.append(permit)

    @precondition(lambda self: self.state is not CLOSED)
    @rule(good=st.booleans())
    def send_a_probe_to_its_end(self, good):
        self.wall = max(self.wall, self.open_until)
        self.skew = 0.0
        self.ask(0.0, 1)
        if self.fresh and self.fresh[-1].probe is not None:
            if good:
                self.succeed(-1, None, 0.5)
            else:
                self.fail(-1, None, 1, 0.5)

    @precondition(lambda self: self.fresh)
    @rule(index=INDEX, seconds=SECONDS, chance=CHANCE)
    def succeed(self, index, seconds, chance):
        moment = self.told()
        if not self.fresh:
            return
        permit = self.fresh[index % len(self.fresh)]
        assert self.circuit.success(permit, moment, seconds, chance=chance)
        if permit.probe is not None:
            self.good_probe(permit)
        elif not permit.shadow and self.hand is not DISABLED:
            self.failures = 0
            self.judge(chance, failed=False, seconds=seconds)

    @precondition(lambda self: self.fresh)
    @rule(index=INDEX, seconds=SECONDS, weight=st.sampled_from([1, 1, 2]), chance=CHANCE)
    def fail(self, index, seconds, weight, chance):
        moment = self.told()
        if not self.fresh:
            return
        permit = self.fresh[index % len(self.fresh)]
        assert self.circuit.failure(permit, moment, seconds, weight, chance=chance)
        if permit.probe is not None:
            self.open(chance)
        elif not permit.shadow and self.hand is not DISABLED:
            self.failures += weight
            self.judge(chance, failed=True, seconds=seconds)

    @precondition(lambda self: self.fresh)
    @rule(index=INDEX, outcome=st.sampled_from(["ignore", "abandon"]))
    def end_without_a_verdict(self, index, outcome):
        moment = self.told()
        if not self.fresh:
            return
        permit = self.fresh[index % len(self.fresh)]
        assert getattr(self.circuit, outcome)(permit, moment)
        if permit.probe is not None:
            self.settle(permit)

    @precondition(lambda self: self.fresh)
    @rule(index=INDEX)
    def get_on(self, index):
        moment = self.told()
        if not self.fresh:
            return
        permit = self.fresh[index % len(self.fresh)]
        assert self.circuit.renew(permit, moment)
        if permit.probe is None:
            return
        if self.settings.progress_closes:
            self.good_probe(permit)
        else:
            self.leases[permit] = self.now + self.settings.probe_seconds

    @precondition(lambda self: self.stale)
    @rule(index=INDEX, outcome=OUTCOMES)
    def come_late(self, index, outcome):
        moment = self.told()
        permit = self.stale[index % len(self.stale)]
        before = self.circuit.snapshot(moment)
        assert not getattr(self.circuit, outcome)(permit, moment)
        assert self.circuit.snapshot(moment) == before

    @rule(chance=CHANCE)
    def trip(self, chance):
        self.circuit.trip(self.told(), chance)
        if self.hand not in {FORCED, DISABLED}:
            self.open(chance)

    @rule()
    def close(self):
        self.circuit.close(self.told())
        if self.hand in {FORCED, DISABLED}:
            return
        self.openings = 0
        if self.state is not CLOSED:
            self.shut()

    @rule(chance=CHANCE)
    def trip_and_wait(self, chance):
        self.trip(chance)
        self.wall += 32.0

    # One rule for all, for a hand at work half of the time would leave nothing to the rest.
    @rule(order=st.sampled_from(["force_open", "disable", "measure_only", "reset"]))
    def set_by_hand(self, order):
        getattr(self.circuit, order)(self.told())
        hand = {"force_open": FORCED, "disable": DISABLED, "measure_only": METRICS}.get(order)
        if hand is self.hand is not None:
            return
        self.hand = hand
        if hand is METRICS:
            self.new_era()
        else:
            self.begin_anew()

    def begin_anew(self):
        self.openings, self.closed_at = 0, -math.inf
        self.turn(CLOSED)

    @rule(settings=circuit_settings())
    def reconfigure(self, settings):
        self.circuit.reconfigure(settings, self.told())
        if settings.window_calls is None:
            self.calls = []
        self.settings = settings

    # What holds -------------------------------------------------------------------------

    @invariant()
    def agrees_on_everything_it_tells(self):
        if not hasattr(self, "circuit"):
            return
        moment = self.told()
        seen = self.circuit.snapshot(moment)
        assert seen.state is (self.hand or self.state) is self.circuit.state(moment)
        assert seen.would_be is self.state is self.circuit.would_be(moment)
        assert seen.era == self.era == self.circuit.era
        assert (seen.failures, seen.probes) == (self.failures, len(self.leases))
        assert (seen.calls, seen.openings) == (len(self.calls), self.openings)
        if self.calls:
            assert seen.failure_rate == sum(failed for failed, _ in self.calls) / len(self.calls)

    @invariant()
    def announces_the_wait_and_never_wedges(self):
        if not hasattr(self, "circuit"):
            return
        moment = self.told()
        wait, until = self.circuit.retry_after(moment), self.circuit.open_until
        full = len(self.leases) - self.settings.half_open_max_calls
        if self.hand is not None:
            forced = self.hand is FORCED
            assert wait == until == (math.inf if forced else 0.0)
        elif self.state is OPEN:
            assert wait == self.open_until - self.now > 0
            assert until == self.open_until
        elif self.state is HALF_OPEN and full >= 0:
            assert wait == sorted(self.leases.values())[full] - self.now > 0
            assert until == 0.0
        else:
            assert wait == until == 0.0

    @invariant()
    def is_quiet_only_where_nothing_is_missed(self):
        if not hasattr(self, "circuit"):
            return
        moment = self.told()
        self.circuit.state(moment)
        quiet = self.circuit.quiet
        if quiet is None:
            # After a ramp the next caller finds out that it is over.
            assert not self.still or self.settings.ramp_seconds
            return
        assert self.still
        assert quiet == self.era
        other = copy.deepcopy(self.circuit)
        before = other.snapshot(moment)
        assert other.admit(moment, 0.99) == Permit(quiet)
        assert other.success(Permit(quiet), moment, 1_000.0)
        assert other.snapshot(moment) == before


TestCircuitAgainstAModel = CircuitMachine.TestCase
TestCircuitAgainstAModel.settings = hypothesis_settings(
    max_examples=200, stateful_step_count=50, deadline=None
)
