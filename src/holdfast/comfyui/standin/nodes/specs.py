"""Short ways to write input specifications as `object_info` shows them.

Only shapes of data: no node, no behaviour.
"""

from __future__ import annotations

from typing import Any, Final

from holdfast.comfyui.standin.node import InputSpec

MAX_SIDE: Final = 16384
"""Largest width or height (pixels) that ComfyUI's inputs allow."""

MAX_SEED: Final = 2**64 - 1
MAX_BATCH: Final = 4096


def _step(step: float | None) -> dict[str, float]:
    return {} if step is None else {"step": step}


def integer(default: int, low: int, high: int, step: int | None = None, **more: Any) -> InputSpec:
    """Specify an INT input."""
    return ("INT", {"default": default, "min": low, "max": high} | _step(step) | more)


def number(
    default: float, low: float, high: float, step: float | None = None, **more: Any
) -> InputSpec:
    """Specify a FLOAT input."""
    return ("FLOAT", {"default": default, "min": low, "max": high} | _step(step) | more)


def choice(*values: str, **more: Any) -> InputSpec:
    """Specify a list of values in the old style: the list itself is the type."""
    return (list(values), dict(more)) if more else (list(values),)


def noted(kind: str | InputSpec) -> InputSpec:
    """Specify an input that has options on a real server, though only words about it."""
    return (kind, {}) if isinstance(kind, str) else (*kind, {})


def combo(*values: str, **more: Any) -> InputSpec:
    """Specify a list of values in the new style: type COMBO with options."""
    return ("COMBO", {**more, "multiselect": False, "options": list(values)})


def side(default: int = 512, low: int = 1, step: int = 1) -> InputSpec:
    """Specify a width, height or offset in pixels."""
    return integer(default, low, MAX_SIDE, step)


SEED: Final[InputSpec] = integer(0, 0, MAX_SEED, control_after_generate=True)
BATCH_SIZE: Final[InputSpec] = integer(1, 1, MAX_BATCH)
