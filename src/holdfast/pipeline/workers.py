"""Worker threads for sync work that must not hold up its caller.

A thread cannot be stopped from outside without breaking what it holds. When its
time is up, the caller goes on and the worker is *abandoned*: it is counted, its
deadline says that it is over, its late result is disposed of, and past `CAP`
abandoned workers no new one starts. Each runs in a copy of its caller's context.
"""

from __future__ import annotations

import contextvars
import math
import threading
from collections.abc import Callable
from types import CoroutineType
from typing import Any

from holdfast import events
from holdfast.errors import RejectedError
from holdfast.events import hub
from holdfast.outcome import Err, Ok, Result, describe
from holdfast.pipeline.streams import TurnedAsyncError, drop
from holdfast.policies.call import Call
from holdfast.policies.effects import Flow, Within
from holdfast.policies.scope import Scope, enter, leave
from holdfast.ports import ambient

CAP = 64
"""Abandoned workers after which no work is begun in a new one."""

Dispose = Callable[[object], object]


class Abandoned:
    """How many workers run on although nobody waits for them."""

    __slots__ = ("_count", "_lock")

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """Workers left behind that have not ended."""
        return self._count

    def change(self, by: int) -> None:
        """Count one more or one less."""
        with self._lock:
            self._count += by


abandoned = Abandoned()


class Worker:
    """One flow in one thread."""

    __slots__ = ("_lock", "dispose", "error", "left_behind", "over", "policy", "result")

    def __init__(self, policy: str, dispose: Dispose | None) -> None:
        self.policy = policy
        """Who wanted it; named in events."""
        self.dispose = dispose
        """What to do with a result that nobody waits for."""
        self.over = threading.Event()
        self.result: Result | None = None
        self.error: BaseException | None = None
        self.left_behind = False
        self._lock = threading.Lock()

    def finish(self) -> bool:
        """Say that the work is over; True if nobody waits for it any more."""
        with self._lock:
            self.over.set()
            if self.left_behind:
                abandoned.change(-1)
            return self.left_behind

    def leave_behind(self) -> bool:
        """Wait no more; False if the work has just ended after all."""
        with self._lock:
            if self.over.is_set():
                return False
            self.left_behind = True
            # Under the lock, or the worker could be counted off before it is counted.
            abandoned.change(1)
            return True

    def answer(self) -> Result:
        """What the flow returned, or raised.

        Raises:
            BaseException: what ended the flow.
        """
        # Taken out: the frames of a failure know the worker, and would keep it and each other.
        result, self.result = self.result, None
        error, self.error = self.error, None
        if error is None:
            return result or Err(RejectedError(f"{self.policy}: the worker did nothing"))
        try:
            raise error
        finally:
            # Or this frame and the error would keep each other alive.
            del error

    def throw_away(self, why: str) -> None:
        """Dispose of how it ended, because nobody wants it."""
        result, self.result = self.result, None
        if type(result) is Ok:
            throw_away(result.value, self.dispose, self.policy, why)
        elif isinstance(self.error, TurnedAsyncError):
            drop(self.error.awaitable)


def throw_away(value: object, dispose: Dispose | None, policy: str, why: str) -> None:
    """Hand a result nobody wants to the user's hook; never raises an `Exception`."""
    if hub.active:
        hub.emit(events.ResultDiscarded(policy, ambient.now(), why))
    if dispose is None:
        return
    try:
        answer: Any = dispose(value)
    except Exception as error:  # noqa: BLE001  # a hook must not end a thread or spoil a result
        told = describe(error)
    else:
        if type(answer) is not CoroutineType:
            return
        answer.close()
        told = "it is async, and this call is sync"
    if hub.active:
        hub.emit(events.ResultDiscarded(policy, ambient.now(), f"its hook failed: {told}"))


def spawn(
    step: Callable[[], Result], branch: Call, worker: Worker, ended: Callable[[], object]
) -> None:
    """Run ``step`` in a thread, as ``branch``; ``ended`` is told when it is over.

    Raises:
        RuntimeError: the system has no thread to give.
    """

    def body() -> None:
        scope = branch.scope
        mark = enter(scope)
        try:
            worker.result = step()
        except BaseException as error:  # noqa: BLE001  # it is raised where the work was asked for
            worker.error = error
        scope.live = False
        leave(mark)
        if worker.finish():
            worker.throw_away("it came too late")
        ended()

    # A retry below on this thread's stack cannot be seen from another thread's.
    if branch.governed():
        branch.scope.folds = True
    context = contextvars.copy_context()
    name = f"holdfast-{worker.policy}"
    threading.Thread(target=context.run, args=(body,), name=name, daemon=True).start()


def walk_away(worker: Worker, branch: Call, outer: Scope, *, late: bool) -> bool:
    """Go on without a worker; False if it has just ended after all.

    If it is ``late``, its breakers count that as a failure, now; else it counts for nobody.
    """
    if not worker.leave_behind():
        return False
    branch.leave_behind(failed=late)
    now = ambient.now()
    # Whoever reads its deadline in there sees that it is over, and no attempt begins any more.
    scope: Scope | None = branch.scope
    while scope is not None and scope is not outer:
        scope.deadline = min(scope.deadline, now)
        scope = scope.parent
    if hub.active:
        hub.emit(events.WorkerAbandoned(worker.policy, now, abandoned.count))
    return True


def in_worker(
    effect: Within,
    call: Call,
    perform: Callable[[Flow, Call], Result],
    quiet_left: Callable[[], float] | None,
) -> Result | None:
    """Run a flow in a worker until its scope's deadline; None when the time was up first."""
    if abandoned.count >= CAP:
        return Err(
            RejectedError(
                f"{effect.policy}: {CAP} workers run on after their time limit; "
                "no further one is started until some of them end"
            )
        )
    # The worker may outlive the call; it must not touch what the call does next.
    branch = call.fork()
    worker = Worker(effect.policy, effect.dispose)
    spawn(lambda: perform(effect.flow(branch), branch), branch, worker, _nobody)
    deadline = call.scope.deadline
    try:
        while not worker.over.is_set():
            left = deadline - ambient.now()
            if quiet_left is not None:
                left = min(left, quiet_left())
            if left <= 0:
                break
            ambient.wait(worker.over, None if left == math.inf else left)
    except BaseException:
        if not walk_away(worker, branch, call.scope, late=False):
            worker.throw_away("the call was interrupted")
        raise
    finally:
        call.attempts += branch.attempts
        call.running += branch.running
    if walk_away(worker, branch, call.scope, late=True):
        call.say(f"{effect.policy}: left a worker thread behind; {abandoned.count} run on")
        return None
    return worker.answer()


def _nobody() -> None:
    """Nobody is told."""
