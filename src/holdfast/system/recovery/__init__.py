"""Recovery: strategies that act, and whose effect is verified before anybody claims success.

Names are loaded when they are first asked for, so that importing this costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.system.recovery.batch import PartsMissingError, ShrinkBatch
    from holdfast.system.recovery.context import Changes, Offer, RecoveryContext
    from holdfast.system.recovery.endpoints import EndpointPool, NextEndpoint
    from holdfast.system.recovery.memory import ReleaseMemory
    from holdfast.system.recovery.offline import Spooled, SpoolToDisk
    from holdfast.system.recovery.probing import ProbeUntilHealthy, ReconnectWithProbe, WaitForPort
    from holdfast.system.recovery.procedure import RecoveryProcedure, RecoverySettings
    from holdfast.system.recovery.process import (
        ProcessNotReadyError,
        RestartBudgetError,
        RestartProcess,
        SupervisedProcess,
    )
    from holdfast.system.recovery.reload import FetchResource, ReloadResource, SwapResource
    from holdfast.system.recovery.resources import ResourceRegistry
    from holdfast.system.recovery.result import Ending, RecoveryResult, Tried
    from holdfast.system.recovery.spool import Replayed, Spool, SpoolFullError, SpoolItem
    from holdfast.system.recovery.stale import LastResults, ServeStale, Stale
    from holdfast.system.recovery.standard import standard_strategies
    from holdfast.system.recovery.steps import (
        Resubmit,
        SimplerVariant,
        SimplifySteps,
        SkipOptional,
        Step,
        optional_step,
    )
    from holdfast.system.recovery.strategy import Strategy, StrategyLike

_HOMES = {
    "Changes": "context",
    "Ending": "result",
    "EndpointPool": "endpoints",
    "FetchResource": "reload",
    "LastResults": "stale",
    "NextEndpoint": "endpoints",
    "Offer": "context",
    "PartsMissingError": "batch",
    "ProbeUntilHealthy": "probing",
    "ProcessNotReadyError": "process",
    "ReconnectWithProbe": "probing",
    "RecoveryContext": "context",
    "RecoveryProcedure": "procedure",
    "RecoveryResult": "result",
    "RecoverySettings": "procedure",
    "ReleaseMemory": "memory",
    "ReloadResource": "reload",
    "Replayed": "spool",
    "ResourceRegistry": "resources",
    "RestartBudgetError": "process",
    "RestartProcess": "process",
    "Resubmit": "steps",
    "ServeStale": "stale",
    "ShrinkBatch": "batch",
    "SimplerVariant": "steps",
    "SimplifySteps": "steps",
    "SkipOptional": "steps",
    "Spool": "spool",
    "SpoolFullError": "spool",
    "SpoolItem": "spool",
    "SpoolToDisk": "offline",
    "Spooled": "offline",
    "Stale": "stale",
    "Step": "steps",
    "Strategy": "strategy",
    "StrategyLike": "strategy",
    "SupervisedProcess": "process",
    "SwapResource": "reload",
    "Tried": "result",
    "WaitForPort": "probing",
    "optional_step": "steps",
    "standard_strategies": "standard",
}

__all__ = [
    "Changes",
    "Ending",
    "EndpointPool",
    "FetchResource",
    "LastResults",
    "NextEndpoint",
    "Offer",
    "PartsMissingError",
    "ProbeUntilHealthy",
    "ProcessNotReadyError",
    "ReconnectWithProbe",
    "RecoveryContext",
    "RecoveryProcedure",
    "RecoveryResult",
    "RecoverySettings",
    "ReleaseMemory",
    "ReloadResource",
    "Replayed",
    "ResourceRegistry",
    "RestartBudgetError",
    "RestartProcess",
    "Resubmit",
    "ServeStale",
    "ShrinkBatch",
    "SimplerVariant",
    "SimplifySteps",
    "SkipOptional",
    "Spool",
    "SpoolFullError",
    "SpoolItem",
    "SpoolToDisk",
    "Spooled",
    "Stale",
    "Step",
    "Strategy",
    "StrategyLike",
    "SupervisedProcess",
    "SwapResource",
    "Tried",
    "WaitForPort",
    "optional_step",
    "standard_strategies",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
