"""The one vocabulary in which every policy says what it did, and the hub that carries it.

The records are loaded when one is first asked for: a process in which nobody
listens never builds their classes. So policies write `events.RetryStopped(...)`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from holdfast.events.hub import Hub, Listener, Subscription, hub, listen

if TYPE_CHECKING:
    from holdfast.events.kinds import (
        CacheServed,
        CallFailed,
        CallSucceeded,
        ChaosInjected,
        CircuitChanged,
        CircuitRejected,
        ConfigReloaded,
        DegradationChanged,
        Event,
        FallbackUsed,
        HedgeEnded,
        HedgeStarted,
        HedgeSuppressed,
        Occurrence,
        OutcomeDiscarded,
        RecoveryFailed,
        RecoveryStarted,
        RecoverySucceeded,
        Rejected,
        ResultDiscarded,
        RetryScheduled,
        RetryStopped,
        RetrySuppressed,
        TargetFailed,
        TimedOut,
        WorkerAbandoned,
    )

__all__ = [
    "CacheServed",
    "CallFailed",
    "CallSucceeded",
    "ChaosInjected",
    "CircuitChanged",
    "CircuitRejected",
    "ConfigReloaded",
    "DegradationChanged",
    "Event",
    "FallbackUsed",
    "HedgeEnded",
    "HedgeStarted",
    "HedgeSuppressed",
    "Hub",
    "Listener",
    "Occurrence",
    "OutcomeDiscarded",
    "RecoveryFailed",
    "RecoveryStarted",
    "RecoverySucceeded",
    "Rejected",
    "ResultDiscarded",
    "RetryScheduled",
    "RetryStopped",
    "RetrySuppressed",
    "Subscription",
    "TargetFailed",
    "TimedOut",
    "WorkerAbandoned",
    "hub",
    "listen",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'holdfast.events' has no attribute {name!r}")
    return getattr(importlib.import_module("holdfast.events.kinds"), name)
