"""Time limits for asyncio at a fraction of the price of a timer per call.

Limits of the same length end in the order in which they began. They share a
queue (a pipeline's hot path has one of its own) and one timer, set
for the first of them: a call that ends in time costs an insertion and a removal,
and the timer, when it goes off, finds most of them gone. (The idea of timing
wheels: Varghese and Lauck, 1987, with one wheel per duration.)

- An alarm cancels its task. Whoever armed it tells that apart from the caller's
  own cancellation with `disarm`, as `asyncio.timeout` does: by counting.
- A queue belongs to one loop and is touched only in that loop's thread.
"""

from __future__ import annotations

import asyncio
import math
import threading
from typing import Any
from weakref import WeakKeyDictionary

from holdfast.policies.scope import Scope
from holdfast.ports import ambient


class Alarm(Scope):
    """A limit on what one task does now; also the scope of the call it limits."""

    __slots__ = ("at", "before", "queue", "single", "task")

    task: Any
    """The asyncio task, as long as the call lasts."""
    at: float
    """Monotonic seconds when it goes off."""
    before: int
    """How many cancellations the task had pending when the alarm was set."""
    queue: AlarmQueue
    single: bool
    """Whether its queue is its own."""


class AlarmQueue:
    """Alarms of one duration in one loop, soonest first."""

    __slots__ = ("alarms", "timer")

    def __init__(self) -> None:
        # A dict keeps the order of insertion and removes from the middle at once.
        self.alarms: dict[Alarm, None] = {}
        self.timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Have a timer running for the first alarm."""
        if self.timer is None and self.alarms:
            first = next(iter(self.alarms))
            seconds = max(0.0, first.at - ambient.now())
            self.timer = asyncio.get_running_loop().call_later(seconds, self.ring)

    def ring(self) -> None:
        """Cancel every task whose time is up."""
        self.timer = None
        now = ambient.now()
        # Timers may go off a clock tick early.
        due = now + 1e-6
        while self.alarms:
            alarm = next(iter(self.alarms))
            if alarm.at > due:
                break
            del self.alarms[alarm]
            if not alarm.rang:
                alarm.rang = True
                alarm.task.cancel()
        self.watch()


def arm(alarm: Alarm, task: asyncio.Task[object], seconds: float, queue: AlarmQueue | None) -> None:
    """Set an alarm, in ``queue`` if that is of its length, else with a timer of its own."""
    alarm.task = task
    alarm.before = task.cancelling()
    alarm.at = ambient.now() + seconds
    alarm.rang = False
    alarm.single = queue is None
    alarm.queue = AlarmQueue() if queue is None else queue
    if seconds != math.inf:
        alarm.queue.alarms[alarm] = None
        alarm.queue.watch()


def disarm(alarm: Alarm) -> bool:
    """Set an alarm off duty; True if it, and nobody else, has cancelled the task.

    The task's count of cancellations is left as the caller made it.
    """
    queue = alarm.queue
    queue.alarms.pop(alarm, None)
    if not queue.alarms and queue.timer is not None and alarm.single:
        queue.timer.cancel()
        queue.timer = None
    if not alarm.rang:
        return False
    left: int = alarm.task.uncancel()
    return left <= alarm.before


_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[float, AlarmQueue]]
_queues = WeakKeyDictionary()
_asking = threading.Lock()
KEPT = 64
"""Durations remembered per loop; beyond that, those not in use are forgotten."""


def queue_for(loop: asyncio.AbstractEventLoop, seconds: float) -> AlarmQueue:
    """The running loop's shared queue for limits of this length."""
    # Loops of several threads may ask at once, and each asks about itself.
    with _asking:
        queues = _queues.get(loop)
        if queues is None:
            # A closed loop's timers would keep it alive for ever.
            for other in [other for other in list(_queues) if other.is_closed()]:
                _queues.pop(other, None)
            queues = _queues[loop] = {}
    queue = queues.get(seconds)
    if queue is None:
        if len(queues) >= KEPT:
            for unused in [length for length, known in queues.items() if not known.alarms]:
                del queues[unused]
        queue = queues[seconds] = AlarmQueue()
    return queue


def current_task() -> asyncio.Task[object]:
    """The task that is running.

    Raises:
        RuntimeError: there is none.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a time limit needs a task: run this in an asyncio task")
    return task
