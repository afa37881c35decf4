"""A portal: plain code calls coroutines that live in an event loop of a thread of their own.

::

    with Portal("engine") as portal:
        result = portal.call(client.run, workflow)

- Whoever calls waits, as for any function; from as many threads as you like. In a thread that
  runs an event loop, as in a notebook, that loop stands still meanwhile.
- Ctrl-C while waiting cancels the coroutine, waits until it has cleaned up behind itself (a
  second Ctrl-C does not), and is then raised.
- A portal that nobody closed is closed when the interpreter ends; nothing hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import weakref
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LOOK_SECONDS = 0.25
"""How often a waiting caller looks up: on Windows a wait without end hears no Ctrl-C."""
CLEANING_SECONDS = 20.0
"""How long what was cancelled may clean up before it is left to itself."""


class Portal:
    """An event loop in a thread, and a way in.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str = "portal") -> None:
        self._name = f"holdfast {name}"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._end: weakref.finalize[Any, Any] | None = None

    def __enter__(self) -> Self:
        """Start the thread."""
        if self._thread is not None:
            raise RuntimeError("a portal is entered once; make another one")
        loop = asyncio.new_event_loop()
        # A daemon, so that an interpreter that ends is never kept waiting by it.
        thread = threading.Thread(target=_live, args=(loop,), name=self._name, daemon=True)
        thread.start()
        self._loop, self._thread = loop, thread
        self._end = weakref.finalize(self, _finish, loop, thread)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the thread; what still runs in it is cancelled first."""
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether calls can be made."""
        return self._loop is not None and not self._loop.is_closed()

    def close(self) -> None:
        """As leaving does. Closing twice does no harm."""
        self._refuse_own_thread("close")
        if self._end is not None:
            self._end()
        self._loop = None

    def call(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a coroutine function in the portal's loop and wait for its result.

        It sees the caller's context: deadlines hold in there, too.

        Raises:
            RuntimeError: the portal is not open, was closed meanwhile, or this is its own
                thread, where waiting would stop what is waited for.
        """
        self._refuse_own_thread("call")
        loop, thread = self._loop, self._thread
        if loop is None or thread is None or loop.is_closed():
            raise RuntimeError("this portal is not open; use it as a context: with Portal() as ...")

        async def perform() -> T:
            return await function(*args, **kwargs)

        return _Errand(loop, perform).run(thread)

    def _refuse_own_thread(self, what: str) -> None:
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                f"{what} was used inside the portal's own thread, in a callback perhaps, and would "
                "wait for itself; do it after the call has returned, or use the async class"
            )


class _Errand(Generic[T]):
    """One call through a portal."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, perform: Callable[[], Awaitable[T]]
    ) -> None:
        self._loop = loop
        self._perform = perform
        self._context = contextvars.copy_context()
        self._ended = threading.Event()
        self._unwanted = False
        self._task: asyncio.Task[T] | None = None

    def begin(self) -> None:
        """In the loop: start it, unless nobody waits for it any more."""
        if self._unwanted:
            self._ended.set()
            return

        async def perform() -> T:
            return await self._perform()

        self._task = self._loop.create_task(perform(), context=self._context)
        self._task.add_done_callback(lambda _task: self._ended.set())

    def run(self, thread: threading.Thread) -> T:
        """In the caller's thread: have it begun, and wait for the end."""
        try:
            # In here: an interrupt right after it has begun must call it off as well.
            self._loop.call_soon_threadsafe(self.begin)
            while not self._ended.wait(LOOK_SECONDS):
                if not thread.is_alive():
                    break
        except BaseException:
            self._call_off()
            raise
        task = self._task
        if task is None or not task.done() or task.cancelled():
            raise RuntimeError("the portal was closed while this call was under way")
        return task.result()

    def _call_off(self) -> None:
        self._unwanted = True
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cancel)
            self._ended.wait(CLEANING_SECONDS)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _live(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        with contextlib.suppress(RuntimeError):
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _cancel_all() -> None:
    mine = asyncio.current_task()
    tasks = [each for each in asyncio.all_tasks() if each is not mine]
    for each in tasks:
        each.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CLEANING_SECONDS)


def _finish(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    if loop.is_closed() or not thread.is_alive():
        return
    ending = _cancel_all()
    try:
        asyncio.run_coroutine_threadsafe(ending, loop).result(CLEANING_SECONDS)
    except Exception:  # noqa: BLE001 - the thread must end, whatever is left in it
        ending.close()
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(loop.stop)
    thread.join(CLEANING_SECONDS)
