"""Steps of a strategy whose functions, given by the user, may be sync or async.

A strategy writes its work once, as a generator that yields what those functions returned and
gets it back, awaited if need be. With sync functions it runs through at once; the first
awaitable turns the rest into an awaitable, which the driver of the recovery awaits.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from holdfast.pipeline.streams import drop
from holdfast.ports import ambient

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for so many seconds."""

    seconds: float


Asking = Generator[Any, Any, T]
"""Yields a `Pause`, a value or an awaitable; gets None, the value, or what it came to."""


def settle(steps: Asking[T]) -> T | Awaitable[T]:
    """The result of the steps, or an awaitable of it."""
    answer: Any = None
    while True:
        try:
            asked = steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        if inspect.isawaitable(asked):
            return _go_on(steps, asked)
        if isinstance(asked, Pause):
            ambient.sleep(max(0.0, asked.seconds))
            asked = None
        answer = asked


def settle_sync(steps: Asking[T]) -> T:
    """The result of the steps, none of which may be async.

    Raises:
        TypeError: one of them is.
    """
    answer: Any = None
    try:
        while True:
            asked = steps.send(answer)
            if inspect.isawaitable(asked):
                drop(asked)
                raise TypeError("a function given here is async, and this call is sync")
            if isinstance(asked, Pause):
                ambient.sleep(max(0.0, asked.seconds))
                asked = None
            answer = asked
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()


async def _go_on(steps: Asking[T], asked: Any) -> T:
    try:
        while True:
            try:
                answer = await _answer(asked)
            except Exception as error:  # noqa: BLE001  # it belongs to the steps
                asked = steps.throw(error)
            else:
                asked = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()


async def _answer(asked: Any) -> Any:
    if isinstance(asked, Pause):
        return await asyncio.sleep(max(0.0, asked.seconds))
    return await asked if inspect.isawaitable(asked) else asked
