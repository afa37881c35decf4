"""The words a scenario is written in: steps, and the record of the calls that took them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from holdfast.errors import BadInputError
from holdfast.policies import checks

Failure = BaseException | type[BaseException] | Callable[[], BaseException]
"""An error to raise: an instance, a class that needs no arguments, or a function making one."""


class ScriptOverError(BaseException):
    """A scripted dependency was called more often than its script says.

    Not an `Exception`: a mistake of the test, which no policy may take for a
    failure of the dependency and retry, count or replace.
    """


class Ending(Enum):
    """How a step ends."""

    RETURN = "return"
    RAISE = "raise"
    CALL = "call"
    HANG = "hang"


@dataclass(frozen=True, slots=True)
class Step:
    """What a dependency does when it is called once."""

    ending: Ending = Ending.RETURN
    subject: Any = None
    """What is returned, raised or called."""
    seconds: float = 0.0
    """How long it takes, in seconds."""

    def __post_init__(self) -> None:
        """Refuse steps that cannot be played.

        Raises:
            BadInputError: naming what is wrong with it.
        """
        checks.seconds("seconds", self.seconds, zero=True)
        if self.ending is Ending.RAISE:
            make_error(self.subject)
        if self.ending is Ending.CALL and not callable(self.subject):
            raise BadInputError(f"does needs a function, got {self.subject!r:.100}")

    @classmethod
    def returns(cls, value: Any = None, seconds: float = 0.0) -> Step:
        """A success."""
        return cls(Ending.RETURN, value, seconds)

    @classmethod
    def raises(cls, error: Failure, seconds: float = 0.0) -> Step:
        """A failure."""
        return cls(Ending.RAISE, error, seconds)

    @classmethod
    def hangs(cls) -> Step:
        """No answer."""
        return cls(Ending.HANG)

    def __repr__(self) -> str:
        if self.ending is Ending.HANG:
            return "hangs"
        subject = self.subject.__name__ if inspect.isclass(self.subject) else repr(self.subject)
        after = f" after {self.seconds:g} s" if self.seconds else ""
        return f"{self.ending.value}s {subject:.100}{after}"


@dataclass(slots=True)
class ScriptedCall:
    """One call of a scripted dependency."""

    number: int
    """Counted from 1."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    step: Step
    """What it was to do."""
    began: float
    """Monotonic seconds."""
    ended: float | None = None
    """Monotonic seconds; None while it runs."""

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        return None if self.ended is None else self.ended - self.began


def make_error(failure: Any) -> BaseException:
    """The exception to raise.

    Raises:
        BadInputError: it is none, and makes none.
    """
    if isinstance(failure, BaseException):
        return failure
    if callable(failure):
        try:
            error = failure()
        except TypeError as problem:
            raise BadInputError(
                f"an error must be an instance, a class or a function without arguments: "
                f"{failure!r:.100} cannot be called without arguments ({problem})"
            ) from problem
        if isinstance(error, BaseException):
            return error
    raise BadInputError(f"an error must be an exception or make one, got {failure!r:.100}")
