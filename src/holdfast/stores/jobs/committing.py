"""Group commit: one thread writes for all, and a commit to the disk serves everybody who waits.

Each write is a function of (connection, now). What came while the last commit was under way is
done in one transaction, each in a savepoint of its own: one that fails leaves the others alone.
Writes of one kind that stand together may be done as one (see `Together`), which is far quicker.
A future is resolved only after the commit, so an answer means that it is on the disk.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

from sqlalchemy.engine import Connection, Engine

from holdfast.ports import ambient
from holdfast.stores.address import Address
from holdfast.stores.jobs.opening import TROUBLES, Writer, told
from holdfast.stores.jobs.records import StoreUnavailableError
from holdfast.stores.trouble import Kind, kind_of

T = TypeVar("T")
Write = Callable[[Connection, float], T]
Together = Callable[[Connection, float, Sequence[Any]], Sequence[Any]]
"""Does many writes of a kind at once: what each is about in, an answer for each out."""

_HANGING = 10.0
"""Seconds after which a transaction no longer keeps a process from forking."""
GROUP = 256
"""Writes in one transaction, at most."""
LATER_SECONDS = 0.05
"""How long a write that nobody waits for may wait for company."""


@dataclass(slots=True)
class _Asked:
    write: Write[Any]
    future: Future[Any]
    together: Together | None = None
    about: Any = None
    lasting: bool = True
    soon: bool = True


_Answer = tuple[_Asked, Any, BaseException | None]


_LIVE: weakref.WeakSet[Committer] = weakref.WeakSet()


class Committer:
    """The one thread of a process that writes to a store.

    Args:
        engine: the database.
        address: where it lies.
        max_waiting: writes that may wait; beyond that the caller is refused.
    """

    def __init__(self, engine: Engine, address: Address, *, max_waiting: int = 20_000) -> None:
        self._writers = {lasting: Writer(engine, lasting=lasting) for lasting in (True, False)}
        self._shown = address.shown
        self._address = address
        self._file = address.identity()
        self._waiting: queue.Queue[_Asked | None] = queue.Queue(max_waiting)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self._closed = False
        self._writing = threading.Lock()
        """Held while a transaction is open."""
        self._held = False
        _LIVE.add(self)

    def ask(
        self,
        write: Write[T],
        *,
        together: Together | None = None,
        about: Any = None,
        lasting: bool = True,
        soon: bool = True,
    ) -> Future[T]:
        """Have something written; the future is done when it is on the disk.

        Args:
            write: what to do, by itself.
            together: does the same for many whose `about` it is given, or raises and has done
                nothing.
            about: what this one is about.
            lasting: whether it must survive a power cut as well as the death of processes.
            soon: whether somebody waits for it; else it is written with what comes next.

        Raises:
            StoreUnavailableError: the store is closed, or too much waits to be written.
        """
        future: Future[T] = Future()
        self.refuse_heirs()  # before the lock, which somebody may have held at the fork
        with self._lock:
            if self._closed:
                raise StoreUnavailableError(f"job store {self._shown}: it is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="holdfast-jobs", daemon=True)
                self._thread.start()
            try:
                self._waiting.put_nowait(_Asked(write, future, together, about, lasting, soon))
            except queue.Full:
                raise StoreUnavailableError(
                    f"job store {self._shown}: {self._waiting.maxsize} writes wait already"
                ) from None
        return future

    def refuse_heirs(self) -> None:
        """Refuse a forked child, which must not use its parent's connections.

        Raises:
            StoreUnavailableError: this is one.
        """
        if os.getpid() != self._pid:
            raise StoreUnavailableError(
                f"job store {self._shown}: opened before a fork; open it in each process"
            )

    def hold(self) -> None:
        """Let no transaction be open until `resume`, unless the one there is hangs."""
        self._held = self._writing.acquire(timeout=_HANGING)

    def resume(self) -> None:
        """Go on."""
        if self._held:
            self._held = False
            self._writing.release()

    def close(self, seconds: float = 10.0) -> bool:
        """Write what waits and end; whether that was done in time."""
        if os.getpid() != self._pid:
            return True
        with self._lock:
            self._closed = True
            thread = self._thread
            if thread is not None:
                with contextlib.suppress(queue.Full):
                    self._waiting.put(None, timeout=seconds)
        if thread is None:
            return True
        thread.join(seconds)
        return not thread.is_alive()

    def _run(self) -> None:
        while True:
            group, last = self._next_group()
            self._commit([each for each in group if each.future.set_running_or_notify_cancel()])
            if last:
                return

    def _next_group(self) -> tuple[list[_Asked], bool]:
        """What to write next, and whether it is the last."""
        first = self._waiting.get()
        if first is None:
            return [], True
        group = [first]
        until = 0.0 if first.soon else time.monotonic() + LATER_SECONDS
        while len(group) < GROUP:
            left = until and until - time.monotonic()
            try:
                more = self._waiting.get(timeout=left) if left > 0 else self._waiting.get_nowait()
            except queue.Empty:
                break
            if more is None:
                return group, True
            group.append(more)
            if more.soon:
                until = 0.0
        return group, False

    def _commit(self, group: list[_Asked]) -> None:
        if not group:
            return
        try:
            self._see_that_it_is_there()
            lasting = any(each.lasting for each in group)
            with self._writing, self._writers[lasting].transaction() as connection:
                now = ambient.wall()
                answers = self._answers(connection, now, group)
        except (*TROUBLES, UnicodeEncodeError, OverflowError) as error:
            self._all_failed(group, told(error, self._address))
            return
        except BaseException as error:  # noqa: BLE001 - whoever waits must be told, whatever it is
            self._all_failed(group, error)
            return
        for asked, value, failed in answers:
            if failed is None:
                asked.future.set_result(value)
            else:
                asked.future.set_exception(failed)

    def _see_that_it_is_there(self) -> None:
        # A file that was removed can be written for as long as it is open, and is gone then.
        if self._file is not None and self._address.identity() != self._file:
            raise StoreUnavailableError(
                f"job store {self._shown}: the file was removed or replaced while it was in use; "
                "put it back, or restart to begin with what is there now"
            )

    def _answers(self, connection: Connection, now: float, group: list[_Asked]) -> list[_Answer]:
        if len(group) == 1:  # if it fails, there is nothing else to keep: no savepoint is needed
            return [(group[0], group[0].write(connection, now), None)]
        return list(self._each(connection, now, group))

    def _each(self, connection: Connection, now: float, group: list[_Asked]) -> Iterator[_Answer]:
        for together, some in groupby(group, key=lambda asked: asked.together):
            alike = list(some)
            done = None
            if together is not None and len(alike) > 1:
                done = self._many(connection, now, together, alike)
            if done is None:
                done = [self._one(connection, now, asked) for asked in alike]
            yield from done

    def _many(
        self, connection: Connection, now: float, together: Together, alike: list[_Asked]
    ) -> list[_Answer] | None:
        try:
            with connection.begin_nested():
                values = together(connection, now, [asked.about for asked in alike])
        except TROUBLES as error:
            if kind_of(error) is not Kind.REFUSED:
                raise
            return None
        except Exception:  # noqa: BLE001 - one by one, each is told what is wrong with it
            return None
        return [(asked, value, None) for asked, value in zip(alike, values, strict=True)]

    def _one(self, connection: Connection, now: float, asked: _Asked) -> _Answer:
        try:
            with connection.begin_nested():
                return asked, asked.write(connection, now), None
        except TROUBLES as error:
            if kind_of(error) is not Kind.REFUSED:
                raise  # the whole transaction is in trouble
            return asked, None, told(error, self._address)
        except (UnicodeEncodeError, OverflowError) as error:
            return asked, None, told(error, self._address)
        except Exception as error:  # noqa: BLE001 - it is the caller's, and reaches the caller
            return asked, None, error

    def _all_failed(self, group: list[_Asked], error: BaseException) -> None:
        for asked in group:
            asked.future.set_exception(error)


# SQLite's record of locks is copied to a forked child: were a transaction open at that moment,
# the child could never open the same file.
def _before_fork() -> None:
    for committer in list(_LIVE):
        committer.hold()


def _after_fork() -> None:
    for committer in list(_LIVE):
        committer.resume()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
