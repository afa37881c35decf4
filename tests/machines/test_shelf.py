"""Results kept for a while: fresh, stale, gone."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from holdfast.machines.shelf import Shelf


def value(kept):
    return None if kept is None else kept.value


def test_a_result_is_fresh_then_stale_then_gone():
    shelf = Shelf(10, 5, 4)
    shelf.put("a", 1, 100.0)
    assert value(shelf.fresh("a", 109.9)) == 1
    assert shelf.fresh("a", 110.0) is None
    assert value(shelf.usable("a", 114.9)) == 1
    assert shelf.usable("a", 115.0) is None


def test_without_a_stale_time_what_is_not_fresh_is_of_no_use():
    shelf = Shelf(10, 0, 4)
    shelf.put("a", 1, 0.0)
    assert shelf.usable("a", 10.0) is None


def test_none_is_a_result():
    shelf = Shelf(10, 0, 4)
    shelf.put("a", None, 0.0)
    assert shelf.fresh("a", 1.0) is not None


def test_the_one_unused_for_longest_goes_first():
    shelf = Shelf(10, 0, 2)
    shelf.put("a", 1, 0.0)
    shelf.put("b", 2, 1.0)
    shelf.fresh("a", 2.0)
    gone = shelf.put("c", 3, 3.0)
    assert [kept.value for kept in gone] == [2]
    assert value(shelf.fresh("a", 4.0)) == 1


def test_the_dead_are_let_go_before_the_living():
    shelf = Shelf(10, 0, 2)
    shelf.put("a", 1, 0.0)
    shelf.put("b", 2, 8.0)
    assert [kept.key for kept in shelf.put("c", 3, 11.0)] == ["a"]
    assert value(shelf.fresh("b", 11.0)) == 2


def test_a_new_result_takes_the_place_of_the_old_one_and_begins_anew():
    shelf = Shelf(10, 0, 1)
    shelf.put("a", 1, 0.0)
    assert [kept.value for kept in shelf.put("a", 2, 9.0)] == [1]
    assert value(shelf.fresh("a", 18.0)) == 2


def test_a_clock_that_steps_back_makes_nothing_younger():
    shelf = Shelf(10, 0, 2)
    shelf.put("a", 1, 100.0)
    kept = shelf.fresh("a", 105.0)
    assert shelf.age(kept, 50.0) == 5.0
    shelf.put("b", 2, 50.0)
    assert value(shelf.fresh("b", 114.0)) == 2
    assert shelf.fresh("b", 115.0) is None


def test_everything_let_go_is_handed_back():
    shelf = Shelf(10, 0, 9)
    for number in range(3):
        shelf.put(number, number, 0.0)
    assert value(shelf.forget(1)) == 1
    assert shelf.forget(1) is None
    assert [kept.value for kept in shelf.clear()] == [0, 2]
    assert len(shelf) == 0


class ShelfModel(RuleBasedStateMachine):
    """Against a list of everything, searched from end to end."""

    FRESH, STALE, MOST = 10.0, 5.0, 3

    def __init__(self):
        super().__init__()
        self.shelf = Shelf(self.FRESH, self.STALE, self.MOST)
        self.model: list[list] = []  # [key, value, at], least used first
        self.now = 0.0
        self.count = 0

    keys = st.integers(0, 5)

    def find(self, key):
        return next((entry for entry in self.model if entry[0] == key), None)

    @rule(seconds=st.sampled_from([0.0, 1.0, 4.5, 5.0, 10.0, 15.0, -3.0]))
    def pass_time(self, seconds):
        self.clock = self.now + seconds
        self.shelf.fresh("nobody", self.clock)
        self.now = max(self.now, self.clock)

    @rule(key=keys)
    def put(self, key):
        self.count += 1
        before = len(self.shelf)
        gone = self.shelf.put(key, self.count, self.now)
        self.model = [
            entry
            for entry in self.model
            if entry[0] != key and self.now - entry[2] < self.FRESH + self.STALE
        ]
        if len(self.model) >= self.MOST:
            del self.model[0]
        self.model.append([key, self.count, self.now])
        assert before + 1 - len(gone) == len(self.shelf) == len(self.model)

    @rule(key=keys, stale=st.booleans())
    def look(self, key, stale):
        entry = self.find(key)
        limit = self.FRESH + (self.STALE if stale else 0)
        good = entry is not None and self.now - entry[2] < limit
        found = (self.shelf.usable if stale else self.shelf.fresh)(key, self.now)
        assert value(found) == (entry[1] if good else None)
        if good:
            self.model.remove(entry)
            self.model.append(entry)

    @rule(key=keys)
    def forget(self, key):
        entry = self.find(key)
        assert value(self.shelf.forget(key)) == (None if entry is None else entry[1])
        if entry is not None:
            self.model.remove(entry)

    @rule()
    def clear(self):
        assert len(self.shelf.clear()) == len(self.model)
        self.model = []

    @invariant()
    def it_is_bounded(self):
        assert len(self.shelf) <= self.MOST


TestShelfModel = ShelfModel.TestCase
TestShelfModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
