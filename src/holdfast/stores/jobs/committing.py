"""Group commit: one thread writes for all, and a commit to the disk serves everybody who waits.

Each write is a function of (connection, now). What came while the last commit was under way is
done in one transaction, each in a savepoint of its own: one that fails leaves the others alone.
A future is resolved only after the commit, so an answer means that it is on the disk.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy.exc
from sqlalchemy.engine import Connection, Engine

from holdfast.errors import HoldfastError
from holdfast.ports import ambient
from holdfast.stores.jobs.opening import TROUBLES, writes
from holdfast.stores.jobs.records import StoreUnavailableError
from holdfast.stores.trouble import words

T = TypeVar("T")
Write = Callable[[Connection, float], T]

GROUP = 256
"""Writes in one transaction, at most."""


@dataclass(slots=True)
class _Asked:
    write: Write[Any]
    future: Future[Any]


class Committer:
    """The one thread of a process that writes to a store.

    Args:
        engine: the database.
        shown: what to call it in an error.
        max_waiting: writes that may wait; beyond that the caller is refused.
    """

    def __init__(self, engine: Engine, shown: str, *, max_waiting: int = 20_000) -> None:
        self._engine = engine
        self._shown = shown
        self._waiting: queue.Queue[_Asked | None] = queue.Queue(max_waiting)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self._closed = False
        self._changed = threading.Condition()
        self.version = 0
        """Grows with each commit of this process."""

    def ask(self, write: Write[T]) -> Future[T]:
        """Have something written; the future is done when it is on the disk.

        Raises:
            StoreUnavailableError: the store is closed, or too much waits to be written.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise StoreUnavailableError(f"job store {self._shown}: it is closed")
            if os.getpid() != self._pid:
                raise StoreUnavailableError(
                    f"job store {self._shown}: opened before a fork; open it in each process"
                )
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="holdfast-jobs", daemon=True)
                self._thread.start()
            try:
                self._waiting.put_nowait(_Asked(write, future))
            except queue.Full:
                raise StoreUnavailableError(
                    f"job store {self._shown}: {self._waiting.maxsize} writes wait already"
                ) from None
        return future

    def wait(self, version: int, seconds: float) -> int:
        """The version now, once it is another than ``version`` or ``seconds`` have passed."""
        with self._changed:
            self._changed.wait_for(lambda: self.version != version or self._closed, seconds)
            return self.version

    def close(self, seconds: float = 10.0) -> bool:
        """Write what waits and end; whether that was done in time."""
        with self._lock:
            self._closed = True
            thread = self._thread
            if thread is not None and os.getpid() == self._pid:
                with contextlib.suppress(queue.Full):
                    self._waiting.put(None, timeout=seconds)
        with self._changed:
            self._changed.notify_all()
        if thread is None or os.getpid() != self._pid:
            return True
        thread.join(seconds)
        return not thread.is_alive()

    def _run(self) -> None:
        while True:
            first = self._waiting.get()
            if first is None:
                return
            group, last = [first], False
            while len(group) < GROUP:
                try:
                    more = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    last = True
                    break
                group.append(more)
            self._commit([each for each in group if each.future.set_running_or_notify_cancel()])
            if last:
                return

    def _commit(self, group: list[_Asked]) -> None:
        answers: list[tuple[_Asked, Any, BaseException | None]] = []
        try:
            with writes(self._engine) as connection:
                now = ambient.wall()
                for asked in group:
                    answers.append(self._one(connection, now, asked))
        except TROUBLES as error:
            self._all_failed(group, StoreUnavailableError(self._words(error)))
            return
        except BaseException as error:  # noqa: BLE001 - whoever waits must be told, whatever it is
            self._all_failed(group, error)
            return
        with self._changed:
            self.version += 1
            self._changed.notify_all()
        for asked, value, failed in answers:
            if failed is None:
                asked.future.set_result(value)
            else:
                asked.future.set_exception(failed)

    def _one(
        self, connection: Connection, now: float, asked: _Asked
    ) -> tuple[_Asked, Any, BaseException | None]:
        try:
            with connection.begin_nested():
                return asked, asked.write(connection, now), None
        except HoldfastError as error:
            return asked, None, error
        except sqlalchemy.exc.IntegrityError as error:
            return asked, None, StoreUnavailableError(self._words(error))
        except sqlalchemy.exc.SQLAlchemyError:
            raise  # the whole transaction is in trouble
        except Exception as error:  # noqa: BLE001 - it is the caller's, and reaches the caller
            return asked, None, error

    def _all_failed(self, group: list[_Asked], error: BaseException) -> None:
        for asked in group:
            asked.future.set_exception(error)

    def _words(self, error: BaseException) -> str:
        return f"job store {self._shown}: {words(error)}"
