"""What calls on the hot path are doing, read from the stacks of threads and tasks.

A call on the hot path leaves no mark anywhere but where it cannot do without,
because any mark would cost as much as all the rest of it. It need not: whatever
runs inside it runs on top of its frame, in its thread or in its task. So a retry
that is about to repeat something looks down the stack of its thread, and a
pipeline that is being closed looks at those of all threads and suspended tasks.
Both are rare.

A thread to which a sync call hands a copy of its context is not on its stack: unless
there is a time limit, whose scope is in the context, a retry in there does not fold
during the first attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import threading
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable, Iterator
from types import (
    AsyncGeneratorType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    ModuleType,
)
from typing import Any, cast

hot_paths: dict[int, CodeType] = {}
"""The code of hot paths, by its id, because each look-up by itself would hash all of it anew.

Each has the locals `governs`, set while its first attempt runs and true if a retry governs it, and
`call`, set when it has handed over to the flows; and `rest`.
"""

_looking = threading.RLock()
DEEPEST = 10_000
"""Awaits looked at in one task."""
DEEPEST_HELD, MOST_HELD = 4, 500
"""How far, and at how many objects, one awaitable is looked into."""
_NO_WAY = (
    type,
    FunctionType,
    ModuleType,
    FrameType,
    CodeType,
    str,
    bytes,
    int,
    asyncio.Future,
    asyncio.AbstractEventLoop,
)
"""What leads away from what an awaitable waits for."""


def governed(frame: FrameType | None = None) -> bool:
    """Whether a hot path with a retry is below on this thread's stack.

    Args:
        frame: where to begin; None: at the caller. Reading the variables of a frame is dear, so
            a hot path that asks for itself begins below its own.
    """
    frame = frame or sys._getframe(1)  # noqa: SLF001  # in every Python that has frames
    known = hot_paths
    try:
        while frame is not None:
            if id(frame.f_code) in known:
                told = _protects(frame)
                if told is not None and told["governs"]:
                    return True
            frame = frame.f_back
        return False
    finally:
        # A frame that holds itself lives until the cyclic collector comes.
        del frame


def calls_of(inflight: object) -> int:
    """How many calls on hot paths that belong to ``inflight`` are on their way now."""
    with _looking_around():
        running = sum(
            told["rest"].inflight is inflight for frame in _tops() for told in _protecting(frame)
        )
        return running + len(tasks_of(inflight))


def tasks_of(inflight: object) -> list[asyncio.Task[Any]]:
    """The tasks suspended on hot paths that belong to ``inflight``, in all running loops.

    One for each such call: a task with two of them is named twice.
    """
    with _looking_around():
        loops = list(_running_loops())
    found: list[asyncio.Task[Any]] = []
    for loop in loops:
        for task in asyncio.all_tasks(loop):
            for frame in _awaiting(task):
                told = _protects(frame)
                if told is not None and told["rest"].inflight is inflight:
                    found.append(task)
    return found


def _protects(frame: FrameType) -> dict[str, Any] | None:
    """The variables of a hot path that protects a first attempt now."""
    if id(frame.f_code) not in hot_paths:
        return None
    told = frame.f_locals
    return told if "governs" in told and "call" not in told else None


def _protecting(frame: FrameType | None) -> Iterator[dict[str, Any]]:
    """All those on a stack, from the top down."""
    try:
        while frame is not None:
            told = _protects(frame)
            if told is not None:
                yield told
            # A frame that holds itself lives until the cyclic collector comes.
            del told
            frame = frame.f_back
    finally:
        del frame


@contextlib.contextmanager
def _looking_around() -> Iterator[None]:
    """While somebody looks at the frames of other threads, no cyclic collection runs.

    The interpreter holds a lock while it lists them that a thread needs to start. If a collection
    came then, what it runs could let that thread go first, and both would wait for ever: CPython
    issue 106883. And a frame whose thread was just leaving it may outlast what it stands on; a
    collection that comes upon it crashes. So none comes before all of them are let go.
    """
    with _looking:
        collecting = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if collecting:
                gc.enable()


def _tops() -> list[FrameType]:
    """The innermost frame of every thread."""
    return list(sys._current_frames().values())  # noqa: SLF001  # documented


def _running_loops() -> Iterator[asyncio.AbstractEventLoop]:
    """The event loop of this thread, and those of others that are written in Python."""
    try:
        mine: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
    except RuntimeError:
        mine = None
    if mine is not None:
        yield mine
    for top in _tops():
        frame: FrameType | None = top
        while frame is not None:
            if frame.f_code is BaseEventLoop.run_forever.__code__:
                loop = frame.f_locals["self"]
                if loop is not mine:
                    yield loop
                break
            frame = frame.f_back


def _awaiting(task: asyncio.Task[Any]) -> Iterator[FrameType]:
    """The frames of a suspended task, from the outside in."""
    awaited: Any = task.get_coro()
    for _ in range(DEEPEST):
        read = _SUSPENDED.get(type(awaited))
        if read is None:
            # What is written in C, or in a class of its own, does not say what it waits for.
            awaited = _held_by(awaited)
            if awaited is None:
                return
            continue
        found = read(awaited)
        if found is None:
            return  # it is over, or on the stack of its thread
        frame, awaited = found
        yield frame


def _held_by(awaitable: object) -> object | None:
    """The coroutine or generator that an awaitable drives, or None.

    So `anext(...)`, `coroutine.__await__()` and objects with an `__await__` of their own are
    seen through. A future ends the search: what it knows are others that wait for it.
    """
    nearest, seen = [awaitable], {id(awaitable)}
    for _ in range(DEEPEST_HELD):
        farther = []
        for one in nearest:
            for held in gc.get_referents(one):
                if id(held) in seen or isinstance(held, _NO_WAY):
                    continue
                read = _SUSPENDED.get(type(held))
                if read is not None:
                    if read(held) is not None:
                        return cast("object", held)
                    continue
                seen.add(id(held))
                farther.append(held)
        if len(seen) > MOST_HELD:
            return None
        nearest = farther
    return None


# Whether it runs and what it waits for are read in one breath: a thread can be made to let others
# go at a call or a jump backwards, and between two reads of attributes there is neither. What began
# to run in between would crash the interpreter when asked what it waits for.


def _of_coroutine(it: CoroutineType[Any, Any, Any]) -> tuple[FrameType, object] | None:
    frame = it.cr_frame
    if frame is None or it.cr_running:
        return None
    waits_for = it.cr_await
    return None if waits_for is None else (frame, waits_for)


def _of_generator(it: GeneratorType[Any, Any, Any]) -> tuple[FrameType, object] | None:
    frame = it.gi_frame
    if frame is None or it.gi_running:
        return None
    waits_for = it.gi_yieldfrom
    return None if waits_for is None else (frame, waits_for)


def _of_async_generator(it: AsyncGeneratorType[Any, Any]) -> tuple[FrameType, object] | None:
    # It says that it runs while it waits for something, too; what runs stands on another frame.
    frame = it.ag_frame
    if frame is None or frame.f_back is not None:
        return None
    waits_for = it.ag_await
    return None if waits_for is None else (frame, waits_for)


_SUSPENDED: dict[type, Callable[[Any], tuple[FrameType, object] | None]] = {
    CoroutineType: _of_coroutine,
    GeneratorType: _of_generator,
    AsyncGeneratorType: _of_async_generator,
}
"""What can be suspended, and how to read its frame and what it waits for; None if it is not."""
