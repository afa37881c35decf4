"""Holdfast: resilience for Python, made first for long GPU jobs on ComfyUI.

`holdfast` itself needs the standard library alone. What knows ComfyUI is in
`holdfast.comfyui`, which needs the extra of that name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from holdfast.errors import (
    BadInputError,
    BulkheadFullError,
    ChaosError,
    CircuitBreakerOpenError,
    DeadlineExceededError,
    ErrorCategory,
    ErrorSeverity,
    FallbackChainExhaustedError,
    HoldfastError,
    IdleTimeoutError,
    LoadShedError,
    QueueTimeoutError,
    RateLimitedError,
    RejectedError,
    SuggestedRecovery,
    ThrottledError,
)
from holdfast.events import listen
from holdfast.machines.permits import CircuitState
from holdfast.outcome import Attempt, Outcome, Report, report_of
from holdfast.pipeline import Pipeline
from holdfast.policies.backoff import Backoff
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.budget import RetryBudget
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.fallback import Fallback
from holdfast.policies.idempotency import Found, Idempotency, Lookup
from holdfast.policies.matching import classifier
from holdfast.policies.retry import Retry
from holdfast.policies.scope import Deadline, current_scope, progress
from holdfast.policies.timeout import Timeout

if TYPE_CHECKING:
    from holdfast.error_info import ErrorInfo
    from holdfast.pipeline.named import NamedPipeline
    from holdfast.pipeline.profiles import Profile
    from holdfast.pipeline.registry import Registry
    from holdfast.policies.blast_radius import ChaosTarget
    from holdfast.policies.cache import Cache
    from holdfast.policies.chain import FallbackChain
    from holdfast.policies.chaos import Chaos
    from holdfast.policies.hedge import Hedge
    from holdfast.policies.links import Target
    from holdfast.policies.rate_limit import RateLimiter
    from holdfast.policies.shedder import LoadShedder
    from holdfast.policies.throttle import AdaptiveThrottle
    from holdfast.system.capture import capture
    from holdfast.system.classification import Classification, classify
    from holdfast.system.degradation import (
        DegradationLevel,
        DegradationSettings,
        GracefulDegradation,
    )
    from holdfast.system.error_handling import ErrorHandlingSystem
    from holdfast.system.health_app import HealthApp
    from holdfast.system.recovery import RecoveryContext, RecoveryProcedure, Strategy
    from holdfast.system.settings import SystemSettings
    from holdfast.telemetry.analytics import ErrorAnalytics
    from holdfast.telemetry.log import log_events

# What not every service needs is loaded when it is first asked for.
_LATER = {
    "AdaptiveThrottle": "holdfast.policies.throttle",
    "Cache": "holdfast.policies.cache",
    "Chaos": "holdfast.policies.chaos",
    "ChaosTarget": "holdfast.policies.blast_radius",
    "Classification": "holdfast.system.classification",
    "DegradationLevel": "holdfast.system.degradation",
    "DegradationSettings": "holdfast.system.degradation",
    "ErrorAnalytics": "holdfast.telemetry.analytics",
    "ErrorHandlingSystem": "holdfast.system.error_handling",
    "ErrorInfo": "holdfast.error_info",
    "FallbackChain": "holdfast.policies.chain",
    "GracefulDegradation": "holdfast.system.degradation",
    "HealthApp": "holdfast.system.health_app",
    "Hedge": "holdfast.policies.hedge",
    "LoadShedder": "holdfast.policies.shedder",
    "NamedPipeline": "holdfast.pipeline.named",
    "Profile": "holdfast.pipeline.profiles",
    "RateLimiter": "holdfast.policies.rate_limit",
    "RecoveryContext": "holdfast.system.recovery",
    "RecoveryProcedure": "holdfast.system.recovery",
    "Registry": "holdfast.pipeline.registry",
    "Strategy": "holdfast.system.recovery",
    "SystemSettings": "holdfast.system.settings",
    "Target": "holdfast.policies.links",
    "capture": "holdfast.system.capture",
    "classify": "holdfast.system.classification",
    "log_events": "holdfast.telemetry.log",
}


__all__ = [
    "AdaptiveThrottle",
    "Attempt",
    "Backoff",
    "BadInputError",
    "Bulkhead",
    "BulkheadFullError",
    "Cache",
    "Chaos",
    "ChaosError",
    "ChaosTarget",
    "CircuitBreaker",
    "CircuitBreakerOpenError",
    "CircuitState",
    "Classification",
    "Deadline",
    "DeadlineExceededError",
    "DegradationLevel",
    "DegradationSettings",
    "ErrorAnalytics",
    "ErrorCategory",
    "ErrorHandlingSystem",
    "ErrorInfo",
    "ErrorSeverity",
    "Fallback",
    "FallbackChain",
    "FallbackChainExhaustedError",
    "Found",
    "GracefulDegradation",
    "HealthApp",
    "Hedge",
    "HoldfastError",
    "Idempotency",
    "IdleTimeoutError",
    "LoadShedError",
    "LoadShedder",
    "Lookup",
    "NamedPipeline",
    "Outcome",
    "Pipeline",
    "Profile",
    "QueueTimeoutError",
    "RateLimitedError",
    "RateLimiter",
    "RecoveryContext",
    "RecoveryProcedure",
    "Registry",
    "RejectedError",
    "Report",
    "Retry",
    "RetryBudget",
    "Strategy",
    "SuggestedRecovery",
    "SystemSettings",
    "Target",
    "ThrottledError",
    "Timeout",
    "capture",
    "classify",
    "current_scope",
    "listen",
    "log_events",
    "progress",
    "report_of",
]


def _categorise(error: BaseException) -> ErrorCategory:
    """The category by all that an error says; its rules are loaded when first asked for."""
    from holdfast.system.classification import classify  # noqa: PLC0415

    return classify(error).category


# So that `on=ErrorCategory.MEMORY` means the same in a policy as everywhere else.
classifier.categorise = _categorise


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_LATER[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
