"""What waits: bounded, least severe first to go, and every error counted once."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.errors import ErrorSeverity
from holdfast.stores import counting
from holdfast.stores.backlog import Backlog
from holdfast.stores.counting import OTHER, Counts
from holdfast.stores.rows import Ids, Memo, of_error
from tests.stores.samples import error

IDS, MEMO = Ids(), Memo()
SEVERITIES = list(ErrorSeverity)


def row(severity=ErrorSeverity.LOW, group="f", seconds=0.0, **fields):
    return of_error(error(severity=severity, seconds=seconds, **fields), group, "", IDS, MEMO)


class Waiting(RuleBasedStateMachine):
    """Against a list that is searched."""

    LIMIT = 6

    def __init__(self):
        super().__init__()
        self.backlog = Backlog(self.LIMIT, lambda _: None)
        self.model, self.notes, self.batch = [], [], None
        self.added = self.written = self.lost = 0
        self.counted = Counts()

    @rule(severity=st.sampled_from(SEVERITIES))
    def add(self, severity):
        event = row(severity)
        self.backlog.add(event)
        self.model.append(event)
        self.added += 1
        if len(self.model) + (len(self.batch.events) if self.batch else 0) > self.LIMIT:
            least = min(self.model, key=lambda e: SEVERITIES.index(e["severity"]))
            self.model.remove(least)
            self.lost += 1

    @rule()
    def note(self):
        self.notes = [*self.notes, len(self.notes)][-self.LIMIT :]
        self.backlog.note("change", {"n": self.notes[-1]})

    @precondition(lambda self: self.batch is None)
    @rule(most=st.integers(1, 8))
    def take(self, most):
        self.batch = self.backlog.take(most)
        ranked = sorted(self.model, key=lambda e: -SEVERITIES.index(e["severity"]))
        assert self.batch.events == ranked[:most]
        self.model = [event for event in self.model if event not in self.batch.events]
        if self.model:
            assert self.batch.notes == []
            assert self.batch.settles == 0
        else:
            assert len(self.batch.notes) == len(self.notes)
            assert self.batch.settles == self.backlog.accepted
            self.notes = []

    @precondition(lambda self: self.batch is not None)
    @rule(refused=st.booleans())
    def end(self, refused):
        if refused:
            self.backlog.give_up(self.batch)
            self.lost += len(self.batch.events)
        else:
            self.counted.merge(self.batch.counts)
            for event in self.batch.events:
                self.counted.add(event)
            self.written += len(self.batch.events)
            self.backlog.release()
        self.batch = None

    @invariant()
    def it_is_bounded_and_nothing_is_unaccounted_for(self):
        in_hand = len(self.batch.events) if self.batch else 0
        assert len(self.model) + in_hand <= self.LIMIT
        assert len(self.backlog) == len(self.model) + in_hand + len(self.notes)
        assert self.added == self.written + self.lost + len(self.model) + in_hand

    def teardown(self):
        if self.batch is not None:
            self.end(refused=False)
        while self.backlog.owes:
            self.batch = self.backlog.take(3)
            self.model = [event for event in self.model if event not in self.batch.events]
            self.notes = self.notes if self.model else []
            self.end(refused=False)
        assert sum(self.counted.minutes.values()) == self.added


TestWaiting = Waiting.TestCase


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 20_000))))
def test_counts_add_up_in_minutes_and_hours(errors):
    counts = Counts()
    for group, seconds in errors:
        counts.add(row(group=group, seconds=seconds))
    rollups = counts.rollups()
    for width in (60, 3_600, 86_400):
        assert sum(r["count"] for r in rollups if r["width"] == width) == len(errors)
        assert all(r["start"] % width == 0 for r in rollups if r["width"] == width)
    groups = {g["fingerprint"]: g["count"] for g in counts.group_rows()}
    assert groups == Counter(group for group, _ in errors)


def test_a_million_names_cannot_exhaust_memory(monkeypatch):
    monkeypatch.setattr(counting, "MOST", 10)
    counts, more = Counts(), Counts()
    for number in range(50):
        for each in (counts, more):
            event = row(group=f"g{number}", dependency=f"d{number}", seconds=number * 60)
            each.add(event | {"strategy": f"s{number}", "recovery_attempted": True})
    counts.merge(more)
    assert len(counts.minutes) <= 10 + 2
    assert len(counts.groups) <= 11
    assert len(counts.recoveries) <= 11 + 1
    assert sum(counts.minutes.values()) == sum(g["count"] for g in counts.group_rows()) == 100
    assert sum(attempted for attempted, _ in counts.recoveries.values()) == 100
    assert any(g["fingerprint"] == OTHER for g in counts.group_rows())
