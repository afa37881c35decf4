"""What a recovery strategy is told about a failed call, and what it may change in the retry.

Each strategy gets a branch of its own: what a strategy wanted changed before it failed is
forgotten with its branch, and one that goes on in a thread after its time was up can no longer
change anything. A branch knows the exception only while the strategy is at work.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.errors import BadInputError
from holdfast.policies import checks
from holdfast.policies.scope import current_scope
from holdfast.ports import ambient

MOST_NOTES = 100
"""Notes kept of one strategy; after that the last one says how many more there were."""
LONGEST_NOTE = 500
"""Characters kept of one note."""

_NONE = object()

_numbers = itertools.count(1)
_numbers_lock = threading.Lock()


def next_number() -> int:
    """A number above all given before: tells what came first where the clock is too coarse."""
    with _numbers_lock:
        return next(_numbers)


@dataclass(frozen=True, slots=True)
class Offer:
    """A result in place of the failed call's own: old, or a receipt for work put off."""

    value: Any
    note: str
    """What it is and why, in words. A result with a note is a degraded one."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be different in the retry; empty when it is to be made as before."""

    arguments: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    """New positional and named arguments, all of them."""
    call: Callable[..., Any] | None = None
    """Something else to call, with the arguments; async if it takes the place of async work."""
    offer: Offer | None = None
    """A result to return without any retry."""
    lesser: str = ""
    """In what the result will be less than what was asked for, in words; empty if in nothing."""

    def __bool__(self) -> bool:
        return self != Changes()

    def retry_of(
        self, fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """The function and arguments of the retry, given those of the failed call."""
        given = (tuple(args), dict(kwargs))
        return (self.call or fn, *(self.arguments or given))


class RecoveryContext:
    """The failed call, as strategies see it. Good for one recovery."""

    __slots__ = (
        "_closed",
        "_may_change",
        "args",
        "began",
        "changes",
        "dependency",
        "exception",
        "kwargs",
        "notes",
        "number",
        "operation",
        "scratch",
        "unsaid",
        "until",
    )

    def __init__(
        self,
        dependency: str = "",
        operation: Callable[..., Any] | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        deadline: float | None = None,
        began: float | None = None,
        exception: BaseException | None = None,
        scratch: dict[Any, Any] | None = None,
    ) -> None:
        """Describe the failed call.

        Args:
            dependency: what was called; failures of one dependency share recoveries.
            operation: the function that failed.
            args: its positional arguments.
            kwargs: its named arguments.
            deadline: seconds left for recovery and retry together; None for no limit but that
                of the call this happens in.
            began: monotonic seconds (`ambient.now()`) when the failed call began; None: now. A
                failure that began before a recovery succeeded is mended by it.
            exception: what was raised; dropped when the recovery ends.
            scratch: what strategies leave for each other.

        Raises:
            BadInputError: naming the argument, its value and what is right.
        """
        if dependency != "":
            checks.label("dependency", dependency)
        checks.hook("operation", operation)
        if deadline is not None:
            checks.number("deadline", deadline, unit="seconds")
        if began is not None:
            checks.number("began", began, unit="seconds")
        now = ambient.now()
        scope = current_scope()
        self.dependency, self.operation = dependency, operation
        self.args, self.kwargs = tuple(args), dict(kwargs or {})
        self.until = min(
            math.inf if deadline is None else now + deadline,
            math.inf if scope is None else scope.deadline,
        )
        """Monotonic seconds when recovery must have ended."""
        self.began = now if began is None else min(began, now)
        self.number = next_number()
        self.exception = exception
        self.scratch: dict[Any, Any] = {} if scratch is None else scratch
        self.changes = Changes()
        self.notes: list[str] = []
        self.unsaid = 0
        """Notes for which there was no room."""
        self.start(may_change=True)

    @property
    def deadline(self) -> float | None:
        """Seconds left, at least 0; None when there is no limit."""
        return None if self.until == math.inf else max(0.0, self.left())

    def left(self) -> float:
        """Seconds left; infinite when there is no limit, and below 0 when it has passed."""
        return self.until - ambient.now()

    def use_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> None:
        """Have the retry made with these arguments, in place of all the old ones.

        Raises:
            BadInputError: the strategy is at work for several calls at once (see `Strategy`).
        """
        new = (tuple(args), dict(kwargs or {}))
        self._change(arguments=new)
        # Names only: what is in them may be secret, or large.
        before = dict(enumerate(self.args)) | self.kwargs
        after = dict(enumerate(new[0])) | new[1]
        changed = [k for k in before | after if before.get(k, _NONE) is not after.get(k, _NONE)]
        self.note(f"other arguments in the retry: {', '.join(map(str, changed)) or 'none'}")

    def use_call(self, call: Callable[..., Any]) -> None:
        """Have the retry call something else, with the same arguments.

        Raises:
            BadInputError: it cannot be called, or the strategy is at work for several calls.
        """
        if not callable(call):
            raise BadInputError(f"call must be a function, got {call!r:.100}")
        self._change(call=call)
        self.note(f"the retry calls {getattr(call, '__qualname__', type(call).__name__)}")

    def offer_result(self, value: Any, note: str) -> None:
        """Give this in place of the call's result, and say so: it counts as degraded.

        Raises:
            BadInputError: there is no note, or the strategy is at work for several calls.
        """
        if not str(note).strip():
            raise BadInputError(
                f"note must say in words what is given instead of a result, got {note!r:.100}"
            )
        self._change(offer=Offer(value, note[:LONGEST_NOTE]))
        self.note(note)

    def degrade(self, note: str) -> None:
        """Say that the retry, even if it succeeds, gives less than was asked for.

        Raises:
            BadInputError: there is no note, or the strategy is at work for several calls.
        """
        if not str(note).strip():
            raise BadInputError(f"note must say in words what will be less, got {note!r:.100}")
        self._change(lesser=note[:LONGEST_NOTE])
        self.note(note)

    @property
    def over(self) -> bool:
        """Whether the strategy's time is over: what still runs should end."""
        return self._closed

    def note(self, text: str) -> None:
        """Say what was done."""
        if self._closed:
            return
        if len(self.notes) < MOST_NOTES:
            self.notes.append(str(text)[:LONGEST_NOTE])
        else:
            self.unsaid += 1

    def said(self) -> tuple[str, ...]:
        """All notes, and how many more there were no room for."""
        more = (f"and {self.unsaid} more notes",) if self.unsaid else ()
        return (*self.notes, *more)

    def branch(self, *, may_change: bool) -> RecoveryContext:
        """The same call for one strategy, with changes and notes of its own."""
        twin = RecoveryContext.__new__(RecoveryContext)
        for name in ("dependency", "operation", "args", "until", "began", "number", "scratch"):
            setattr(twin, name, getattr(self, name))
        twin.kwargs, twin.exception = dict(self.kwargs), self.exception
        twin.changes, twin.notes, twin.unsaid = Changes(), [], 0
        twin.start(may_change=may_change)
        return twin

    def allow_changes(self) -> None:
        """From now on the strategy speaks for this call alone."""
        self._may_change = True

    def close(self) -> None:
        """The strategy's time is over: nothing it does from now on changes anything."""
        self._closed = True
        self.exception = None

    def start(self, *, may_change: bool) -> None:
        """A strategy begins."""
        self._closed, self._may_change = False, may_change

    def _change(self, **changed: Any) -> None:
        if self._closed:
            raise BadInputError("the strategy's time is over, so it can change nothing any more")
        if not self._may_change:
            raise BadInputError(
                "a shared strategy runs once for many calls, so its apply cannot change one of "
                "them: change it in adjust(error, context), or set shared = False"
            )
        self.changes = replace(self.changes, **changed)

    def __repr__(self) -> str:
        return f"RecoveryContext(dependency={self.dependency!r}, deadline={self.deadline})"
