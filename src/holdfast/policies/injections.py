"""The four kinds of trouble that `Chaos` can make, as flows.

Each is told how to announce itself, and does so before it strikes. It ends with
what takes the place of the call, or with None, and then the call goes on.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator
from typing import Any, Final

from holdfast.errors import BadInputError
from holdfast.outcome import Err, Ok, Result, describe
from holdfast.policies.call import Call
from holdfast.policies.effects import Effect, Run, Sleep

NOTE: Final = "injected on purpose by chaos"
"""The note on an injected error."""

Tell = Callable[[str], None]
"""Says what is injected, to all who ought to know."""
Making = Generator[Effect, Any, Result | None]
"""A flow that ends with what takes the call's place, or None: go on with the call."""
Trouble = Callable[[Call, float, Tell], Making]
"""What is done to a call that is struck; the number is a chance in [0, 1)."""


def fault(error: Any) -> Trouble:
    """Fail.

    Raises:
        BadInputError: ``error`` is not an exception, its type, or a function.
    """
    source = _maker(error)

    def strike(call: Call, chance: float, tell: Tell) -> Making:  # noqa: ARG001  # one shape for all
        made = yield Run(source)
        failure = made.error if type(made) is Err else made.value
        if not isinstance(failure, Exception):
            return Err(BadInputError(f"error must make an Exception, got {failure!r:.100}"))
        tell(f"a fault: {describe(failure)}")
        if NOTE not in getattr(failure, "__notes__", ()):
            failure.add_note(NOTE)
        return Err(failure)

    return strike


def latency(low: float, high: float) -> Trouble:
    """Wait so many seconds, within these limits."""

    def strike(call: Call, chance: float, tell: Tell) -> Making:
        seconds = low + (high - low) * chance
        left = call.left()
        tell(f"{seconds:.3g} s of latency")
        if seconds > 0:
            # A slow dependency is at work, and so is this one.
            call.running += 1
            yield Sleep(max(0.0, min(seconds, left)))
            call.running -= 1
        # A thread that sleeps is not woken by its deadline, so it does not sleep beyond it.
        return call.blame_deadline() if seconds >= left else None

    return strike


def result(value: Any) -> Trouble:
    """Return something else."""

    def strike(call: Call, chance: float, tell: Tell) -> Making:  # noqa: ARG001  # one shape for all
        made: Result = (yield Run(value)) if callable(value) else Ok(value)
        if type(made) is Err:
            tell(f"a failure while making up a result: {describe(made.error)}")
        else:
            tell("a result in place of the call's own")
        return made

    return strike


def behaviour(action: Callable[[], Any]) -> Trouble:
    """Do something first.

    Raises:
        BadInputError: ``action`` is not a function.
    """
    if not callable(action):
        raise BadInputError(f"action must be a function, got {action!r:.100}")
    name = getattr(action, "__qualname__", type(action).__name__)

    def strike(call: Call, chance: float, tell: Tell) -> Making:  # noqa: ARG001  # one shape for all
        tell(f"a behaviour: {name}")
        done = yield Run(action)
        return done if type(done) is Err else None

    return strike


def _maker(error: Any) -> Callable[[], Any]:
    """What makes a new error for each call: one object raised twice keeps the frames of both."""
    if isinstance(error, type) and issubclass(error, BaseException):
        _refuse_exits(error)
        return _of_type(error)
    if isinstance(error, BaseException):
        _refuse_exits(type(error))
        return _of_copies(error)
    if not callable(error):
        raise BadInputError(
            f"error must be an exception, its type or a function that makes one, got {error!r:.100}"
        )
    making: Callable[[], Any] = error
    return making


def _of_type(kind: type[BaseException]) -> Callable[[], Any]:
    """With a message if the type takes one."""
    ways: tuple[Callable[[], Any], ...] = (lambda: kind(NOTE), kind)
    for make in ways:
        try:
            make()
        except Exception:  # noqa: BLE001, S112  # a type may want what it likes; try the next way
            continue
        return make
    raise BadInputError(
        f"error must be a function that makes one, because {kind.__name__} cannot be made "
        "with a message alone"
    )


def _of_copies(error: BaseException) -> Callable[[], Any]:
    try:
        twin = copy.copy(error)
    except Exception:  # noqa: BLE001  # whatever its own constructor objects to
        twin = None
    if type(twin) is not type(error):
        raise BadInputError(
            f"error must be a function that makes one, because this {type(error).__name__} "
            "cannot be copied"
        )
    if hasattr(twin, "__notes__"):
        twin.__notes__ = list(twin.__notes__)

    def make() -> BaseException:
        fresh = copy.copy(twin)
        if hasattr(fresh, "__notes__"):
            fresh.__notes__ = list(fresh.__notes__)
        return fresh

    return make


def _refuse_exits(kind: type[BaseException]) -> None:
    if not issubclass(kind, Exception):
        raise BadInputError(
            f"error must be a subclass of Exception, got {kind.__name__}: "
            "cancellation and exits come from outside, not from a call"
        )
