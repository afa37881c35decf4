"""The two drivers of a recovery: one for asyncio, one for threads. Neither decides anything.

A ``def`` runs in a thread of its own in both; an ``async def`` in the caller's loop, or in a
private one where the caller has none.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from holdfast.outcome import Err, Ok, Result
from holdfast.pipeline.streams import drop, kind_of
from holdfast.pipeline.waking import resolve, waker
from holdfast.policies.ticket import Ticket
from holdfast.ports import ambient
from holdfast.system.recovery.errand import Errand, LateError
from holdfast.system.recovery.plan import Await, Do, Plan
from holdfast.system.recovery.private_loop import LoopFactory, PrivateLoop
from holdfast.system.recovery.result import RecoveryResult


async def perform(plan: Plan) -> RecoveryResult:
    """Run a plan to its end, in a task."""
    answer: Any = None
    interruption: BaseException | None = None
    try:
        while True:
            try:
                if interruption is None:
                    effect = plan.send(answer)
                else:
                    effect = plan.throw(interruption)
                    interruption = None
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            answer = None
            try:
                answer = await (_do(effect) if type(effect) is Do else _wait(effect))
            except BaseException as error:  # noqa: BLE001  # the plan must give back what it holds
                interruption = error
    finally:
        # Or the frames of what failed and this one would keep each other alive.
        del interruption, answer


async def _do(effect: Do | Await) -> Result:
    if not isinstance(effect, Do):
        raise TypeError(f"not to be done: {effect!r}")
    if effect.seconds <= 0:
        return Err(LateError())
    began = ambient.now()
    if kind_of(effect.method) == "async":
        return await _awaited(effect.step, effect.seconds)
    result = await _in_thread(effect)
    if type(result) is Ok and inspect.isawaitable(result.value):
        value = result.value
        left = effect.seconds - (ambient.now() - began)
        if left <= 0:
            drop(value)
            return Err(LateError())
        return await _awaited(lambda: value, left)
    return result


async def _awaited(step: Callable[[], Awaitable[Any]], seconds: float) -> Result:
    limit = asyncio.timeout(max(0.0, seconds))
    try:
        async with limit:
            return Ok(await step())
    except TimeoutError as error:
        return Err(LateError()) if limit.expired() else Err(error)
    except Exception as error:  # noqa: BLE001  # failures travel as values
        return Err(error)


async def _in_thread(effect: Do) -> Result:
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    errand = Errand(effect.step)
    timer = loop.call_later(effect.seconds, resolve, over)
    try:
        if not errand.start(waker(loop, over)):
            return errand.answer()
        await over
    except BaseException:
        if errand.leave():
            effect.stray = errand
        raise
    finally:
        timer.cancel()
    if errand.leave():
        effect.stray = errand
        return Err(LateError())
    return errand.answer()


async def _wait(effect: Do | Await) -> None:
    if not isinstance(effect, Await):
        raise TypeError(f"not to be waited for: {effect!r}")
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    effect.ticket.attach(waker(loop, over))
    timer = loop.call_later(max(0.0, effect.seconds), resolve, over)
    try:
        await over
    finally:
        timer.cancel()


def perform_sync(plan: Plan, factory: LoopFactory | None) -> RecoveryResult:
    """Run a plan to its end, blocking the calling thread."""
    answer: Any = None
    interruption: BaseException | None = None
    private = PrivateLoop(factory)
    try:
        while True:
            try:
                if interruption is None:
                    effect = plan.send(answer)
                else:
                    effect = plan.throw(interruption)
                    interruption = None
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            answer = None
            try:
                if isinstance(effect, Do):
                    answer = _do_sync(effect, private)
                else:
                    _wait_sync(effect.ticket, effect.seconds)
            except BaseException as error:  # noqa: BLE001  # the plan must give back what it holds
                interruption = error
    finally:
        private.close()
        del interruption, answer


def _do_sync(effect: Do, private: PrivateLoop) -> Result:
    began = ambient.now()
    if kind_of(effect.method) == "async":
        return _privately(effect, effect.step, effect.seconds, private)
    result = _in_thread_sync(effect)
    if type(result) is not Ok or not inspect.isawaitable(result.value):
        return result
    value = result.value
    left = effect.seconds - (ambient.now() - began)
    if left > 0:
        return _privately(effect, lambda: value, left, private)
    drop(value)
    return Err(LateError())


def _in_thread_sync(effect: Do) -> Result:
    errand = Errand(effect.step)
    if effect.seconds <= 0:
        return Err(LateError())
    try:
        if not errand.start(_nobody):
            return errand.answer()
        ambient.wait(errand.over, min(effect.seconds, threading.TIMEOUT_MAX))
    except BaseException:
        if errand.leave():
            effect.stray = errand
        raise
    if errand.leave():
        effect.stray = errand
        return Err(LateError())
    return errand.answer()


def _privately(
    effect: Do, step: Callable[[], Awaitable[Any]], seconds: float, private: PrivateLoop
) -> Result:
    try:
        return private.run(step, max(0.0, seconds))
    finally:
        effect.stray = private.stray


def _wait_sync(ticket: Ticket, seconds: float) -> None:
    over = threading.Event()

    def wake() -> bool:
        over.set()
        return True

    ticket.attach(wake)
    ambient.wait(over, min(max(0.0, seconds), threading.TIMEOUT_MAX))


def _nobody() -> None:
    """Nobody is told."""
