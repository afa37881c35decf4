"""One level at a time, down under pressure and up in quiet; and the same by a plain account."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from holdfast.errors import BadInputError
from holdfast.machines.levels import LevelMachine, LevelRules, Move

RULES = LevelRules(
    worst=4,
    step_seconds=10.0,
    cooldown=60.0,
    quiet_seconds=100.0,
    quiet_maximum=350.0,
    reading_seconds=30.0,
)


def machine(**changes):
    told = {field.name: getattr(RULES, field.name) for field in fields(RULES)}
    return LevelMachine(LevelRules(**(told | changes)))


def test_it_starts_at_the_full_service_and_stays_there():
    levels = machine()
    assert levels.level == 0
    assert levels.look(1e9) == []
    assert levels.due() == math.inf


def test_a_reading_takes_one_level_however_much_it_calls_for():
    levels = machine()
    assert levels.read(0.0, "rate", wanted=4, held=4) == [Move(0.0, 0, 1)]
    assert levels.read(9.9, "rate", wanted=4, held=4) == []
    assert levels.read(10.0, "rate", wanted=4, held=4) == [Move(10.0, 1, 2)]


def test_a_reading_takes_no_more_than_it_calls_for():
    levels = machine()
    levels.read(0.0, "rate", wanted=1, held=1)
    assert levels.read(50.0, "rate", wanted=1, held=1) == []


def test_two_sources_share_the_step():
    levels = machine()
    levels.read(0.0, "rate", wanted=4, held=4)
    assert levels.read(1.0, "memory", wanted=4, held=4) == []
    assert levels.level == 1


def test_a_level_comes_back_after_the_quiet_period_at_the_moment_it_was_due():
    levels = machine()
    levels.set(0.0, 2)
    assert levels.look(99.9) == []
    assert levels.look(150.0) == [Move(100.0, 2, 1, 100.0)]
    assert levels.look(1_000.0) == [Move(200.0, 1, 0, 100.0)]


def test_quiet_begins_when_the_last_reading_that_holds_the_level_is_over():
    levels = machine()
    levels.read(0.0, "rate", wanted=1, held=1)
    levels.read(20.0, "rate", wanted=0, held=1)
    assert levels.due() == 150.0  # believed for 30 s, then 100 s of quiet
    levels.read(40.0, "rate", wanted=0, held=0)
    assert levels.due() == 140.0


def test_a_reading_that_holds_a_lesser_level_lets_go_of_a_worse_one():
    levels = machine(reading_seconds=1_000.0)
    levels.set(0.0, 3)
    levels.read(1.0, "rate", wanted=0, held=2)
    assert levels.look(500.0) == [Move(100.0, 3, 2, 100.0)]


def test_what_one_source_clears_another_still_holds():
    levels = machine(reading_seconds=1_000.0)
    levels.read(0.0, "rate", wanted=1, held=1)
    levels.read(0.0, "memory", wanted=1, held=1)
    levels.read(10.0, "rate", wanted=0, held=0)
    assert levels.due() == 1_100.0


def test_a_strike_takes_a_level_once_per_cooldown_and_ends_the_quiet():
    levels = machine()
    assert levels.strike(0.0) == [Move(0.0, 0, 1)]
    assert levels.strike(50.0) == []
    assert levels.due() == 150.0
    assert levels.strike(60.0) == [Move(60.0, 1, 2)]


def test_a_strike_that_came_within_a_step_leaves_the_next_one_free():
    levels = machine()
    levels.set(0.0, 1)
    assert levels.strike(5.0) == []
    assert levels.strike(10.0) == [Move(10.0, 1, 2)]


def test_a_restore_that_was_early_doubles_the_quiet_up_to_a_limit():
    levels = machine()
    now, waited = 0.0, []
    levels.read(now, "rate", wanted=1, held=0)
    for _ in range(4):
        now = levels.due()
        (move,) = levels.look(now)
        waited.append(move.quiet)
        now += 10.0
        levels.read(now, "rate", wanted=1, held=0)
    assert waited == [100.0, 200.0, 350.0, 350.0]


def test_falling_far_after_one_restore_doubles_once():
    levels = machine()
    levels.set(0.0, 1)
    levels.look(100.0)
    for step in range(1, 5):
        levels.read(100.0 + 10 * step, "rate", wanted=4, held=0)
    assert levels.level == 4
    assert levels.quiet == 200.0


def test_a_restore_that_lasted_sets_the_quiet_back():
    levels = machine()
    levels.set(0.0, 1)
    levels.look(100.0)
    levels.read(110.0, "rate", wanted=1, held=0)
    assert levels.quiet == 200.0
    levels.look(310.0)
    levels.read(510.0, "rate", wanted=1, held=0)
    assert levels.quiet == 100.0


def test_pinned_it_moves_by_hand_alone_and_quiet_counts_anew_after():
    levels = machine()
    levels.set(0.0, 2)
    levels.pin(1.0)
    assert levels.strike(100.0) == levels.read(100.0, "rate", 4, 4) == levels.look(1e6) == []
    assert levels.set(2e6, 3) == [Move(2e6, 2, 3)]
    levels.unpin(3e6)
    assert levels.due() == 3e6 + 100.0


def test_what_was_due_before_pinning_takes_place():
    levels = machine()
    levels.set(0.0, 1)
    assert levels.pin(500.0) == [Move(100.0, 1, 0, 100.0)]


def test_by_hand_it_goes_as_far_as_there_is():
    levels = machine()
    assert levels.set(0.0, 99) == [Move(0.0, 0, 4)]
    assert levels.set(0.0, -1) == [Move(0.0, 4, 0)]
    assert levels.set(0.0, 0) == []


def test_reset_makes_it_as_new():
    levels = machine()
    levels.read(0.0, "rate", 4, 4)
    levels.pin(1.0)
    assert levels.reset(2.0) == [Move(2.0, 1, 0)]
    assert not levels.pinned
    assert levels.reset(3.0) == []
    assert levels.strike(3.0) == [Move(3.0, 0, 1)]


def test_a_clock_that_steps_back_counts_as_no_time():
    levels = machine()
    levels.set(1_000.0, 1)
    levels.read(5.0, "rate", wanted=2, held=2)
    assert levels.level == 1
    assert levels.due() == 1_130.0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"worst": 0}, "worst must be a whole number of at least 1, got 0"),
        ({"worst": True}, "worst must be"),
        ({"step_seconds": -1}, "step_seconds must be at least 0 seconds and finite, got -1"),
        ({"step_seconds": "1"}, "step_seconds must be"),
        ({"cooldown": math.nan}, "cooldown must be at least 0"),
        ({"quiet_seconds": 0}, "quiet_seconds must be above 0"),
        ({"quiet_maximum": math.inf}, "quiet_maximum must be above 0 seconds and finite"),
        ({"reading_seconds": 0.0}, "reading_seconds must be above 0"),
        ({"quiet_seconds": 9.0}, "quiet_seconds must be at least step_seconds, which is 10"),
        ({"quiet_maximum": 99.0}, "quiet_maximum must be at least quiet_seconds, which is 100"),
    ],
)
def test_rules_that_cannot_work_are_refused(changes, told):
    with pytest.raises(BadInputError, match=told):
        machine(**changes)


class PlainAccount(RuleBasedStateMachine):
    """The same rules, told second by second; and a twin that is hardly ever looked at."""

    @initialize(
        step=st.sampled_from([0, 3, 7]),
        cooldown=st.sampled_from([0, 5, 20]),
        quiet=st.sampled_from([7, 12]),
        growth=st.sampled_from([1, 3, 5]),
        reading=st.sampled_from([1, 4, 15]),
    )
    def begin(self, step, cooldown, quiet, growth, reading):
        self.rules = LevelRules(4, step, cooldown, quiet, quiet * growth, reading)
        self.levels, self.twin = LevelMachine(self.rules), LevelMachine(self.rules)
        self.moves: list[Move] = []
        self.twin_moves: list[Move] = []
        self.now = 100
        self.fresh()

    def fresh(self):
        self.level, self.quiet, self.pinned = 0, self.rules.quiet_seconds, False
        self.calm = 0  # seconds of quiet so far
        self.held: dict[str, tuple[int, int]] = {}  # source: level, until
        self.changed = self.struck = self.restored = None
        self.expected = getattr(self, "expected", [])
        self.by_hand = getattr(self, "by_hand", set())
        self.forgotten = getattr(self, "forgotten", set())

    def change(self, level, *, quiet=None):
        self.expected.append(Move(self.now, self.level, level, quiet))
        self.level, self.changed, self.calm = level, self.now, 0

    def worsen(self):
        rested = self.changed is None or self.now - self.changed >= self.rules.step_seconds
        if self.pinned or self.level == 4 or not rested:
            return False
        if self.restored is not None:
            if self.now - self.restored < self.quiet:
                self.quiet = min(2 * self.quiet, self.rules.quiet_maximum)
            else:
                self.quiet = self.rules.quiet_seconds
            self.restored = None
        self.change(self.level + 1)
        return True

    def tell(self, method, *arguments):
        self.moves += getattr(self.levels, method)(self.now, *arguments) or []
        self.twin_moves += getattr(self.twin, method)(self.now, *arguments) or []

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds):
        for _ in range(seconds):
            blocked = any(
                held >= self.level and until > self.now for held, until in self.held.values()
            )
            self.now += 1
            self.calm = 0 if blocked else self.calm + 1
            if self.level and not self.pinned and self.calm >= self.quiet:
                self.change(self.level - 1, quiet=self.quiet)
                self.restored = self.now

    @rule()
    def look(self):
        self.moves += self.levels.look(self.now)

    @rule(seconds=st.integers(1, 500))
    def look_with_a_clock_that_stepped_back(self, seconds):
        self.moves += self.levels.look(self.now - seconds)

    @rule(source=st.sampled_from("ab"), wanted=st.integers(0, 4), more=st.integers(0, 2))
    def read(self, source, wanted, more):
        held = min(4, wanted + more)
        earlier, until = self.held.pop(source, (0, 0))
        if earlier >= self.level and until > self.now:
            self.calm = 0
        if held:
            self.held[source] = (held, self.now + int(self.rules.reading_seconds))
            if held >= self.level:
                self.calm = 0
        if wanted > self.level:
            self.worsen()
        self.tell("read", source, wanted, held)

    @rule()
    def strike(self):
        self.calm = 0
        ready = self.struck is None or self.now - self.struck >= self.rules.cooldown
        if ready and self.worsen():
            self.struck = self.now
        self.tell("strike")

    @rule(level=st.integers(-1, 5))
    def by_hand_to(self, level):
        self.calm = 0
        level = min(max(level, 0), 4)
        if level != self.level:
            if level < self.level:
                self.restored = self.now
            self.by_hand.add(len(self.expected))
            self.change(level)
        self.tell("set", level)

    @rule()
    def pin(self):
        self.pinned = True
        self.tell("pin")

    @rule()
    def unpin(self):
        if self.pinned:
            self.pinned, self.calm = False, 0
        self.tell("look")
        self.tell("unpin")

    @rule()
    def reset(self):
        self.tell("look")
        if self.level:
            self.by_hand.add(len(self.expected))
            self.expected.append(Move(self.now, self.level, 0))
        self.fresh()
        # It knows nothing any more of what was before, be there a move of the reset or not.
        self.forgotten.add(len(self.expected))
        self.tell("reset")

    @invariant()
    def it_does_what_the_plain_account_says(self):
        if not hasattr(self, "levels"):
            return
        self.moves += self.levels.look(self.now)
        assert self.moves == self.expected
        assert (self.levels.level, self.levels.quiet) == (self.level, self.quiet)
        assert self.levels.pinned == self.pinned

    @invariant()
    def it_keeps_its_laws(self):
        if not hasattr(self, "levels"):
            return
        assert 0 <= self.levels.level <= 4
        assert self.rules.quiet_seconds <= self.levels.quiet <= self.rules.quiet_maximum
        for at, move in enumerate(self.moves):
            if at in self.by_hand:
                continue
            assert abs(move.new - move.old) == 1
            assert (move.new < move.old) == (move.quiet is not None)
            if at in self.forgotten:
                continue
            if at and at - 1 not in self.by_hand:
                assert move.at - self.moves[at - 1].at >= self.rules.step_seconds
            if move.quiet is not None and at:
                assert move.at - self.moves[at - 1].at >= self.rules.quiet_seconds

    def teardown(self):
        if hasattr(self, "twin"):
            self.twin_moves += self.twin.look(self.now)
            assert self.twin_moves == self.expected
            assert self.twin.due() == self.levels.due()


PlainAccount.TestCase.settings = hypothesis_settings(
    deadline=None, max_examples=150, stateful_step_count=40
)
TestPlainAccount = PlainAccount.TestCase
