"""The rules of one run for all, against a simple model of who leads and who waits."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.policies.ticket import Ticket
from holdfast.system.recovery.context import next_number
from holdfast.system.recovery.flight import Flights, Landed, Lead, Refused

COOLDOWN, LEASE = 10.0, 20.0


class Stray:
    alive = True


class FlightModel(RuleBasedStateMachine):
    """One key. Whatever happens, in whatever order: one leader at most, and nobody is forgotten."""

    def __init__(self):
        super().__init__()
        self.flights = Flights(3)
        self.now = 100.0
        self.lead = None
        self.since = 0.0
        self.former = []
        self.waiting = []
        self.landed = None
        self.stray = None

    def board(self, began=None):
        return self.flights.board(
            "key",
            self.now,
            cooldown=COOLDOWN,
            lease=LEASE,
            began=self.now if began is None else began,
            number=next_number(),
        )

    @rule(ago=st.sampled_from([0.0, 3.0, 30.0]))
    def come(self, ago):
        berth = self.board(self.now - ago)
        if self.lead is not None and self.now < self.lead.lease:
            assert isinstance(berth, Ticket)
            self.waiting.append(berth)
        elif self.lead is not None:
            assert isinstance(berth, Lead)
            self.former.append(self.lead)
            self.lead = berth
        elif self.stray is not None and self.stray.alive:
            assert isinstance(berth, Refused)
            assert berth.busy
        elif self.landed is not None and self.now - self.landed.at < COOLDOWN:
            if self.landed.success and self.now - ago < self.landed.at:
                assert berth is self.landed
            else:
                assert isinstance(berth, Refused)
                assert not berth.busy
        else:
            assert isinstance(berth, Lead)
            self.lead = berth

    @precondition(lambda self: self.lead is not None)
    @rule(success=st.booleans(), stray=st.booleans())
    def end(self, success, stray):
        landed = Landed(success, self.now, "it ended")
        self.stray = Stray() if stray and not success else None
        assert self.flights.land(self.lead, landed, self.stray) is True
        for ticket in self.waiting:
            assert ticket.granted
            assert ticket.value is landed
        self.former.append(self.lead)
        self.lead, self.landed, self.waiting = None, landed, []

    @precondition(lambda self: self.lead is not None)
    @rule()
    def hand_over(self):
        given = self.flights.hand_over(self.lead, self.now)
        self.former.append(self.lead)
        assert given is bool(self.waiting)
        self.lead = None
        if self.waiting:
            first = self.waiting.pop(0)
            assert isinstance(first.value, Lead)
            self.lead = first.value

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 10))
    def leave(self, which):
        ticket = self.waiting.pop(which % len(self.waiting))
        assert self.flights.leave("key", ticket) is False
        assert not ticket.granted

    @precondition(lambda self: self.former)
    @rule(which=st.integers(0, 10))
    def a_former_leader_changes_nothing(self, which):
        former = self.former[which % len(self.former)]
        assert self.flights.land(former, Landed(success=True, at=self.now, detail="late")) is False
        self.flights.hand_over(former, self.now)

    @precondition(lambda self: self.stray is not None)
    @rule()
    def the_stray_ends(self):
        self.stray.alive = False

    @rule(seconds=st.sampled_from([1.0, 9.0, 25.0]))
    def wait(self, seconds):
        self.now += seconds

    @rule(other=st.integers(0, 8))
    def others_come_and_go(self, other):
        lead = self.flights.board(
            other, self.now, cooldown=0, lease=LEASE, began=self.now, number=next_number()
        )
        self.flights.land(lead, Landed(success=True, at=self.now, detail=""))
        if self.lead is None and not self.waiting and not (self.stray and self.stray.alive):
            # It may have been let go of, to stay within the limit; its pause with it.
            self.landed = self.flights._places["key"].last if self.known() else None

    def known(self):
        return "key" in self.flights._places

    @invariant()
    def the_figures_are_right(self):
        counts = self.flights.counts()
        assert counts["running"] == (self.lead is not None)
        assert counts["waiting"] == len(self.waiting)
        assert counts["keys"] <= 4
        assert not any(ticket.granted for ticket in self.waiting)


FlightModel.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestFlights = FlightModel.TestCase


def test_a_follower_that_cannot_be_woken_does_not_get_the_lead():
    flights = Flights(5)

    def board():
        return flights.board("key", 0.0, cooldown=0, lease=LEASE, began=0.0, number=next_number())

    lead, gone, there = board(), board(), board()
    gone.attach(lambda: False)
    there.attach(lambda: True)
    assert flights.hand_over(lead, 1.0) is True
    assert isinstance(there.value, Lead)
    assert flights.counts()["running"] == 1
    assert flights.land(there.value, Landed(success=True, at=2.0, detail="")) is True


def test_a_stray_that_ends_frees_its_key():
    flights, stray = Flights(5), Stray()
    flights.rest("key", 0.0, "late", stray)
    assert flights.resting("key", 50.0, 1.0).busy
    stray.alive = False
    assert flights.resting("key", 50.0, 1.0) is None
    assert flights.resting("other", 50.0, 1.0) is None
