"""Recovery: strategies that act, and whose effect is verified before anybody claims success.

Names are loaded when they are first asked for, so that importing this costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.system.recovery.context import Changes, Offer, RecoveryContext
    from holdfast.system.recovery.procedure import RecoveryProcedure, RecoverySettings
    from holdfast.system.recovery.result import Ending, RecoveryResult, Tried
    from holdfast.system.recovery.strategy import Strategy, StrategyLike

_HOMES = {
    "Changes": "context",
    "Ending": "result",
    "Offer": "context",
    "RecoveryContext": "context",
    "RecoveryProcedure": "procedure",
    "RecoveryResult": "result",
    "RecoverySettings": "procedure",
    "Strategy": "strategy",
    "StrategyLike": "strategy",
    "Tried": "result",
}

__all__ = [
    "Changes",
    "Ending",
    "Offer",
    "RecoveryContext",
    "RecoveryProcedure",
    "RecoveryResult",
    "RecoverySettings",
    "Strategy",
    "StrategyLike",
    "Tried",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
