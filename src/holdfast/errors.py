"""Every error Holdfast raises on its own account, as a tree.

::

    HoldfastError
    ├── BadInputError          what was given cannot work; the message says what would
    ├── RejectedError          the call never ran; `retry_after` says when to try again
    │   └── CircuitBreakerOpenError
    └── DeadlineExceededError  the time allowed for the whole work is used up

What can go wrong with a ComfyUI run grows from the same root, in
`holdfast.comfyui.failures`.
"""

from __future__ import annotations

from enum import StrEnum
from functools import partial


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

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process pools; the default forgets arguments given by name.
        return partial(type(self), retry_after=self.retry_after), (str(self),)


class CircuitBreakerOpenError(RejectedError):
    """A circuit breaker is open and let nothing through."""

    def __init__(self, name: str, *, retry_after: float | None = None) -> None:
        when = "" if retry_after is None else f"; next probe in {retry_after:.1f} s"
        super().__init__(f"circuit breaker {name!r} is open{when}", retry_after=retry_after)
        self.name = name

    def __reduce__(self) -> tuple[object, ...]:
        return partial(CircuitBreakerOpenError, retry_after=self.retry_after), (self.name,)


class DeadlineExceededError(HoldfastError, TimeoutError):
    """The time allowed for the whole work is used up."""
