"""Calls that are made for several callers at once, and who waits for which of them.

A call that leads one flight and asks, on its way, for what another flight is to bring, waits for
that one; if that one, in its turn, waits for the first, both would wait for ever, and so would
longer rings of them. So each wait is entered here first, and one that would close a ring is
refused: its caller makes the call itself.

- The rings are looked for over all caches, threads and event loops, under one lock that is held
  for nothing else. A caller who leads nothing, which is nearly every one, does not take it.
- Who has led what is read off the scopes that the caller's own scope is inside.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict

from holdfast.policies.scope import Scope
from holdfast.policies.ticket import Ticket

_rings = threading.Lock()


class Flight:
    """One call that is being made, and who waits for its result."""

    __slots__ = ("leader", "line", "waits_for")

    def __init__(self, leader: Scope) -> None:
        self.leader = leader
        """The scope of the call that is made for all."""
        self.line: OrderedDict[Ticket, Scope] = OrderedDict()
        """The followers, first come first."""
        self.waits_for: Counter[Flight] = Counter()
        """The flights that what happens in this one waits for now, and how often."""
        leader.leads = (*leader.leads, self)

    def pass_on(self, leader: Scope) -> None:
        """Have another caller make the call."""
        self.end()
        self.leader = leader
        leader.leads = (*leader.leads, self)

    def end(self) -> None:
        """Its leader leads it no more."""
        self.leader.leads = tuple(one for one in self.leader.leads if one is not self)


def may_wait(scope: Scope, flight: Flight) -> tuple[Flight, ...] | None:
    """Enter that the caller in ``scope`` waits for ``flight``; None if that would close a ring.

    Returns:
        The flights that wait with it, for `waited`.
    """
    leading = _led_around(scope)
    if leading:
        with _rings:
            if _reaches(flight, leading):
                return None
            for one in leading:
                one.waits_for[flight] += 1
    return leading


def waited(leading: tuple[Flight, ...], flight: Flight) -> None:
    """The wait is over."""
    if leading:
        with _rings:
            for one in leading:
                one.waits_for[flight] -= 1
                if one.waits_for[flight] <= 0:
                    del one.waits_for[flight]


def _led_around(scope: Scope) -> tuple[Flight, ...]:
    """The flights that would wait if a caller in ``scope`` did."""
    leading: tuple[Flight, ...] = ()
    around: Scope | None = scope
    while around is not None:
        if around.leads:
            leading += around.leads
        around = around.parent
    return leading


def _reaches(flight: Flight, sought: tuple[Flight, ...]) -> bool:
    """Whether ``flight``, or anything it waits for, is among those sought."""
    seen, rest = set[Flight](), [flight]
    while rest:
        one = rest.pop()
        if one in sought:
            return True
        if one not in seen:
            seen.add(one)
            rest.extend(one.waits_for)
    return False
