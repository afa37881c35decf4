"""Where chaos may strike: which calls, in which blocks, and whether at all.

A block's say is in a context variable, so it follows the calls made in it into
tasks and into threads that copy their context. The mains switch is the process's.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from holdfast.policies.call import Call


@dataclass(frozen=True, slots=True)
class ChaosTarget:
    """A call that may be struck, as `when` sees it."""

    name: str
    """The function's qualified name, or its type's."""
    args: tuple[Any, ...]
    """Arguments by position."""
    kwargs: Mapping[str, Any]
    """Arguments by name; read only."""
    pipeline: str
    """The pipeline's name."""
    attempt: int
    """Which attempt this is, from 1."""


@dataclass(frozen=True, slots=True)
class Here:
    """What applies to the code that runs here."""

    drills: frozenset[str] = frozenset()
    """The drills that are on."""
    spared: bool = False
    """Whether nothing may be injected."""


class Mains:
    """The switch of the whole process."""

    __slots__ = ("on",)

    def __init__(self) -> None:
        self.on = True


mains = Mains()
here: ContextVar[Here] = ContextVar("holdfast_chaos", default=Here())  # noqa: B039  # frozen


def target_of(call: Call) -> ChaosTarget:
    """A call, as `when` sees it."""
    fn: Any = call.fn
    while isinstance(fn, functools.partial):
        fn = fn.func
    name = getattr(fn, "__qualname__", type(fn).__name__)
    kwargs = MappingProxyType(call.kwargs)
    return ChaosTarget(name, call.args, kwargs, call.name, call.scope.attempt)
