"""Gate 11: a generator is refused, or protected up to its first item; never silently bare."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from benchmarks.gates.contract import Result, absent, verdict
from benchmarks.peers.contract import Factory, Peer

LONGEST = 20


class Stream:
    """Three items; the first try breaks before item `breaks_at`, counted from 1."""

    def __init__(self, breaks_at: int) -> None:
        self.breaks_at = breaks_at
        self.tries = 0

    def items(self) -> Iterator[int]:
        self.tries += 1
        for item in (1, 2, 3):
            if item == self.breaks_at and self.tries == 1:
                raise ConnectionError("broken off")
            yield item

    async def items_later(self) -> AsyncIterator[int]:
        self.tries += 1
        for item in (1, 2, 3):
            if item == self.breaks_at and self.tries == 1:
                raise ConnectionError("broken off")
            yield item


def probe(peer: Peer) -> Result:
    """Break a stream before its first item and after it, under retry or else a breaker."""
    wrong: list[str] = []
    right: list[str] = []
    for colour, retry, breaker in (
        ("generator", peer.retry_sync, peer.breaker_sync),
        ("async generator", peer.retry_async, peer.breaker_async),
    ):
        if retry is not None:
            told, fine = _under_retry(retry, colour)
        elif breaker is not None:
            told, fine = _under_breaker(breaker, colour)
        else:
            continue
        (right if fine else wrong).append(f"{colour}: {told}")
    if not wrong and not right:
        return absent("retry and no breaker")
    return verdict(wrong, "; ".join(right))


def _under_retry(factory: Factory, colour: str) -> tuple[str, bool]:
    early, late = Stream(breaks_at=1), Stream(breaks_at=2)
    items, error = _consume(factory, early, colour, {"attempts": 3})
    if _refused(error):
        return f"refused ({error})", True
    if isinstance(error, TypeError | AttributeError):
        return f"every call breaks with {type(error).__name__}", False
    if early.tries == 1:
        return "silently unprotected", False
    items, error = _consume(factory, late, colour, {"attempts": 3})
    if items.count(1) > 1:
        return f"replayed, the reader sees {items}", False
    if late.tries > 1 and not error:
        return "collected whole before the first item is seen", False
    return "protected up to the first item", True


def _under_breaker(factory: Factory, colour: str) -> tuple[str, bool]:
    stream = Stream(breaks_at=1)
    items, error = _consume(factory, stream, colour, {"failures": 1, "open_for": 30.0}, again=True)
    if _refused(error):
        return f"refused ({error})", True
    if isinstance(error, TypeError | AttributeError):
        return f"every call breaks with {type(error).__name__}", False
    if items:
        return "silently unprotected", False
    return "its failure is counted", True


class RefusedAtDecoration(Exception):  # noqa: N818  a message from one function to the other
    """The library would not decorate it."""


def _refused(error: BaseException | None) -> bool:
    return isinstance(error, RefusedAtDecoration)


def _consume(
    factory: Factory, stream: Stream, colour: str, settings: dict[str, Any], *, again: bool = False
) -> tuple[list[int], BaseException | None]:
    if colour == "generator":
        return _consume_sync(factory, stream.items, settings, again=again)
    return asyncio.run(_consume_async(factory, stream.items_later, settings, again=again))


def _consume_sync(
    factory: Factory, source: Callable[[], Any], settings: dict[str, Any], *, again: bool
) -> tuple[list[int], BaseException | None]:
    seen: list[int] = []
    try:
        guarded = factory(source, **settings)
    except Exception as error:  # noqa: BLE001  each library refuses in its own way
        return seen, RefusedAtDecoration(type(error).__name__)
    last: BaseException | None = None
    for _ in range(2 if again else 1):
        try:
            # Bounded, so that a generator which is replayed for ever ends here.
            seen.extend(itertools.islice(guarded(), LONGEST))
            last = None
        except Exception as error:  # noqa: BLE001  each library fails in its own way
            last = error
    return seen, last


async def _consume_async(
    factory: Factory, source: Callable[[], Any], settings: dict[str, Any], *, again: bool
) -> tuple[list[int], BaseException | None]:
    seen: list[int] = []
    try:
        guarded = factory(source, **settings)
    except Exception as error:  # noqa: BLE001  each library refuses in its own way
        return seen, RefusedAtDecoration(type(error).__name__)
    last: BaseException | None = None
    for _ in range(2 if again else 1):
        try:
            async for item in guarded():
                seen.append(item)
                if len(seen) >= LONGEST:
                    break
            last = None
        except Exception as error:  # noqa: BLE001  each library fails in its own way
            last = error
    return seen, last
