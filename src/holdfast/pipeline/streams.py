"""Results that are no results yet: awaitables and generators.

A function that returns a generator has done nothing when it returns, so a
policy around it protects nothing. It is refused, or, with `Pipeline.stream`,
protected up to its first item; what was delivered is never replayed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from holdfast.errors import BadInputError
from holdfast.policies.policy import Performer

PLAIN: set[type] = {type(None), bool, int, float, str, bytes, list, dict, tuple, set}
"""Types whose values are results. A hot path asks this first, and `examine` fills it."""
MOST_PLAIN = 10_000
"""Types remembered; classes made at run time must not pile up here."""


def examine(value: Any) -> bool:
    """Whether a value of a type not seen before is a plain result."""
    kind = type(value)
    if kind in (GeneratorType, AsyncGeneratorType) or hasattr(kind, "__await__"):
        return False
    if len(PLAIN) >= MOST_PLAIN:
        PLAIN.clear()
    PLAIN.add(kind)
    return True


class TurnedAsyncError(BaseException):
    """A function that looked sync returned an awaitable; carries it to whoever can await it.

    It passes through the policies as a cancellation does, so that each gives back what it holds.
    """

    def __init__(self, awaitable: Any) -> None:
        super().__init__()
        self.awaitable = awaitable


def undecorated(fn: Callable[..., Any]) -> BadInputError:
    """The error for a function that does nothing yet when it returns."""
    name, kind = getattr(fn, "__name__", fn), kind_of(fn)
    if kind == "context manager":
        return BadInputError(
            f"{name!r} makes a context manager, whose block no policy would protect; "
            "protect what is called inside the block, or in the function itself"
        )
    return BadInputError(
        f"{name!r} is {'an' if kind[0] == 'a' else 'a'} {kind} "
        "function, whose items no policy would protect; "
        "use Pipeline.stream(fn), which protects it up to its first item"
    )


def generator_refused(value: Any) -> BadInputError:
    """The error for a function that returned a generator."""
    kind = "an async generator" if isinstance(value, AsyncGeneratorType) else "a generator"
    return BadInputError(
        f"the protected function returned {kind}, whose items no policy would protect; "
        "use Pipeline.stream(fn), which protects it up to its first item"
    )


def is_generator(value: Any) -> bool:
    """Whether a value is a generator, sync or async."""
    return type(value) in (GeneratorType, AsyncGeneratorType)


def drop(awaitable: Any) -> None:
    """Dispose of an awaitable nobody will await."""
    for ending in ("close", "cancel"):
        end = getattr(awaitable, ending, None)
        if callable(end):
            end()
            return


_MAKERS: tuple[Any, ...] = (contextmanager, asynccontextmanager)
_MAKES_CONTEXTS = tuple(maker(print).__code__ for maker in _MAKERS)
"""The code of what these two put around a generator function: the same for all of them."""


def kind_of(fn: Callable[..., Any]) -> str:
    """What calling it gives; looks through partials and objects.

    `async`, `sync`, `generator`, `async generator` or `context manager`.
    """
    plain: Any = fn
    while isinstance(plain, functools.partial):
        plain = plain.func
    if not (inspect.isroutine(plain) or inspect.isclass(plain)):
        # What counts is the class's own method; asking whether it is callable tells too little.
        plain = getattr(type(plain), "__call__", plain)  # noqa: B004
    if getattr(plain, "__code__", None) in _MAKES_CONTEXTS:
        return "context manager"
    if inspect.isasyncgenfunction(plain):
        return "async generator"
    if inspect.isgeneratorfunction(plain):
        return "generator"
    return "async" if inspect.iscoroutinefunction(plain) else "sync"


_EMPTY = object()


def protect(pipeline: Performer, fn: Callable[..., Any]) -> Callable[..., Any]:
    """A generator function whose start, up to the first item, goes through ``pipeline``.

    Raises:
        BadInputError: ``fn`` is no generator function.
    """
    kind = kind_of(fn)
    if kind == "generator":
        return _protect_sync(pipeline, fn)
    if kind == "async generator":
        return _protect_async(pipeline, fn)
    raise BadInputError(f"fn must be a generator function or an async one, got {fn!r:.100}")


def _protect_sync(pipeline: Performer, fn: Callable[..., Any]) -> Callable[..., Any]:
    def begin(*args: Any, **kwargs: Any) -> list[Any]:
        items = fn(*args, **kwargs)
        # In a list, because a bare generator is what policies refuse.
        return [items, next(items, _EMPTY)]

    @functools.wraps(fn)
    def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
        items, first = pipeline.call(begin, *args, **kwargs)
        if first is not _EMPTY:
            try:
                yield first
                yield from items
            finally:
                items.close()

    return stream


def _protect_async(pipeline: Performer, fn: Callable[..., Any]) -> Callable[..., Any]:
    async def begin(*args: Any, **kwargs: Any) -> list[Any]:
        items = fn(*args, **kwargs)
        try:
            return [items, await anext(items, _EMPTY)]
        except BaseException:
            await items.aclose()
            raise

    @functools.wraps(fn)
    async def stream(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        items, first = await pipeline.execute(begin, *args, **kwargs)
        try:
            if first is not _EMPTY:
                yield first
                async for item in items:
                    yield item
        finally:
            await items.aclose()

    return stream
