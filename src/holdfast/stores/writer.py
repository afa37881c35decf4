"""The one thread of a history that writes.

Laws:

- Whoever appends is never made to wait and never sees an error: all of that stays in here.
- What waits is written after four fifths of ``flush_seconds`` at the latest, so that it rests on
  disk within ``flush_seconds``; or as soon as ``flush_rows`` wait.
- After a failure the same batch is tried again, with pauses of up to `LONGEST_PAUSE` seconds,
  until it is written or the rows themselves are refused. Meanwhile the backlog is bounded.
- A forked child has a thread, connections and a backlog of its own; what waited in the parent
  is written by the parent.
- At the end of the interpreter what waits is written.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.ports import ambient
from holdfast.stores import batches
from holdfast.stores.backlog import Backlog, Batch
from holdfast.stores.place import LOG, TROUBLES, Place
from holdfast.stores.retention import Retention
from holdfast.stores.rows import Ids, Memo
from holdfast.stores.trouble import Kind, kind_of, words

LONGEST_PAUSE = 5.0
MOST_ROWS = 2_000
"""Errors in one transaction, at most."""
_IDLE = 15.0
_AT_EXIT = 5.0


class Writer:
    """Takes batches out of a backlog and writes them."""

    def __init__(
        self,
        place: Place,
        retention: Retention,
        *,
        flush_seconds: float,
        flush_rows: int,
        max_pending: int,
    ) -> None:
        self.place, self.retention = place, retention
        self.flush_seconds, self.flush_rows = flush_seconds, flush_rows
        self.backlog = Backlog(max_pending, self._heard)
        self.memo = Memo()
        self.written = 0
        self.trouble = ""
        """What is wrong now; empty while all is well."""
        self.last_flush: float | None = None
        self._closed = False
        self._reset()
        _LIVE.add(self)

    def _reset(self) -> None:
        self.ids = Ids()
        self.id = os.urandom(12).hex()
        self._wake = threading.Event()
        self._settled = threading.Condition()
        self._starting = threading.Lock()
        self._turning = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = self._hurry = False
        self._batch: Batch | None = None
        self._number = self._settled_at = self._failures = 0

    def after_fork(self) -> None:
        """Begin anew in a forked child."""
        self.place.after_fork()
        self.backlog.reset()
        self.memo = Memo()
        self.written = 0
        self._reset()

    def flush(self, timeout: float) -> bool:
        """Write all that has been added so far; is it written within ``timeout`` seconds?"""
        target = self.backlog.accepted
        self._hurry = True
        self._start()
        self._wake.set()
        with self._settled:
            return self._settled.wait_for(lambda: self._settled_at >= target, timeout)

    def close(self, timeout: float) -> bool:
        """Write what waits and end the thread; is everything written?"""
        self._stopping = self._closed = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(timeout)
        elif self.backlog.owes or self._batch:
            self._drain()
        _LIVE.discard(self)
        left = len(self.backlog)
        if left:
            LOG.error("error history: closed with %d records not written: %s", left, self.trouble)
        if thread is None or not thread.is_alive():
            self.place.close()
        return not left

    @property
    def closed(self) -> bool:
        """Whether `close` was called; what is added then is refused."""
        return self._closed

    def _heard(self, waiting: int) -> None:
        """Called after each addition, so it does next to nothing."""
        if self._thread is None:
            self._start()
        if waiting == 1 or waiting == self.flush_rows:  # noqa: PLR1714  # two comparisons, no tuple
            self._wake.set()

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None or self._closed:
                return
            thread = threading.Thread(target=self._run, name="holdfast-history", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending: `close` writes what there is
                return
            self._thread = thread

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping:
            if pause or not self.backlog.owes:
                self._rest(pause or (0.02 if self.retention.busy else _IDLE))
            if not (pause or self._hurry) and 0 < len(self.backlog) < self.flush_rows:
                self._rest(self.flush_seconds * 0.8)
            self._hurry = False
            pause = self._turn()
            if not (pause or self._stopping):
                self._sweep()
        self._drain()

    def _rest(self, seconds: float) -> None:
        if not self._stopping:
            self._wake.wait(seconds)
        self._wake.clear()

    def _drain(self) -> None:
        """Write what waits as long as that works."""
        while (self.backlog.owes or self._batch) and not self._turn():
            pass

    def _turn(self) -> float:
        """Write one batch if there is anything; seconds to pause before the next."""
        with self._turning:
            batch = self._batch
            if batch is None:
                if not self.backlog.owes:
                    self._say_settled(self.backlog.accepted)
                    return 0.0
                batch = self._batch = self.backlog.take(MOST_ROWS)
                self._number += 1
            try:
                self._write(batch)
            except HoldfastError as error:
                return self._failed(str(error))
            except Exception as error:  # noqa: BLE001  # this thread must not die of anything
                if kind_of(error) is Kind.REFUSED:
                    self._refused(batch, error)
                    return 0.0
                return self._failed(words(error))
            self._done(batch)
            return 0.0

    def _write(self, batch: Batch) -> None:
        self.place.ensure()
        try:
            batches.write(self.place.engine, batch, self.id, self._number, ambient.wall())
        except TROUBLES as error:
            if kind_of(error) is not Kind.CORRUPT:
                raise
            self.place.heal()
            batches.write(self.place.engine, batch, self.id, self._number, ambient.wall())

    def _done(self, batch: Batch) -> None:
        self._batch = None
        self.backlog.release()
        self.written += len(batch)
        self.retention.written(len(batch))
        self.last_flush = ambient.wall()
        if self.trouble:
            LOG.warning(
                "error history: writing again after %d failures; %d records were dropped so far",
                self._failures,
                self.backlog.dropped_total,
            )
        self.trouble, self._failures = "", 0
        if batch.settles:
            self._say_settled(batch.settles)

    def _failed(self, told: str) -> float:
        self._failures += 1
        if not self.trouble:
            LOG.warning("error history: %s; trying again", told)
        self.trouble = told
        return float(min(LONGEST_PAUSE, self.flush_seconds * 2 ** min(self._failures - 1, 10)))

    def _refused(self, batch: Batch, error: Exception) -> None:
        self._batch = None
        self.backlog.give_up(batch)
        told = f"{words(error)}; {len(batch)} records dropped"
        LOG.error("error history: %s", told)
        self.place.lasting = told

    def _say_settled(self, accepted: int) -> None:
        with self._settled:
            self._settled_at = max(self._settled_at, accepted)
            self._settled.notify_all()

    def _sweep(self) -> None:
        try:
            self.retention.step(self.place)
        except Exception as error:  # noqa: BLE001  # nor of anything here
            # A server that is away is told of once, by the write that meets it.
            level = logging.DEBUG if kind_of(error) is Kind.UNREACHABLE else logging.WARNING
            LOG.log(level, "error history: cannot remove what is old: %s", words(error))
            self.retention.rest()
            # Whoever uses it next looks at it anew, and mends it if it is damaged.
            self.place.renew()

    def state(self) -> dict[str, Any]:
        """What it has done and what it has before it."""
        return {
            "written": self.written,
            "pending": len(self.backlog) + (len(self._batch.notes) if self._batch else 0),
            "dropped": self.backlog.dropped_total,
            "trouble": self.trouble or self.place.lasting or None,
            "last_flush": self.last_flush,
        }


_LIVE: weakref.WeakSet[Writer] = weakref.WeakSet()


def _after_fork() -> None:
    for writer in list(_LIVE):
        writer.after_fork()


def _at_exit() -> None:
    for writer in list(_LIVE):
        writer.close(_AT_EXIT)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
