"""A budget of extra calls, shared by all who ask the same dependency."""

from __future__ import annotations

import math
import threading

import pytest

from holdfast.errors import BadInputError
from holdfast.policies.budget import RetryBudget
from holdfast.testing import FakeClock


@pytest.fixture(autouse=True)
def clock():
    with FakeClock() as clock:
        yield clock


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"ratio": -0.1}, "ratio must be at least 0 and at most 10, got -0.1"),
        ({"ratio": 11}, "ratio must be at least 0 and at most 10, got 11"),
        ({"ratio": math.nan}, "ratio must be .*, got nan"),
        ({"ratio": True}, "ratio must be .*, got True"),
        ({"floor": -1}, "floor must be a whole number of at least 0, got -1"),
        ({"floor": 1.5}, "floor must be a whole number of at least 0, got 1.5"),
        ({"seconds": 0}, "seconds must be above 0 seconds, got 0"),
        ({"seconds": math.inf}, "seconds must be above 0 and finite seconds, got inf"),
        ({"name": " "}, "name must be a text of 1 to 200 characters, got ' '"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(chosen, words):
    with pytest.raises(BadInputError, match=words):
        RetryBudget(**chosen)


def test_the_defaults_are_a_fifth_and_three_in_ten_seconds():
    told = RetryBudget().snapshot()
    assert told == {"name": "budget", "ratio": 0.2, "floor": 3, "seconds": 10.0, "balance": 3}


def test_the_floor_is_always_there_and_no_more():
    budget = RetryBudget(0.0, floor=2)
    assert [budget.try_spend() for _ in range(4)] == [True, True, False, False]


def test_first_calls_earn_their_share():
    budget = RetryBudget(0.5, floor=0)
    assert not budget.try_spend()
    for _ in range(6):
        budget.deposit()
    assert [budget.try_spend() for _ in range(4)] == [True, True, True, False]


def test_what_was_spent_comes_back_when_the_window_has_passed(clock):
    budget = RetryBudget(0.0, floor=1, seconds=10.0)
    assert budget.try_spend()
    clock.advance(5.0)
    assert not budget.try_spend()
    clock.advance(6.0)
    assert budget.try_spend()


def test_threads_cannot_spend_more_than_there_is():
    budget, spent = RetryBudget(0.0, floor=50), []

    def spend() -> None:
        spent.extend(budget.try_spend() for _ in range(50))

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10.0)
    assert sum(spent) == 50


def test_it_shows_itself():
    assert repr(RetryBudget(0.5, floor=1)) == "RetryBudget(ratio=0.5, floor=1, seconds=10.0)"
