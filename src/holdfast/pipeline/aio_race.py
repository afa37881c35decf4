"""Races between tasks: the first good result wins, the losers are cancelled and awaited.

- Whatever ends the race from outside, the losers have ended before it passes on, and
  a second cancellation does not cut that short. One that ignores its cancellation is
  waited for `GRACE` seconds, then left to itself, and its late result is disposed of.
- What a hook raises is told and forgotten.
- An interrupted race tells the call whether the function was at work in any of
  its branches, as a breaker further out must know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from holdfast import events
from holdfast.events import hub
from holdfast.outcome import Ok, Result, describe
from holdfast.policies.call import Call
from holdfast.policies.effects import Flow, Race, Raced, Step
from holdfast.policies.scope import enter, leave
from holdfast.ports import ambient

GRACE = 5.0
"""Seconds a cancelled loser gets to clean up before the winner's result is handed over."""

Perform = Callable[[Flow, Call], Awaitable[Result]]

_leavers: set[asyncio.Task[Any]] = set()
"""What outlasts its race; kept, because a loop forgets tasks nobody holds."""


async def race(effect: Race, call: Call, perform: Perform) -> Raced:
    """Run flows against each other."""
    heat = _Heat(effect, call, perform)
    try:
        raced = await heat.run()
    except BaseException:
        call.running += sum(branch.running for _, branch in heat.runners.values())
        try:
            await heat.stop()
        finally:
            queued = [branch.scope.queued_out for _, branch in heat.runners.values()]
            call.ended_in_queue(yes=bool(queued) and all(queued))
        raise
    try:
        await heat.stop()
    except BaseException:
        # Nobody is left to take the winner's result.
        hook = _discard(effect, raced.result, "the call was cancelled")
        if hook is not None:
            await _outlast([hook], heat.loop.time() + GRACE)
        raise
    return raced


class _Heat:
    """One race."""

    __slots__ = ("call", "effect", "loop", "perform", "runners", "started")

    def __init__(self, effect: Race, call: Call, perform: Perform) -> None:
        self.effect = effect
        self.call = call
        self.perform = perform
        self.loop = asyncio.get_running_loop()
        self.started = 0
        self.runners: dict[asyncio.Task[Result], tuple[int, Call]] = {}
        """Those that have not been looked at since they ended, in the order of their start."""

    async def run(self) -> Raced:
        """Wait for the first good result, starting others when it is time."""
        effect = self.effect
        self._start(effect.first)
        due, more = self.loop.time() + effect.delay(), True
        while True:
            wait = max(0.0, due - self.loop.time()) if more else None
            await asyncio.wait(self.runners, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            last, result = self._ended()
            if result is not None and effect.good(result):
                return Raced(last, self.started, result)
            failed = result is not None
            if more and (failed or self.loop.time() >= due):
                step = effect.another(self.started, failed)
                if step is not None:
                    self._start(step)
                    due = self.loop.time() + effect.delay()
                else:
                    # After a failure the answer was about that failure; its turn may still come.
                    more = failed
            if result is not None and not self.runners:
                return Raced(last, self.started, result)
            # While others run, what failed holds memory that they may need.
            result = None

    async def stop(self) -> None:
        """Cancel the losers and wait for them, also while being cancelled oneself."""
        for task in self.runners:
            task.cancel()
        until = self.loop.time() + GRACE
        cancelled = await _outlast(self.runners, until)
        hooks = []
        for task, (_, branch) in self.runners.items():
            self.call.attempts += branch.attempts
            if not task.done():
                _leavers.add(task)
                task.add_done_callback(self._late)
            elif (hook := self._lose(task)) is not None:
                hooks.append(hook)
        if hooks:
            later = await _outlast(hooks, until)
            cancelled = cancelled if later is None else later
        if cancelled is not None:
            raise asyncio.CancelledError(*cancelled)

    def _ended(self) -> tuple[int, Result | None]:
        """The first good result of those that have ended, or the last one; None if none has."""
        last, result = 0, None
        for task in [task for task in self.runners if task.done()]:
            last, branch = self.runners.pop(task)
            self.call.attempts += branch.attempts
            result = task.result()
            if self.effect.good(result):
                break
        return last, result

    def _start(self, step: Step) -> None:
        branch = self.call.fork()
        name = f"holdfast-{self.effect.policy}-{self.started}"
        task = asyncio.create_task(_branch(self.perform, step, branch), name=name)
        self.runners[task] = self.started, branch
        self.started += 1

    def _lose(self, task: asyncio.Task[Result]) -> asyncio.Task[None] | None:
        """Dispose of how a loser ended; its error, too, has then been seen."""
        if task.cancelled() or task.exception() is not None:
            return None
        return _discard(self.effect, task.result(), "a race was lost")

    def _late(self, task: asyncio.Task[Result]) -> None:
        _leavers.discard(task)
        self._lose(task)


async def _branch(perform: Perform, step: Step, branch: Call) -> Result:
    # A task has a context of its own, so this is seen by nobody else.
    scope = branch.scope
    mark = enter(scope)
    try:
        return await perform(step(branch), branch)
    finally:
        scope.live = False
        leave(mark)


async def _outlast(tasks: Collection[asyncio.Task[Any]], until: float) -> tuple[Any, ...] | None:
    """Wait for tasks; the arguments of the last cancellation that came meanwhile, or None."""
    cancelled: tuple[Any, ...] | None = None
    loop = asyncio.get_running_loop()
    while pending := [task for task in tasks if not task.done()]:
        left = until - loop.time()
        if left <= 0:
            break
        try:
            await asyncio.wait(pending, timeout=left)
        except asyncio.CancelledError as error:
            # Its words only: an error kept by the frame that caught it would be a cycle.
            cancelled = error.args
    return cancelled


def _discard(effect: Race, result: Result, why: str) -> asyncio.Task[None] | None:
    """Hand a result nobody wants to the user's hook; a task if the hook is async."""
    if type(result) is not Ok:
        return None
    if hub.active:
        hub.emit(events.ResultDiscarded(effect.policy, ambient.now(), why))
    if effect.dispose is None:
        return None
    try:
        answer: Any = effect.dispose(result.value)
    except Exception as error:  # noqa: BLE001  # a hook must not spoil the winner's result
        _hook_failed(effect, error)
        return None
    if not hasattr(answer, "__await__"):
        return None
    task = asyncio.ensure_future(_await_hook(effect, answer))
    _leavers.add(task)
    task.add_done_callback(_leavers.discard)
    return task


async def _await_hook(effect: Race, answer: Awaitable[object]) -> None:
    try:
        await answer
    except Exception as error:  # noqa: BLE001  # likewise
        _hook_failed(effect, error)


def _hook_failed(effect: Race, error: Exception) -> None:
    if hub.active:
        reason = f"its hook failed: {describe(error)}"
        hub.emit(events.ResultDiscarded(effect.policy, ambient.now(), reason))
