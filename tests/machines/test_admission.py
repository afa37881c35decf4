"""Who waits, who is turned away: against a plain list."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from holdfast.errors import BadInputError
from holdfast.machines.admission import AdmissionQueue, Refusal


def filled(capacity, *priorities):
    queue = AdmissionQueue(capacity)
    for n, priority in enumerate(priorities):
        assert queue.offer(f"{priority}-{n}", priority, float(n)) == []
    return queue


def test_the_important_go_first_and_equals_in_order_of_arrival():
    queue = filled(9, 2, 1, 2, 1)
    assert [queue.take(9.0)[0] for _ in range(5)] == ["1-1", "1-3", "2-0", "2-2", None]


def test_a_better_arrival_evicts_the_last_of_the_worst():
    queue = filled(3, 2, 2, 1)
    assert queue.offer("new", 0, 5.0) == ["2-1"]
    assert len(queue) == 3


def test_an_equal_evicts_nobody():
    queue = filled(2, 1, 1)
    assert queue.offer("new", 1, 5.0) is Refusal.FULL
    assert len(queue) == 2


def test_a_queue_made_smaller_shrinks_by_itself():
    queue = filled(4, 3, 2, 1, 0)
    queue.capacity = 2
    assert queue.offer("new", 0, 5.0) == ["3-0", "2-1", "1-2"]
    assert len(queue) == 2


def test_without_room_for_anybody_everybody_is_refused():
    assert AdmissionQueue(0).offer("a", 0, 0.0) is Refusal.FULL


def test_whoever_cannot_be_served_in_time_is_dropped_on_the_way():
    queue = AdmissionQueue(9)
    queue.offer("late", 0, 0.0, deadline=4.9)
    queue.offer("just", 0, 0.0, deadline=5.0)
    assert queue.take(3.0, service_seconds=2.0) == ("just", ["late"])
    assert queue.offer("over", 0, 6.0, deadline=6.0) is Refusal.LATE


def test_a_removed_ticket_is_gone_and_removing_it_again_says_so():
    queue = filled(3, 1, 1)
    assert queue.remove("1-0")
    assert not queue.remove("1-0")
    assert queue.take(5.0) == ("1-1", [])
    assert not queue.remove("1-1")


def test_the_same_ticket_does_not_wait_twice():
    queue = filled(3, 1)
    with pytest.raises(BadInputError, match="twice"):
        queue.offer("1-0", 0, 0.0)


def test_the_expected_wait_counts_what_is_ahead_and_what_is_served():
    queue = filled(9, 0, 1, 1, 2)
    assert queue.expected_wait(0, in_service=0, limit=4, service_seconds=8.0) == 0.0
    assert queue.expected_wait(1, in_service=4, limit=4, service_seconds=8.0) == 8.0
    assert queue.expected_wait(2, in_service=4, limit=4, service_seconds=8.0) == 10.0


def test_a_million_priorities_leave_nothing_behind():
    queue = AdmissionQueue(4)
    for n in range(2_000):
        queue.offer(n, -n, 0.0)
        queue.remove(n - 1)
    assert len(queue._levels) == len(queue._order) == len(queue) == 1


class AgainstAPlainList(RuleBasedStateMachine):
    @initialize(capacity=st.integers(0, 6))
    def begin(self, capacity):
        self.queue = AdmissionQueue(capacity)
        self.waiting = []  # (priority, number, arrived, deadline)
        self.next, self.now, self.latest = 0, 0.0, 0.0

    @rule(step=st.integers(-4, 8))
    def time_passes_or_steps_back(self, step):
        self.now += step
        self.latest = max(self.latest, self.now)
        self.queue.oldest_wait(self.now)

    @rule(capacity=st.integers(0, 6))
    def the_capacity_changes(self, capacity):
        self.queue.capacity = capacity

    @rule(priority=st.integers(-1, 3), room=st.one_of(st.none(), st.integers(0, 12)))
    def offer(self, priority, room):
        deadline = None if room is None else self.latest + room
        ticket = self.next
        self.next += 1
        told = self.queue.offer(ticket, priority, self.now, deadline)
        if room == 0:
            assert told is Refusal.LATE
            return
        surplus = max(0, len(self.waiting) + 1 - self.queue.capacity)
        worse = sorted((e for e in self.waiting if e[0] > priority), reverse=True)[:surplus]
        if surplus and not worse:
            assert told is Refusal.FULL
            return
        assert told == [entry[1] for entry in worse]
        self.waiting = [entry for entry in self.waiting if entry not in worse]
        self.waiting.append((priority, ticket, self.latest, deadline))

    @rule(service=st.integers(0, 6))
    def take(self, service):
        dropped, taken = [], None
        for entry in sorted(self.waiting, key=lambda e: e[:2]):
            self.waiting.remove(entry)
            if entry[3] is None or self.latest + service <= entry[3]:
                taken = entry[1]
                break
            dropped.append(entry[1])
        assert self.queue.take(self.now, service) == (taken, dropped)

    @rule(back=st.integers(0, 8))
    def remove(self, back):
        ticket = self.next - back
        there = [entry for entry in self.waiting if entry[1] == ticket]
        assert self.queue.remove(ticket) == bool(there)
        self.waiting = [entry for entry in self.waiting if entry[1] != ticket]

    @rule(priority=st.integers(-1, 3), in_service=st.integers(0, 4), limit=st.integers(1, 3))
    def expected_wait(self, priority, in_service, limit):
        ahead = in_service + sum(entry[0] <= priority for entry in self.waiting)
        told = self.queue.expected_wait(priority, in_service, limit, 6.0)
        assert told == max(0, ahead - limit + 1) * 6.0 / limit

    @invariant()
    def both_hold_the_same(self):
        if not hasattr(self, "waiting"):
            return
        assert len(self.queue) == len(self.waiting)
        assert all(entry[1] in self.queue for entry in self.waiting)
        oldest = max((self.latest - entry[2] for entry in self.waiting), default=0.0)
        assert self.queue.oldest_wait(self.now) == oldest


TestAgainstAPlainList = AgainstAPlainList.TestCase
TestAgainstAPlainList.settings = settings(deadline=None, max_examples=60)


def test_the_expected_wait_ends_sooner_when_the_first_is_nearly_done():
    queue = filled(9, 1)
    assert queue.expected_wait(0, 1, 1, 75.0, served_seconds=70.0) == 5.0
    assert queue.expected_wait(1, 1, 1, 75.0, served_seconds=70.0) == 80.0
    assert queue.expected_wait(1, 1, 1, 75.0, served_seconds=900.0) == 75.0


def test_a_queue_of_less_than_nothing_is_refused():
    with pytest.raises(BadInputError, match="capacity"):
        AdmissionQueue(-1)
