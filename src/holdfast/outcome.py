"""How a call ended, as values: nothing in here holds a frame of the call that failed.

`Ok` and `Err` travel between policies, `Outcome` goes to the caller who asked
for one, `Report` rests on the exception of the caller who did not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar, final

from holdfast.errors import RejectedError
from holdfast.text import printable

T_co = TypeVar("T_co", covariant=True)

LONGEST_MESSAGE = 500


@final
class Ok:
    """A result in hand."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


@final
class Err:
    """A failure, as a value. It is raised once, by the driver, at the very end."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


Result = Ok | Err


@dataclass(frozen=True, slots=True)
class Attempt:
    """One failed attempt, remembered without its frames."""

    number: int
    """Which one it was, from 1."""
    error: str
    """Type and message of its exception, or what was wrong with its result."""
    seconds: float | None
    """How long it took; None if that was not measured: a first attempt of a sync call without
    a time limit reads no clock."""
    waited: float | None
    """Seconds waited after it; None for the last one, which was not repeated."""
    reason: str = ""
    """Why it was not repeated."""

    def __str__(self) -> str:
        """One line for a log or a note."""
        wait = f"; waited {self.waited:.3g} s" if self.waited is not None else ""
        wait += f"; not repeated: {self.reason}" if self.reason else ""
        after = "" if self.seconds is None else f" after {self.seconds:.3g} s"
        return f"attempt {self.number} failed{after}: {self.error}{wait}"


@dataclass(frozen=True, slots=True)
class Report:
    """What was done about a call that failed all the same."""

    history: tuple[Attempt, ...] = ()
    """The failed attempts, oldest first (the last 100 of them)."""
    steps: tuple[str, ...] = ()
    """What each policy did, in order (the last 100 of them)."""
    elapsed: float = 0.0
    """Seconds from the call to its end."""
    changes: tuple[str, ...] = ()
    """What was changed on the way: other arguments, another target, an older result."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T_co]):
    """The end of a call: a value or an error, and how it came about."""

    value: T_co | None = None
    """What the call returned; None after a failure."""
    error: Exception | None = None
    """Why it failed, or None."""
    attempts: int = 0
    """How often the protected function was called; 0 if it never ran."""
    elapsed: float = 0.0
    """Seconds from the call to its end."""
    history: tuple[Attempt, ...] = ()
    """The attempts that failed, oldest first."""
    steps: tuple[str, ...] = ()
    """What each policy did, in order; empty when none had to do anything."""
    changes: tuple[str, ...] = ()
    """What was changed to get the result: other arguments, another target, an older result, a
    fallback's value; empty if it is exactly what was asked for."""

    @property
    def ok(self) -> bool:
        """Whether there is a result."""
        return self.error is None

    def unwrap(self) -> T_co:
        """The value.

        Raises:
            Exception: the call's error, if it failed.
        """
        value, error = self.value, self.error
        if error is None:
            return value  # type: ignore[return-value]
        # Or this frame and the error would keep each other alive.
        del self
        try:
            raise error
        finally:
            del error


class Refusal(Outcome[NoReturn]):
    """The end of all calls that were refused in the same moment. Each look has an error of its own.

    What is raised gathers frames, notes and what it was raised beside, and keeps them alive.
    """

    __slots__ = ("_pattern",)

    _pattern: RejectedError

    def __init__(self, error: RejectedError, steps: tuple[str, ...]) -> None:
        super().__init__(error=error, steps=steps)

    @property
    def error(self) -> RejectedError:
        """Why it was refused: a new object at each look."""
        return self._pattern.fresh()

    @error.setter
    def error(self, pattern: RejectedError) -> None:
        object.__setattr__(self, "_pattern", pattern)

    @property
    def ok(self) -> bool:
        """There is no result."""
        return False

    __eq__ = object.__eq__
    __hash__ = object.__hash__


def describe(error: BaseException) -> str:
    """Type and message in one bounded, printable line."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  # a broken __str__ of a stranger's exception
        message = "(its message cannot be read)"
    message = printable(message[: LONGEST_MESSAGE * 2])[:LONGEST_MESSAGE]
    name = type(error).__name__
    return f"{name}: {message}" if message else name


def report_of(error: BaseException) -> Report | None:
    """The report Holdfast left on an exception, or None if it never passed through a policy."""
    report = getattr(error, "__holdfast__", None)
    return report if isinstance(report, Report) else None
