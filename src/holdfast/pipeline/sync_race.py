"""Races between threads. A loser cannot be stopped: it is told by its deadline, and left behind."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from holdfast.outcome import Result
from holdfast.pipeline.workers import CAP, Worker, abandoned, spawn, walk_away
from holdfast.policies.call import Call
from holdfast.policies.effects import Flow, Race, Raced, Step
from holdfast.ports import ambient

Perform = Callable[[Flow, Call], Result]


def race(effect: Race, call: Call, perform: Perform) -> Raced:
    """Run flows against each other in worker threads."""
    heat = _Heat(effect, call, perform)
    if not heat.start(effect.first):
        # Without room for losers there is no race, only the one call.
        return Raced(0, 1, perform(effect.first(call), call))
    heat.begin()
    try:
        return heat.run()
    finally:
        heat.leave_losers()


class _Heat:
    """One race."""

    __slots__ = ("call", "effect", "finished", "news", "perform", "running", "started", "waiting")

    def __init__(self, effect: Race, call: Call, perform: Perform) -> None:
        self.effect = effect
        self.call = call
        self.perform = perform
        self.started = 0
        self.running: dict[int, tuple[Worker, Call]] = {}
        self.finished: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.news = threading.Event()
        self.waiting: threading.Event | None = None
        """Lets the latest one begin; it has a thread and waits."""

    def start(self, step: Step) -> bool:
        """Have one more wait for `begin`; False if there is no room for it."""
        if abandoned.count >= CAP:
            return False
        number, branch = self.started, self.call.fork()
        worker = Worker(self.effect.policy, self.effect.dispose)
        perform, finished, news = self.perform, self.finished, self.news
        may_begin = threading.Event()

        def run() -> Result:
            may_begin.wait()
            return perform(step(branch), branch)

        def ended() -> None:
            finished.put(number)
            news.set()

        try:
            spawn(run, branch, worker, ended)
        except RuntimeError:
            return False
        self.running[number] = worker, branch
        self.started += 1
        self.waiting = may_begin
        return True

    def begin(self) -> None:
        """Let the latest one begin, if it has not."""
        if self.waiting is not None:
            self.waiting.set()
            self.waiting = None

    def run(self) -> Raced:
        """Wait for the first good result, starting others when it is time."""
        effect, call = self.effect, self.call
        due, more = ambient.now() + effect.delay(), True
        while True:
            self._wait(due if more else None)
            last, result = self._ended()
            if result is not None and effect.good(result):
                return Raced(last, self.started, result)
            if call.left() <= 0:
                return Raced(last, self.started, result or call.blame_deadline())
            failed = result is not None
            if more and (failed or ambient.now() >= due):
                room = abandoned.count < CAP
                step = effect.another(self.started, failed) if room else None
                if step is not None and self.start(step):
                    due = ambient.now() + effect.delay()
                else:
                    # After a failure the answer was about that failure; its turn may still come.
                    more = failed and room and step is None
            if result is not None and not self.running:
                return Raced(last, self.started, result)
            # While others run, what failed holds memory that they may need.
            result = None
            self.begin()

    def leave_losers(self) -> None:
        """Go on without those that still run."""
        self.begin()
        for worker, branch in self.running.values():
            self.call.attempts += branch.attempts
            if not walk_away(worker, branch, self.call.scope, late=False):
                worker.throw_away("a race was lost")
        self.running.clear()

    def _wait(self, due: float | None) -> None:
        """Wait for news, for the next start, or for the deadline."""
        seconds = self.call.left()
        if due is not None:
            seconds = min(seconds, due - ambient.now())
        ambient.wait(self.news, None if seconds > threading.TIMEOUT_MAX else max(0.0, seconds))
        # Before the looking, so that what comes after the look is news again.
        self.news.clear()

    def _ended(self) -> tuple[int, Result | None]:
        """The first good result of those that have ended, or the last one; None if none has."""
        last, result = 0, None
        while not self.finished.empty():
            last = self.finished.get()
            worker, branch = self.running.pop(last)
            self.call.attempts += branch.attempts
            result = worker.answer()
            if self.effect.good(result):
                break
        return last, result
