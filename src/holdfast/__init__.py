"""Holdfast: resilience for Python, made first for long GPU jobs on ComfyUI.

`holdfast` itself needs the standard library alone. What knows ComfyUI is in
`holdfast.comfyui`, which needs the extra of that name.
"""

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
from holdfast.pipeline.profiles import Profile
from holdfast.pipeline.registry import Registry
from holdfast.policies.backoff import Backoff
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.budget import RetryBudget
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.cache import Cache
from holdfast.policies.chain import FallbackChain
from holdfast.policies.chaos import Chaos
from holdfast.policies.fallback import Fallback
from holdfast.policies.hedge import Hedge
from holdfast.policies.idempotency import Found, Idempotency, Lookup
from holdfast.policies.rate_limit import RateLimiter
from holdfast.policies.retry import Retry
from holdfast.policies.scope import Deadline, current_scope, progress
from holdfast.policies.shedder import LoadShedder
from holdfast.policies.throttle import AdaptiveThrottle
from holdfast.policies.timeout import Timeout

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
    "ThrottledError",
    "Timeout",
    "current_scope",
    "listen",
    "progress",
    "report_of",
]
