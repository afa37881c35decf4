"""How the system is, as plain data, fast enough to be asked at every scrape.

A breaker that is closed and has no failure on record is told from one attribute, without its lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.machines.permits import CircuitState
from holdfast.policies.breaker import CircuitBreaker

_WELL = (CircuitState.CLOSED, CircuitState.DISABLED, CircuitState.METRICS_ONLY)
_QUIET: Mapping[str, Any] = {
    "state": "closed",
    "failure_count": 0,
    "success_count": 0,
    "retry_after": 0.0,
}


def breaker_health(breaker: CircuitBreaker) -> dict[str, Any]:
    """One breaker: name, state, failures in a row, good probes, seconds until the next probe."""
    if breaker.circuit.quiet is not None:
        return {"name": breaker.name, **_QUIET}
    told = breaker.snapshot()
    return {
        "name": breaker.name,
        "state": str(told["state"]),
        "failure_count": told["failures"],
        "success_count": breaker.circuit.good_probes,
        "retry_after": told["retry_after"],
    }


def verdict(breakers: Iterable[Mapping[str, Any]], level: str) -> str:
    """``healthy``, ``degraded``, or ``unhealthy`` when every breaker there is refuses calls."""
    states = [one["state"] for one in breakers]
    refusing = [state for state in states if state not in _WELL]
    if refusing and len(refusing) == len(states):
        return "unhealthy"
    return "degraded" if refusing or level != "full" else "healthy"
