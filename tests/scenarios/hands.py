"""Stepping flows by hand: no clock that moves by itself, no driver, no mock.

A `Hands` plays the driver of one flow. The test looks at the effect the flow
asks for, and answers it: with what the protected function would have given,
with the end of a wait, or with an interruption.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from holdfast.events import Event, listen
from holdfast.outcome import Err, Ok
from holdfast.policies.call import Call
from holdfast.policies.effects import INVOKE, Effect, Flow, Invoke
from holdfast.policies.policy import Policy
from holdfast.policies.scope import child
from holdfast.ports import ambient


def innermost(call: Call) -> Flow:
    """The protected function, as seen by the policy around it."""
    return (yield INVOKE)


def nothing() -> None:
    """A protected function that is never called, because a test answers for it."""


def new_call(name: str = "test") -> Call:
    """A call outside every other one."""
    return Call(name, child(None), nothing, (), {})


class Hands:
    """The driver of one flow, in the hands of a test."""

    def __init__(self, policy: Policy, call: Call | None = None, inner: Any = innermost) -> None:
        self.call = new_call() if call is None else call
        self.flow = policy.flow(self.call, inner)
        self.effect: Effect | None = None
        """What the flow asks for now; None when it has ended."""
        self.result: Ok | Err | None = None
        """How it ended; None while it has not."""
        self.give(None)

    def give(self, answer: Any) -> Effect | None:
        """Answer the flow's last wish, and see the next one."""
        try:
            self.effect = self.flow.send(answer)
        except StopIteration as end:
            self.effect, self.result = None, end.value
        return self.effect

    def succeed(self, value: Any = None) -> Effect | None:
        """The protected function returns."""
        assert type(self.effect) is Invoke
        return self.give(Ok(value))

    def fail(self, error: Exception) -> Effect | None:
        """The protected function raises."""
        assert type(self.effect) is Invoke
        return self.give(Err(error))

    def interrupt(self, error: BaseException) -> None:
        """The call is ended from outside; the flow must let that pass."""
        with pytest.raises(type(error)) as passed:
            self.flow.throw(error)
        assert passed.value is error
        self.effect = None

    @property
    def runs(self) -> bool:
        """Whether the flow waits for the protected function now."""
        return type(self.effect) is Invoke

    @property
    def value(self) -> Any:
        """What the flow returned."""
        assert type(self.result) is Ok
        return self.result.value

    @property
    def error(self) -> Exception:
        """What the flow failed with."""
        assert type(self.result) is Err
        return self.result.error


@contextmanager
def chance(number: float) -> Iterator[None]:
    """Let every draw of chance be ``number``."""
    kept, ambient.chance = ambient.chance, lambda: number
    try:
        yield
    finally:
        ambient.chance = kept


@contextmanager
def heard() -> Iterator[list[Event]]:
    """All events of a block, in order."""
    events: list[Event] = []
    with listen(events.append):
        yield events


def kinds(events: list[Event]) -> list[str]:
    """The names of the events, in order."""
    return [type(event).__name__ for event in events]
