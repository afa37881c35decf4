"""Which calls are on their way through a pipeline, so that it can be closed in good order.

Calls run by flows have an entry each. Those on the hot path are found on the
stacks of their threads and tasks, when somebody asks: see `stack`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from holdfast.pipeline.alarms import AlarmQueue
from holdfast.pipeline.stack import calls_of, tasks_of
from holdfast.policies.scope import Scope
from holdfast.ports import ambient

POLL = 0.01
"""Seconds between two looks at calls nobody can wait for directly."""


@dataclass(frozen=True, slots=True)
class Closed:
    """How closing went."""

    finished: int
    """Calls that ended by themselves while it was waited for them."""
    cancelled: int
    """Calls that were cancelled when the time was up."""
    left: int
    """Calls that run on: sync ones cannot be cancelled."""


class Inflight:
    """The calls of one pipeline."""

    __slots__ = ("_lock", "_queues", "entries", "given_up", "shut")

    def __init__(self) -> None:
        self.shut: list[None] = []
        """Holds something once the pipeline is closed; a list, so that a hot path can ask it."""
        self.given_up: list[None] = []
        """Holds something once nobody waits any more for the calls that are left."""
        self.entries: dict[Scope, asyncio.Task[object] | None] = {}
        """Calls run by flows, with their task if they have one."""
        self._lock = threading.Lock()
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, AlarmQueue] = WeakKeyDictionary()

    def queue(self, loop: asyncio.AbstractEventLoop) -> AlarmQueue:
        """The queue of alarms, and so of async calls, in the running loop."""
        # Asked once for each loop, but loops of several threads may ask at once.
        with self._lock:
            queue = self._queues.get(loop)
            if queue is None:
                # A closed loop's timers would keep it alive for ever.
                for other in [other for other in list(self._queues) if other.is_closed()]:
                    self._queues.pop(other, None)
                queue = self._queues[loop] = AlarmQueue()
            return queue

    @property
    def count(self) -> int:
        """Calls on their way now."""
        # What waits in a loop that was closed will never end.
        tasks = [task for task in list(self.entries.values()) if not _is_lost(task)]
        return calls_of(self) + len(tasks)

    def close(self, limit: float) -> Closed:
        """Let no more calls in, and wait for those inside; for code without an event loop."""
        began, until = self._shut(), ambient.now() + limit
        while self.count and (left := until - ambient.now()) > 0:
            ambient.sleep(min(POLL, left))
        return self._cancel_rest(began, None)

    async def aclose(self, limit: float) -> Closed:
        """Let no more calls in, wait for those inside, and cancel what is left."""
        began, until = self._shut(), ambient.now() + limit
        me = asyncio.current_task()
        while self.count and (left := until - ambient.now()) > 0:  # noqa: ASYNC110
            # Calls may end in other threads and loops, where nothing of this one can be set.
            await asyncio.sleep(min(POLL, left))
        closed = self._cancel_rest(began, me)
        for _ in range(100):
            # Cancelled calls need a moment to give back what they hold.
            if self.count <= closed.left:
                break
            await asyncio.sleep(POLL if closed.cancelled else 0)
        return closed

    def _shut(self) -> int:
        self.shut.append(None)
        return self.count

    def _cancel_rest(self, began: int, me: asyncio.Task[object] | None) -> Closed:
        self.given_up.append(None)
        left = self.count
        cancelled = 0
        for task in set(self._tasks()):
            if task is me or task.done():
                continue
            try:
                task.get_loop().call_soon_threadsafe(task.cancel)
            except RuntimeError:
                continue  # its loop is closed, and so it will never run again
            cancelled += 1
        return Closed(max(0, began - left), cancelled, max(0, left - cancelled))

    def _tasks(self) -> Iterator[asyncio.Task[object]]:
        yield from tasks_of(self)
        yield from (task for task in list(self.entries.values()) if task is not None)


def _is_lost(task: asyncio.Task[object] | None) -> bool:
    return task is not None and task.get_loop().is_closed()
