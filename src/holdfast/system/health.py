"""How the system is, as plain data, fast enough to be asked at every scrape.

A breaker that admits every call or none is told without its lock: nothing is due in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.machines.permits import CircuitState
from holdfast.policies.breaker import CircuitBreaker
from holdfast.ports import ambient

_CLOSED = CircuitState.CLOSED
_WELL = {str(state) for state in (_CLOSED, CircuitState.DISABLED, CircuitState.METRICS_ONLY)}


def breaker_health(breaker: CircuitBreaker) -> dict[str, Any]:
    """One breaker: name, state, failures in a row, good probes, seconds until the next probe.

    The seconds are None where only a hand can admit one.
    """
    circuit = breaker.circuit
    if circuit.quiet is not None and circuit.last_state is _CLOSED:
        # Nearly all of them, nearly always: nothing more needs to be asked.
        return {
            "name": breaker.name,
            "state": "closed",
            "failure_count": 0,
            "success_count": 0,
            "retry_after": 0.0,
        }
    if circuit.admits is not None:
        state, after = circuit.last_state, 0.0
    elif (left := circuit.open_until - ambient.now()) > 0:
        state, after = circuit.last_state, left
    else:
        state, after = breaker.state, breaker.retry_after
    return {
        "name": breaker.name,
        "state": str(state),
        "failure_count": circuit.failures,
        "success_count": circuit.good_probes,
        "retry_after": None if after == math.inf else after,
    }


def verdict(breakers: Iterable[Mapping[str, Any]], level: str) -> str:
    """``healthy``, ``degraded``, or ``unhealthy`` when every breaker there is refuses calls."""
    states = {one["state"] for one in breakers}
    refusing = states - _WELL
    if refusing and refusing == states:
        return "unhealthy"
    return "degraded" if refusing or level != "full" else "healthy"
