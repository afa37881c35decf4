"""One blocking step in a thread of its own, left behind when its time is up.

A thread cannot be stopped from outside. One that is left behind is counted with the workers of
the pipelines (`holdfast.pipeline.workers.abandoned`), and past their limit no new one begins.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable
from typing import Any

from holdfast import events
from holdfast.errors import RejectedError
from holdfast.events import hub
from holdfast.outcome import Err, Ok, Result, describe
from holdfast.pipeline.workers import CAP, abandoned
from holdfast.ports import ambient

logger = logging.getLogger("holdfast.recovery")


class LateError(TimeoutError):
    """A step took longer than it may."""


class Errand:
    """Calls ``step`` once, in a thread with the context variables of whoever made it."""

    __slots__ = ("_begun", "_error", "_left", "_lock", "_result", "_step", "over")

    def __init__(self, step: Callable[[], Any]) -> None:
        self._step: Callable[[], Any] | None = step
        self._result: Result | None = None
        self._error: BaseException | None = None
        self._begun = self._left = False
        self._lock = threading.Lock()
        self.over = threading.Event()

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return not self.over.is_set()

    def start(self, ended: Callable[[], object]) -> bool:
        """Begin; ``ended`` is called from the thread. False if there is no thread to be had."""
        if abandoned.count >= CAP:
            self._result = Err(
                RejectedError(
                    f"{CAP} threads run on after their time was up; no further one is started "
                    "until some of them end"
                )
            )
            self.over.set()
            return False

        context = contextvars.copy_context()
        thread = threading.Thread(
            target=context.run, args=(self._body, ended), name="holdfast-recovery", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            self._result = Err(error)
            self.over.set()
            return False
        except BaseException:
            # An interruption; nobody can tell whether there is a thread by now.
            with self._lock:
                if not self._begun:
                    self.over.set()
            raise
        return True

    def _body(self, ended: Callable[[], object]) -> None:
        with self._lock:
            if self.over.is_set():
                return  # its starter was interrupted, and has gone
            self._begun = True
        step, self._step = self._step, None
        try:
            self._result = Ok(None if step is None else step())
        except Exception as error:  # noqa: BLE001  # failures travel as values
            self._result = Err(error)
        except BaseException as error:  # noqa: BLE001  # raised where it was asked for
            self._error = error
        with self._lock:
            self.over.set()
            left = self._left
            if left:
                abandoned.change(-1)
        if left:
            self._tell()
        ended()

    def _tell(self) -> None:
        """Say how a step ended that nobody waits for any more."""
        error = self._result.error if type(self._result) is Err else self._error
        told = "without an error" if error is None else f"with {describe(error)}"
        self._result = self._error = None
        logger.warning("a recovery step that was left behind has ended %s", told)

    def leave(self) -> bool:
        """Wait no more; False if it has just ended after all."""
        with self._lock:
            if self.over.is_set():
                return False
            self._left = True
            # Under the lock, or it could be counted off before it is counted.
            abandoned.change(1)
        if hub.active:
            hub.emit(events.WorkerAbandoned("recovery", ambient.now(), abandoned.count))
        return True

    def answer(self) -> Result:
        """What the step returned or raised.

        Raises:
            BaseException: what was no `Exception`.
        """
        # Taken out, because the frames of a failure know this object.
        result, self._result = self._result, None
        error, self._error = self._error, None
        if error is None:
            return result or Err(RuntimeError("the step has not ended"))
        try:
            raise error
        finally:
            del error
