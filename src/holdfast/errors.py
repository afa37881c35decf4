"""Every error Holdfast raises on its own account, as a tree.

::

    HoldfastError
    ├── BadInputError          what was given cannot work; the message says what would
    ├── RejectedError          the call never ran; `retry_after` says when to try again
    │   ├── CircuitBreakerOpenError
    │   ├── BulkheadFullError  no slot is free and the queue is full
    │   ├── QueueTimeoutError  a slot did not come free in time
    │   ├── RateLimitedError   more calls than the rate allows
    │   ├── LoadShedError      this work cannot be done in time, or matters less than other work
    │   └── ThrottledError     the other side has been refusing; held back here
    ├── DeadlineExceededError  the time allowed is used up
    │   └── IdleTimeoutError   no progress was reported for too long
    ├── FallbackChainExhaustedError  every target failed; `errors` has them all
    └── ChaosError             a fault injected on purpose

What can go wrong with a ComfyUI run grows from the same root, in
`holdfast.comfyui.failures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from typing import Any, Self


class ErrorCategory(StrEnum):
    """Whose trouble an error is: the first thing to know when choosing a remedy."""

    NETWORK = "network"
    """The way to the server: refused, reset, timed out, a 5xx of a proxy."""
    MEMORY = "memory"
    """Not enough graphics or main memory for the work as asked."""
    VALIDATION = "validation"
    """The request itself is wrong; sending it again changes nothing."""
    MODEL = "model"
    """A model file is missing, damaged or of the wrong kind."""
    WORKFLOW = "workflow"
    """A step of the work failed, or ended without what it should have made."""
    SYSTEM = "system"
    """The server itself: dead, stalled, restarted, disk full."""
    UNKNOWN = "unknown"
    """No rule fits."""


class ErrorSeverity(StrEnum):
    """How far an error reaches."""

    LOW = "low"
    """Trying again is expected to mend it, or only something optional is lost."""
    MEDIUM = "medium"
    """This request fails; others are fine."""
    HIGH = "high"
    """Every request that needs this model, node or backend fails until somebody acts."""
    CRITICAL = "critical"
    """The process, graphics card or machine is of no use until it is restarted or repaired."""


class SuggestedRecovery(StrEnum):
    """The best first thing to do about an error."""

    RETRY = "retry"
    WAIT_AND_RETRY = "wait_and_retry"
    SWITCH_BACKEND = "switch_backend"
    FREE_MEMORY = "free_memory"
    REDUCE_BATCH = "reduce_batch"
    REDUCE_RESOLUTION = "reduce_resolution"
    TILE_VAE = "tile_vae"
    LOWER_PRECISION = "lower_precision"
    RELOAD_MODEL = "reload_model"
    FALLBACK_MODEL = "fallback_model"
    DOWNLOAD_MODEL = "download_model"
    FIX_REQUEST = "fix_request"
    INSTALL_NODE = "install_node"
    RESTART_SERVER = "restart_server"
    SKIP_OPTIONAL = "skip_optional"
    NONE = "none"
    """Somebody must change the machine or its configuration."""


class HoldfastError(Exception):
    """Root of all errors raised by Holdfast itself."""


class BadInputError(HoldfastError, ValueError):
    """What was given cannot work. The message names the field, the value and what is right."""


class RejectedError(HoldfastError):
    """The call was refused before it ran, so repeating it later is safe."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds until another try makes sense, or None when nobody can tell."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process pools; the default forgets arguments given by name.
        return partial(type(self), retry_after=self.retry_after), (str(self),)

    def fresh(self) -> Self:
        """The same error as a new object, which has not been raised anywhere yet."""
        make, arguments = self.__reduce__()[:2]
        twin: Self = make(*arguments)
        twin.__dict__.update(self.__dict__)
        return twin


class CircuitBreakerOpenError(RejectedError):
    """A circuit breaker is open and let nothing through."""

    def __init__(self, name: str, *, retry_after: float | None = None) -> None:
        when = "" if retry_after is None else f"; next probe in {retry_after:.1f} s"
        super().__init__(f"circuit breaker {name!r} is open{when}", retry_after=retry_after)
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(CircuitBreakerOpenError, retry_after=self.retry_after), (self.name,)


class BulkheadFullError(RejectedError):
    """All slots are taken and the queue is full."""


class QueueTimeoutError(RejectedError, TimeoutError):
    """The call waited for a slot until its time was up. It never ran."""


class RateLimitedError(RejectedError):
    """The rate allows no further call yet."""


class LoadShedError(RejectedError):
    """The work was refused to keep more important work, or work that can be done in time."""


class ThrottledError(RejectedError):
    """The other side has been refusing calls, so this one was held back."""


class DeadlineExceededError(HoldfastError, TimeoutError):
    """The time allowed for the work is used up."""


class IdleTimeoutError(DeadlineExceededError):
    """The work reported no progress for too long."""


class FallbackChainExhaustedError(HoldfastError):
    """Every target of a fallback chain failed or was skipped."""

    def __init__(self, name: str, errors: Mapping[str, BaseException]) -> None:
        told = "; ".join(f"{target}: {type(e).__name__}: {e}" for target, e in errors.items())
        super().__init__(f"all targets of fallback chain {name!r} failed: {told or 'it has none'}")
        self.name = name
        self.errors: dict[str, BaseException] = dict(errors)
        """Each target's error, by the target's name, in the order they were tried."""

    def __reduce__(self) -> tuple[object, ...]:
        return FallbackChainExhaustedError, (self.name, self.errors)


class ChaosError(HoldfastError):
    """A fault that `Chaos` was told to inject."""
