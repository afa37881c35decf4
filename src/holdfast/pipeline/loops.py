"""Attempts as a loop around a block of code, driven by the very flow of a `Retry`.

Each turn of the loop is one attempt: the block reports how it ended, the flow
decides, and the loop waits before the next turn. A failure that will not be
repeated leaves the block as it was raised.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from contextvars import Token
from types import TracebackType
from typing import Any, Self

from holdfast.errors import BadInputError
from holdfast.outcome import Err, Ok, Result
from holdfast.pipeline import aio, sync
from holdfast.pipeline.compose import annotate, raise_error
from holdfast.pipeline.stack import governed
from holdfast.policies.call import Call
from holdfast.policies.effects import INVOKE, Effect, Flow, Invoke
from holdfast.policies.retry import Retry
from holdfast.policies.scope import Scope, child, current_scope, enter, leave_anywhere


class Attempt:
    """One turn: a block whose failure may be swallowed, because another turn follows."""

    __slots__ = ("_loop", "_mark", "number")

    def __init__(self, loop: Attempts, number: int) -> None:
        self._loop = loop
        self._mark: Token[Scope | None] | None = None
        self.number = number
        """Which attempt this is, from 1."""

    def reject(self, value: object = None) -> None:
        """Say that the block's result is to be judged by `retry_on_result`."""
        self._loop.value = value

    def __enter__(self) -> Self:
        self._mark = enter(self._loop.call.scope)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if self._mark is not None:
            leave_anywhere(self._mark)
        if error is not None and not isinstance(error, Exception):
            self._loop.interrupt(error)
            return False
        swallowed = self._loop.settle(Ok(self._loop.value) if error is None else Err(error))
        # Or this frame and the error would keep each other alive.
        del error, traceback
        return swallowed


class Attempts:
    """A loop over attempts, for `for` and for `async for`. Good for one loop."""

    __slots__ = ("_effect", "_flow", "_result", "_retry", "_waits", "call", "value")

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._flow: Flow | None = None
        self._effect: Effect | None = None
        self._result: Result | None = None
        self._waits = False
        """Whether a turn was handed out and has not ended."""
        self.call: Call
        self.value: object = None

    def __iter__(self) -> Iterator[Attempt]:
        self._begin()
        try:
            while self._effect is not None:
                if type(self._effect) is Invoke:
                    yield self._turn()
                    self._check_entered()
                else:
                    self._advance(sync.answer_to(self._effect, self.call))
            self._end()
        finally:
            self.call.scope.live = False

    async def __aiter__(self) -> AsyncIterator[Attempt]:
        self._begin()
        try:
            while self._effect is not None:
                if type(self._effect) is Invoke:
                    yield self._turn()
                    self._check_entered()
                else:
                    self._advance(await aio.answer_to(self._effect, self.call))
            self._end()
        finally:
            self.call.scope.live = False

    def settle(self, result: Result) -> bool:
        """Tell the flow how a turn ended; True if its failure is to be swallowed."""
        self._waits = False
        self._advance(result)
        ended = self._effect is None
        last = self._result
        if ended and type(result) is Err and type(last) is Err and last.error is result.error:
            annotate(result.error, self.call.report(), self.call.name)
            self._result = None
            return False
        return type(result) is Err

    def interrupt(self, error: BaseException) -> None:
        """Let the flow give back what it holds."""
        self._waits = False
        if self._flow is not None:
            # What comes out again is on its way out of the block anyway.
            with suppress(BaseException):
                self._flow.throw(error)
            self._effect = None

    def _begin(self) -> None:
        if self._flow is not None:
            raise BadInputError("attempts() makes one loop; call it again for another")
        self.call = Call(self._retry.name, child(current_scope()), _no_function, (), {})
        self.call.governed = governed
        self._flow = self._retry.flow(self.call, _innermost)
        self._advance(None)

    def _check_entered(self) -> None:
        if self._waits:
            raise BadInputError("each attempt must be entered: for attempt in ...: with attempt:")

    def _turn(self) -> Attempt:
        self.value = None
        self._waits = True
        self.call.attempts += 1
        self.call.scope.folds = True
        return Attempt(self, self.call.attempts)

    def _advance(self, answer: Any) -> None:
        if self._flow is None:
            return
        self._effect = None
        try:
            self._effect = self._flow.send(answer)
        except StopIteration as end:
            self._result = end.value

    def _end(self) -> None:
        if type(self._result) is Err:
            failed, self._result = self._result, None
            annotate(failed.error, self.call.report(), self.call.name)
            raise_error(failed)


def _no_function() -> None:
    return None


def _innermost(call: Call) -> Flow:  # noqa: ARG001  # the shape of a step
    result: Result = yield INVOKE
    return result
