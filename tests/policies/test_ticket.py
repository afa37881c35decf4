"""A place in a line, granted from anywhere."""

from __future__ import annotations

import threading

from holdfast.policies.ticket import Ticket


def test_a_ticket_granted_first_wakes_whoever_attaches_later():
    ticket, woken = Ticket(), []
    assert ticket.grant("slot")
    ticket.attach(lambda: bool(woken.append(1)))
    assert (ticket.granted, ticket.value, woken) == (True, "slot", [1])


def test_a_ticket_attached_first_wakes_its_waiter_when_granted():
    ticket, woken = Ticket(), []

    def wake() -> bool:
        woken.append(ticket.granted)
        return True

    ticket.attach(wake)
    assert woken == []
    assert ticket.grant()
    assert woken == [True]


def test_whoever_grants_learns_that_the_waiter_is_gone_for_good():
    ticket = Ticket()
    ticket.attach(lambda: False)
    assert not ticket.grant()


def test_no_waiter_is_forgotten_when_both_sides_act_at_once():
    for _ in range(300):
        ticket, woken, start = Ticket(), threading.Event(), threading.Barrier(2)

        def wake(woken: threading.Event = woken) -> bool:
            woken.set()
            return True

        def grant(ticket: Ticket = ticket, start: threading.Barrier = start) -> None:
            start.wait()
            ticket.grant()

        thread = threading.Thread(target=grant)
        thread.start()
        start.wait()
        ticket.attach(wake)
        thread.join(10.0)
        assert woken.is_set()
