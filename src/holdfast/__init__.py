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
    FallbackChainExhaustedError,
    HoldfastError,
    IdleTimeoutError,
    LoadShedError,
    QueueTimeoutError,
    RateLimitedError,
    RejectedError,
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
from holdfast.policies.retry import Retry
from holdfast.policies.scope import Deadline, current_scope, progress
from holdfast.policies.timeout import Timeout

if TYPE_CHECKING:
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
    from holdfast.telemetry.log import log_events

# What not every service needs is loaded when it is first asked for.
_LATER = {
    "AdaptiveThrottle": "holdfast.policies.throttle",
    "Cache": "holdfast.policies.cache",
    "Chaos": "holdfast.policies.chaos",
    "ChaosTarget": "holdfast.policies.blast_radius",
    "FallbackChain": "holdfast.policies.chain",
    "Hedge": "holdfast.policies.hedge",
    "LoadShedder": "holdfast.policies.shedder",
    "NamedPipeline": "holdfast.pipeline.named",
    "Profile": "holdfast.pipeline.profiles",
    "RateLimiter": "holdfast.policies.rate_limit",
    "Registry": "holdfast.pipeline.registry",
    "Target": "holdfast.policies.links",
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
    "Deadline",
    "DeadlineExceededError",
    "ErrorCategory",
    "Fallback",
    "FallbackChain",
    "FallbackChainExhaustedError",
    "Found",
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
    "Registry",
    "RejectedError",
    "Report",
    "Retry",
    "RetryBudget",
    "Target",
    "ThrottledError",
    "Timeout",
    "current_scope",
    "listen",
    "log_events",
    "progress",
    "report_of",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_LATER[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
