"""What is raced: every policy on the happy path, stacks, rejections, retries, crowds.

A scenario turns the installed peers into contenders. Each one's first contender
is the floor: the bare call, or the same crowd without any protection.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NoReturn

from benchmarks.measure import Contender, Race, race, race_async
from benchmarks.peers.contract import Factory, Peer

# Settings with which a policy never interferes on the happy path.
SETTINGS: dict[str, dict[str, Any]] = {
    "retry": {"attempts": 3},
    "breaker": {},
    "bulkhead": {"limit": 16},
    "timeout": {"seconds": 10.0},
    "limiter": {"rate": 100_000, "per": 0.01},
    "stack": {},
}
THREADS = 8
# Enough to outweigh the start of the threads for all but the bare call.
CALLS_PER_THREAD = 2_000
TASKS = 1_000
IDLE = "(a decorator that does nothing)"


def noop() -> None:
    """The least a call can do."""


async def noop_async() -> None:
    """The least an awaited call can do."""


async def yielding() -> None:
    """Lets every other task run first, as a call that does I/O would."""
    await asyncio.sleep(0)


def idle_decorator(fn: Callable[..., object]) -> Callable[..., object]:
    """The least a decorator can cost: passing the arguments on."""

    def wrapper(*args: Any, **kwargs: Any) -> object:
        return fn(*args, **kwargs)

    return wrapper


def idle_decorator_async(fn: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
    """The same for a coroutine function."""

    async def wrapper(*args: Any, **kwargs: Any) -> object:
        return await fn(*args, **kwargs)

    return wrapper


class Flaky:
    """Fails on every odd call."""

    def __init__(self) -> None:
        self.calls = 0

    def sync(self) -> None:
        self.calls += 1
        if self.calls % 2:
            raise ConnectionError

    async def later(self) -> None:
        self.sync()


def _with(peers: Sequence[Peer], what: str) -> Iterator[tuple[Peer, Factory]]:
    for peer in peers:
        factory: Factory | None = getattr(peer, what)
        if factory is not None:
            yield peer, factory


def _label(peer: Peer, policy: str, parts: str) -> str:
    return f"{peer.name} ({parts})" if policy == "stack" else peer.name


def happy(peers: Sequence[Peer]) -> Iterator[Race]:
    """Nothing fails, for each policy."""
    for policy, settings in SETTINGS.items():
        contenders = [Contender("bare call", noop), Contender(IDLE, idle_decorator(noop))]
        for peer, factory in _with(peers, f"{policy}_sync"):
            label = _label(peer, policy, peer.sync_parts)
            contenders.append(Contender(label, factory(noop, **settings)))
        yield race(f"{policy}, sync", contenders)


async def happy_async(peers: Sequence[Peer]) -> list[Race]:
    """Nothing fails, for each policy, awaited."""
    races = []
    for policy, settings in SETTINGS.items():
        contenders = [
            Contender("bare await", noop_async),
            Contender(IDLE, idle_decorator_async(noop_async)),
        ]
        if policy in {"timeout", "stack"}:
            contenders += [
                Contender("(asyncio.timeout alone)", asyncio_timeout),
                Contender("(asyncio.wait_for alone)", asyncio_wait_for),
            ]
        for peer, factory in _with(peers, f"{policy}_async"):
            label = _label(peer, policy, peer.async_parts)
            contenders.append(Contender(label, factory(noop_async, **settings)))
        races.append(await race_async(f"{policy}, async", contenders))
    return races


async def asyncio_timeout() -> None:
    """What a time limit costs in the standard library."""
    async with asyncio.timeout(10.0):
        await noop_async()


async def asyncio_wait_for() -> None:
    """The older way."""
    await asyncio.wait_for(noop_async(), 10.0)


def rejected(peers: Sequence[Peer]) -> Race:
    """The breaker is open; the rejection is caught, or comes back as a value."""
    contenders = [Contender("bare call", noop)]
    for peer, factory in _with(peers, "breaker_sync"):
        contenders.append(Contender(peer.name, _opened(factory)))
    for peer, factory in _with(peers, "outcome_sync"):
        contenders.append(Contender(f"{peer.name}, as a value", _opened(factory)))
    return race("rejected by an open breaker, sync", contenders)


def _opened(factory: Factory) -> Callable[[], None]:
    calls = 0

    def fail() -> NoReturn:
        nonlocal calls
        calls += 1
        raise ConnectionError

    guarded = factory(fail, failures=1, open_for=3_600.0)

    def once() -> None:
        # Cheaper than `contextlib.suppress`, which would be most of the figure.
        try:  # noqa: SIM105
            guarded()
        except Exception:  # noqa: BLE001, S110  each rejects with a type of its own
            pass

    once()
    once()
    if calls != 1:
        raise RuntimeError("the breaker did not open, so there is nothing to time")
    return once


async def rejected_async(peers: Sequence[Peer]) -> Race:
    """The same, awaited."""
    contenders = [Contender("bare await", noop_async)]
    for peer, factory in _with(peers, "breaker_async"):
        contenders.append(Contender(peer.name, await _opened_async(factory)))
    for peer, factory in _with(peers, "outcome_async"):
        contenders.append(Contender(f"{peer.name}, as a value", await _opened_async(factory)))
    return await race_async("rejected by an open breaker, async", contenders)


async def _opened_async(factory: Factory) -> Callable[[], Awaitable[None]]:
    calls = 0

    async def fail() -> NoReturn:
        nonlocal calls
        calls += 1
        raise ConnectionError

    guarded = factory(fail, failures=1, open_for=3_600.0)

    async def once() -> None:
        try:  # noqa: SIM105
            await guarded()
        except Exception:  # noqa: BLE001, S110  each rejects with a type of its own
            pass

    await once()
    await once()
    if calls != 1:
        raise RuntimeError("the breaker did not open, so there is nothing to time")
    return once


def retrying(peers: Sequence[Peer]) -> Race:
    """The first attempt fails and the second succeeds, with no wait in between."""
    contenders = [
        Contender("bare call", noop),
        Contender("(by hand: try, except, try)", by_hand()),
        # Most libraries sleep for zero seconds when told not to wait.
        Contender("(time.sleep(0) alone)", lambda: time.sleep(0)),
    ]
    for peer, factory in _with(peers, "retry_sync"):
        contenders.append(Contender(peer.name, factory(Flaky().sync, attempts=3)))
    return race("one retry, sync", contenders)


def by_hand() -> Callable[[], None]:
    """What the two calls and the exception cost by themselves."""
    flaky = Flaky()

    def twice() -> None:
        try:
            flaky.sync()
        except ConnectionError:
            flaky.sync()

    return twice


async def retrying_async(peers: Sequence[Peer]) -> Race:
    """The same, awaited."""
    contenders = [Contender("bare await", noop_async)]
    for peer, factory in _with(peers, "retry_async"):
        contenders.append(Contender(peer.name, factory(Flaky().later, attempts=3)))
    return await race_async("one retry, async", contenders)


def crowd_of_threads(peers: Sequence[Peer]) -> Iterator[Race]:
    """Eight threads through one object."""
    for policy in ("retry", "breaker", "bulkhead"):
        contenders = [_threads("bare call", noop)]
        for peer, factory in _with(peers, f"{policy}_sync"):
            contenders.append(_threads(peer.name, factory(noop, **SETTINGS[policy])))
        yield race(f"{policy}, {THREADS} threads", contenders, rounds=5)


def _threads(name: str, call: Callable[[], object]) -> Contender:
    def work() -> None:
        for _ in range(CALLS_PER_THREAD):
            call()

    def crowd() -> None:
        threads = [threading.Thread(target=work) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return Contender(name, crowd, calls=THREADS * CALLS_PER_THREAD)


async def crowd_of_tasks(peers: Sequence[Peer]) -> list[Race]:
    """A thousand tasks through one object; the bulkhead lets 16 at a time through."""
    races = []
    for policy in ("retry", "breaker", "bulkhead"):
        settings = {**SETTINGS[policy], **({"wait": 60.0} if policy == "bulkhead" else {})}
        contenders = [_tasks("bare await", yielding)]
        for peer, factory in _with(peers, f"{policy}_async"):
            contenders.append(_tasks(peer.name, factory(yielding, **settings)))
        races.append(await race_async(f"{policy}, {TASKS:,} tasks", contenders, rounds=5))
    return races


def _tasks(name: str, call: Callable[[], Awaitable[object]]) -> Contender:
    async def crowd() -> None:
        await asyncio.gather(*(call() for _ in range(TASKS)))

    return Contender(name, crowd, calls=TASKS)
