"""The gates in their order, and the module that asks for each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gate:
    """One promise."""

    key: str
    """How it is called on the command line and numbered in the table."""
    title: str
    """The promise in a few words."""
    module: str
    """The module in this package that holds its probe."""


GATES = (
    Gate("1", "One probe when half open", "half_open"),
    Gate("2", "No lock over the call", "lock_over_call"),
    Gate("3", "Stale outcomes ignored", "stale"),
    Gate("4", "Cancelled probe harmless", "cancelled_probe"),
    Gate("5", "Cancellation passes through", "cancellation"),
    Gate("5b", "Timeout or caller's cancel", "same_tick"),
    Gate("7", "Two runs, two live loops", "loops"),
    Gate("8", "Context reaches threads", "context"),
    Gate("9", "Memory of failed calls freed", "memory"),
    Gate("10", "History on the last error", "history"),
    Gate("11", "Generators never bare", "generators"),
    Gate("12", "All shapes of callables", "callables"),
    Gate("13", "Exception groups", "groups"),
    Gate("14", "Wall clock and time zone", "clocks"),
    Gate("15", "Nested retries fold", "nested"),
    Gate("17", "Deadline interrupts", "deadline"),
    Gate("18", "Long jobs, own defaults", "long_jobs"),
)


def gate(key: str) -> Gate:
    """The gate of that key."""
    for each in GATES:
        if each.key == key:
            return each
    raise ValueError(f"there is no gate {key!r}; there are {', '.join(g.key for g in GATES)}")
