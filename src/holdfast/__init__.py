"""Holdfast: resilience for Python, made first for long GPU jobs on ComfyUI.

`holdfast` itself needs the standard library alone. What knows ComfyUI is in
`holdfast.comfyui`, which needs the extra of that name.
"""

from holdfast.errors import (
    BadInputError,
    CircuitBreakerOpenError,
    DeadlineExceededError,
    ErrorCategory,
    HoldfastError,
    RejectedError,
)

__all__ = [
    "BadInputError",
    "CircuitBreakerOpenError",
    "DeadlineExceededError",
    "ErrorCategory",
    "HoldfastError",
    "RejectedError",
]
