"""Something else in place of a result that could not be had.

- A failure is replaced by a value or by what a function returns.
- If that function fails, too, the caller gets the *first* error, which is what
  its handlers are written for, with a note of the second.
- A function that does not ask for the error runs after the failed call's frames
  have been let go, so that there is room for what it does.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast import events
from holdfast.events import hub
from holdfast.outcome import Err, Ok, Result, describe
from holdfast.policies import checks
from holdfast.policies.call import Call
from holdfast.policies.effects import Flow, Run, Step
from holdfast.policies.frames import note, origin, release
from holdfast.policies.matching import Condition, Test, compile_condition, every_leaf, refuse_empty
from holdfast.policies.policy import Bound, Policy
from holdfast.ports import ambient

_COPIED = frozenset({list, dict, set, bytearray})


@dataclass(frozen=True, slots=True)
class Fallback(Policy):
    """Return ``value`` when the call fails, or what ``value(error)`` returns.

    ::

        Fallback([])                      # an empty list instead of an error
        Fallback(read_cache)              # def or async def, without an argument
        Fallback(lambda error: rescue(error))
    """

    value: Any
    """A value, or a function (sync or async). A function is called without arguments if it can
    be, else with the error (None for a result that was not accepted). A list, dict, set or
    bytearray is copied at each use, so that callers do not share it."""
    on: Condition = Exception
    """Which failures: exception types, a predicate, `ErrorCategory` values, or some of them. A
    group of exceptions is replaced only if all of its leaves are meant."""
    on_result: Callable[[Any], bool] | None = None
    """Says whether a returned value is to be replaced, too."""
    name: str = "fallback"
    _matches: Test = field(init=False, repr=False, compare=False)
    _takes_error: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        checks.hook("on_result", self.on_result)
        checks.label("name", self.name)
        if self.on_result is None:
            refuse_empty("on", self.on, "on_result")
        object.__setattr__(self, "_matches", compile_condition("on", self.on))
        object.__setattr__(self, "_takes_error", callable(self.value) and needs_one(self.value))

    def describe(self) -> str:
        """What is returned instead, in one line."""
        return f"Fallback: {self.value!r:.100}"

    def bound(self, inner: Bound) -> Bound:
        """A function may take as long as it likes after the call has failed."""
        return Bound(math.inf, inner.calls) if callable(self.value) else inner

    def flow(self, call: Call, inner: Step) -> Flow:
        """Run ``inner``; put the fallback in place of a failure."""
        result = yield from inner(call)
        if type(result) is Err:
            if not every_leaf(self._matches, result.error):
                return result
            why = describe(result.error)
        elif self.on_result is not None and self.on_result(result.value):
            why = "the result was not accepted"
        else:
            return result
        if callable(self.value):
            question = self._ask(result)
            substitute: Result = yield question
            # The driver's frame, which the error knows, keeps the last effect.
            question.arguments = ()
            if type(substitute) is Err:
                return self._failed(call, result, substitute)
        else:
            substitute = Ok(self.value.copy() if type(self.value) in _COPIED else self.value)
        call.change(f"{self.name}: used in place of {why}")
        if hub.active:
            hub.emit(events.FallbackUsed(self.name, ambient.now(), self.name, why))
        return substitute

    def _ask(self, result: Result) -> Run:
        if type(result) is not Err:
            return Run(self.value, (None,) if self._takes_error else ())
        if self._takes_error:
            return Run(self.value, (result.error,))
        came_from = origin(result.error)
        release(result.error)
        if came_from:
            note(result.error, f"before {self.name!r}: raised at ", came_from)
        return Run(self.value)

    def _failed(self, call: Call, result: Result, substitute: Err) -> Err:
        """The failure of a call whose fallback failed, too."""
        told = describe(substitute.error)
        call.say(f"{self.name}: failed, too: {told}")
        if type(result) is not Err:
            return substitute
        note(result.error, f"{self.name!r} failed, too: ", told)
        return result


def needs_one(function: Callable[..., Any]) -> bool:
    """Whether a function cannot be called without an argument, but with one by position."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return False  # some functions written in C have no signature
    try:
        signature.bind()
    except TypeError:
        return True
    return False
