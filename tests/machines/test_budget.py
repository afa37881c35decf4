"""Extra calls are tied to first calls, against a list of both."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from holdfast.errors import BadInputError
from holdfast.machines.budget import BudgetMachine


def spent_at(budget, now, tries=1_000):
    return sum(budget.try_spend(now) for _ in range(tries))


def test_low_traffic_gets_the_floor_in_every_window():
    budget = BudgetMachine(floor=3, seconds=10.0)
    assert spent_at(budget, 0.0) == 3
    assert spent_at(budget, 9.0) == 0
    assert spent_at(budget, 10.0) == 3


def test_a_storm_gets_its_share_only():
    budget = BudgetMachine(ratio=0.2, floor=3)
    for _ in range(1_000):
        budget.deposit(0.0)
    assert spent_at(budget, 0.0) == 200


def test_a_floor_by_the_second_counts_over_the_window():
    assert spent_at(BudgetMachine(floor_per_second=2.0, floor=3, seconds=10.0), 0.0) == 20


def test_a_refusal_spends_nothing():
    budget = BudgetMachine(floor=1, ratio=1.0)
    assert spent_at(budget, 0.0) == 1
    budget.deposit(0.0)
    budget.deposit(0.0)
    assert budget.balance(0.0) == 1.0
    assert budget.try_spend(0.0)


def test_a_budget_of_nothing_allows_nothing():
    budget = BudgetMachine(ratio=0.0, floor=0)
    budget.deposit(0.0)
    assert not budget.try_spend(0.0)
    assert budget.balance(0.0) == 0.0


@pytest.mark.parametrize("field", ["ratio", "floor_per_second", "floor", "seconds"])
@pytest.mark.parametrize("value", [-1, nan, inf])
def test_settings_that_could_not_work_are_refused(field, value):
    with pytest.raises(BadInputError, match=field):
        BudgetMachine(**{field: value})


class AgainstTwoLists(RuleBasedStateMachine):
    @initialize(ratio=st.sampled_from([0.0, 0.25, 0.5, 2.0]), floor=st.integers(0, 3))
    def begin(self, ratio, floor):
        self.budget = BudgetMachine(ratio, floor=floor, seconds=10.0)
        self.ratio, self.floor = ratio, floor
        self.now = self.latest = 0.0
        self.calls, self.spent = [], []

    @rule(quarters=st.one_of(st.integers(-8, 20), st.just(10_000)))
    def time_passes_or_steps_back(self, quarters):
        self.now += quarters / 4
        self.latest = max(self.latest, self.now)
        # The machine has to be told as well, or it could not know that time had passed.
        self.budget.balance(self.now)

    @rule()
    def deposit(self):
        self.calls.append(self.latest)
        self.budget.deposit(self.now)

    def left(self):
        def recent(times):
            return sum(self.latest // 1 - at // 1 < 10 for at in times)

        return max(self.floor, self.ratio * recent(self.calls)) - recent(self.spent)

    @rule()
    def try_spend(self):
        allowed = self.left() > 0
        assert self.budget.try_spend(self.now) == allowed
        if allowed:
            self.spent.append(self.latest)

    @rule()
    def balance(self):
        assert self.budget.balance(self.now) == max(0.0, self.left())


TestAgainstTwoLists = AgainstTwoLists.TestCase
TestAgainstTwoLists.settings = settings(deadline=None, max_examples=60)
