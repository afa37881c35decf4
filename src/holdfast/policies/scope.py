"""What a running call inherits: its deadline, its attempt, whether somebody already retries it.

Each call through a pipeline has a `Scope`; the innermost one is in a context
variable, so it follows the call through awaits, tasks and threads that copy
their context. A scope dies with its call: a background task started inside a
call is not held to the call's deadline once the call has ended.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Self, TypeVar

from holdfast.errors import DeadlineExceededError
from holdfast.policies import checks
from holdfast.policies.sealed import Sealed
from holdfast.ports import ambient


class Scope:
    """One call's surroundings."""

    # One is made for each call on the hot path. A slot that was never set is read from
    # `_DEFAULTS`, so that making one is an allocation and no more.
    __slots__ = (
        "__weakref__",
        "attempt",
        "deadline",
        "folds",
        "key",
        "leads",
        "listeners",
        "live",
        "parent",
        "queued",
        "queued_out",
        "rang",
    )

    parent: Scope | None
    deadline: float
    """Monotonic seconds at which the work must have ended; the tightest one that applies."""
    folds: bool
    """Whether a retry outside governs, so that retries in here run once."""
    live: bool
    """False as soon as the call has ended."""
    attempt: int
    """Which attempt is running, from 1."""
    rang: bool
    """Whether a time limit of this scope has ended what runs in it."""
    queued: float
    """Seconds spent in queues of ours by what ran in here."""
    queued_out: bool
    """Whether what is being ended in here was waiting in a queue of ours."""
    key: str | None
    """The idempotency key: the same over all attempts of one call."""
    leads: tuple[Any, ...]
    """The calls made in here for all who want the same; see `holdfast.policies.flights`."""
    listeners: tuple[Callable[[], None], ...]
    """Who wants to hear of progress: idle timeouts, leases."""

    def __getattr__(self, name: str) -> Any:
        try:
            return _DEFAULTS[name]
        except KeyError:
            raise AttributeError(name) from None


_DEFAULTS: dict[str, Any] = {
    "parent": None,
    "deadline": math.inf,
    "folds": False,
    "live": True,
    "attempt": 1,
    "rang": False,
    "key": None,
    "leads": (),
    "listeners": (),
    "queued": 0.0,
    "queued_out": False,
}


_current: ContextVar[Scope | None] = ContextVar("holdfast_scope", default=None)
enter = _current.set
leave = _current.reset
innermost = _current.get


def leave_anywhere(mark: Token[Scope | None]) -> None:
    """`leave`, for calls that may be closed from another context than their own.

    A coroutine nobody awaits any more is closed by the garbage collector, wherever that runs;
    there is nothing to restore then.
    """
    with suppress(ValueError):
        leave(mark)


def current_scope() -> Scope | None:
    """The scope of the call that is running here, or None outside any call."""
    scope = _current.get()
    while scope is not None and not scope.live:
        scope = scope.parent
    return scope


S = TypeVar("S", bound=Scope)


def child(parent: Scope | None) -> Scope:
    """A new scope that inherits what ``parent`` hands down."""
    return inherit(Scope(), parent)


def inherit(scope: S, parent: Scope | None) -> S:
    """Give a fresh ``scope`` what ``parent`` hands down."""
    if parent is not None:
        scope.parent = parent
        scope.deadline = parent.deadline
        scope.folds = parent.folds
        scope.attempt = parent.attempt
        scope.key = parent.key
        scope.listeners = parent.listeners
    return scope


def progress() -> None:
    """Say that the work is alive: idle timeouts start anew, probes keep their lease."""
    scope = current_scope()
    if scope is not None:
        for listener in scope.listeners:
            listener()


_blocks: ContextVar[tuple[tuple[Scope, Token[Scope | None]], ...]]
_blocks = ContextVar("holdfast_deadlines", default=())


class Deadline(Sealed):
    """A moment by which work must have ended, inherited by every call inside it.

    Use it as a block: pipelines inside interrupt what would outlast it, start
    no wait that would, and refuse calls once it has passed. Code of your own
    asks `Deadline.current()`.

    ::

        with Deadline.after(30):
            await pipeline.execute(render)
    """

    __slots__ = ("at",)

    settings = frozenset({"at"})

    def __init__(self, at: float) -> None:
        """Take the moment.

        Args:
            at: monotonic seconds.

        Raises:
            BadInputError: it is not a number.
        """
        checks.number("at", at, unit="seconds", finite=False)
        self.at = at
        """Monotonic seconds."""

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The moment ``seconds`` from now.

        Raises:
            BadInputError: ``seconds`` is negative or not a number.
        """
        checks.number("seconds", seconds, at_least=0, unit="seconds", finite=False)
        return cls(ambient.now() + seconds)

    @classmethod
    def current(cls) -> Deadline | None:
        """The tightest deadline that applies here, or None."""
        scope = current_scope()
        return None if scope is None or scope.deadline == math.inf else cls(scope.deadline)

    def remaining(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.at - ambient.now())

    @property
    def expired(self) -> bool:
        """Whether the moment has passed."""
        return ambient.now() >= self.at

    def check(self) -> None:
        """Raise if the moment has passed; for loops that do their own work.

        Raises:
            DeadlineExceededError: it has.
        """
        if self.expired:
            raise DeadlineExceededError("the deadline has passed")

    def __enter__(self) -> Self:
        scope = child(current_scope())
        scope.deadline = min(scope.deadline, self.at)
        # In the context, because one deadline may be entered by many tasks and threads at once.
        _blocks.set((*_blocks.get(), (scope, enter(scope))))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not (blocks := _blocks.get()):
            return  # closed by the garbage collector, in a context that is not its own
        *rest, (scope, mark) = blocks
        _blocks.set(tuple(rest))
        scope.live = False
        leave_anywhere(mark)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Deadline) and self.at == other.at

    def __hash__(self) -> int:
        return hash(self.at)

    def __repr__(self) -> str:
        return f"Deadline(in {self.at - ambient.now():.3f} s)"
