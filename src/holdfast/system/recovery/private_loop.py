"""An event loop in a thread, for the async steps of one recovery in code that has no loop.

All steps of a recovery share it, so that what ``apply`` has connected can be used by ``verify``.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from holdfast.outcome import Err, Ok, Result
from holdfast.pipeline.streams import drop
from holdfast.pipeline.workers import abandoned
from holdfast.ports import ambient
from holdfast.system.recovery.errand import LateError

GRACE = 1.0
"""Seconds that a step which was told to stop may take to do so."""

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


class _Job:
    """One awaited step."""

    __slots__ = ("begun", "error", "left", "lock", "over", "result", "step", "task")

    def __init__(self, step: Callable[[], Awaitable[Any]]) -> None:
        self.step = step
        self.begun = False
        self.task: asyncio.Task[None] | None = None
        self.result: Result | None = None
        self.error: BaseException | None = None
        self.left = False
        self.lock = threading.Lock()
        self.over = threading.Event()

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return not self.over.is_set()

    async def run(self) -> None:
        self.begun = True
        try:
            self.result = Ok(await self.step())
        except asyncio.CancelledError:
            self.result = Err(RuntimeError("the step was cancelled"))
        except Exception as error:  # noqa: BLE001  # failures travel as values
            self.result = Err(error)
        except BaseException as error:  # noqa: BLE001  # raised where it was asked for
            self.error = error

    def ended(self, _task: object) -> None:
        if not self.begun:
            drop(self.step())  # cancelled before its first line
        with self.lock:
            self.over.set()
            if self.left:
                abandoned.change(-1)

    def leave(self) -> bool:
        with self.lock:
            if self.over.is_set():
                return False
            self.left = True
            abandoned.change(1)
            return True


class PrivateLoop:
    """Starts with the first step, and must be closed."""

    def __init__(self, factory: LoopFactory | None = None) -> None:
        self._factory = factory or asyncio.new_event_loop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.stray: _Job | None = None
        """The latest step that did not end when it was told to."""

    def run(self, step: Callable[[], Awaitable[Any]], seconds: float) -> Result:
        """Await what ``step`` returns, for so many seconds at most.

        Raises:
            BaseException: what the step raised, if that was no `Exception`.
        """
        loop = self._started()
        job = _Job(step)
        context = contextvars.copy_context()

        def begin() -> None:
            job.task = loop.create_task(job.run(), context=context)
            job.task.add_done_callback(job.ended)

        loop.call_soon_threadsafe(begin)
        try:
            if not ambient.wait(job.over, min(seconds, threading.TIMEOUT_MAX)):
                self._stop(job)
                return Err(LateError())
        except BaseException:
            self._stop(job)
            raise
        error, job.error = job.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error
        result, job.result = job.result, None
        return result or Err(RuntimeError("the step has not ended"))

    def close(self) -> None:
        """Cancel what still runs there and end the thread."""
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is None or thread is None:
            return
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(loop.stop)
        if self.stray is None:
            thread.join(GRACE)

    def _stop(self, job: _Job) -> None:
        if self._loop is not None and job.alive:
            self._loop.call_soon_threadsafe(lambda: job.task and job.task.cancel())
            if not ambient.wait(job.over, GRACE) and job.leave():
                self.stray = job

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            loop = self._loop = self._factory()
            self._thread = threading.Thread(
                target=_serve, args=(loop,), name="holdfast-recovery-loop", daemon=True
            )
            self._thread.start()
        return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
