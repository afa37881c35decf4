"""Calls made for several at once never wait for one another in a ring."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from holdfast import Cache, Hedge, Pipeline, Retry, Timeout
from holdfast.policies.flights import Flight, may_wait, waited
from holdfast.policies.scope import child

PATIENCE = 20.0
"""Seconds a test waits for what takes none."""


class Ring:
    """Keys that need the next one each, the last one the first; all of them begin together."""

    def __init__(self, size, caches=1, around=lambda cache: cache):
        self.size = size
        self.caches = [Cache(60, key=lambda number: number) for _ in range(caches)]
        self.made = []
        self.met = threading.Barrier(size)
        self.all_begun = asyncio.Event()
        self.first = set(range(size))
        self.around = around

    def cache(self, number):
        return self.around(self.caches[number % len(self.caches)])

    def make(self, number):
        self.made.append(number)
        if number in self.first:
            self.first.discard(number)
            self.met.wait(PATIENCE)
            return self.cache((number + 1) % self.size).call(self.make, (number + 1) % self.size)
        return "a bottom"

    async def make_async(self, number):
        self.made.append(number)
        if number in self.first:
            self.first.discard(number)
            if not self.first:
                self.all_begun.set()
            await self.all_begun.wait()
            nearest = (number + 1) % self.size
            return await self.cache(nearest).execute(self.make_async, nearest)
        return "a bottom"


ARRANGEMENTS = pytest.mark.parametrize(
    ("size", "caches", "around"),
    [
        (1, 1, lambda cache: cache),
        (2, 1, lambda cache: cache),
        (2, 2, lambda cache: cache),
        (5, 3, lambda cache: cache),
        (3, 1, lambda cache: Pipeline(Timeout(PATIENCE), cache, Retry(max_attempts=1))),
        (2, 1, lambda cache: Pipeline(cache, Hedge(after=PATIENCE))),
    ],
)


@ARRANGEMENTS
def test_threads_that_ask_for_each_others_keys_all_come_to_an_end(size, caches, around):
    ring, results = Ring(size, caches, around), [None] * size

    def ask(number):
        results[number] = ring.cache(number).call(ring.make, number)

    threads = [threading.Thread(target=ask, args=(n,), daemon=True) for n in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert results == ["a bottom"] * size
    assert len(ring.made) == size + 1  # whoever would have closed the ring made one call more


@ARRANGEMENTS
async def test_tasks_that_ask_for_each_others_keys_all_come_to_an_end(size, caches, around):
    ring = Ring(size, caches, around)

    async with asyncio.timeout(PATIENCE):
        results = await asyncio.gather(
            *(ring.cache(n).execute(ring.make_async, n) for n in range(size))
        )

    assert results == ["a bottom"] * size
    assert len(ring.made) == size + 1


async def test_calls_that_need_the_same_one_without_a_ring_share_it():
    cache, made = Cache(60, key=lambda key: key), []

    async def make(key):
        made.append(key)
        await asyncio.sleep(0.01)
        return key if key == "base" else await cache.execute(make, "base")

    assert await asyncio.gather(*(cache.execute(make, key) for key in "abc")) == ["base"] * 3

    assert sorted(made) == ["a", "b", "base", "c"]
    assert cache.snapshot()["shared"] == 2


async def test_one_who_takes_over_a_call_is_seen_to_lead_it():
    cache, begun = Cache(60, key=lambda key: key), []

    async def make(key):
        begun.append(key)
        if begun == ["a"]:
            await asyncio.Event().wait()
        await asyncio.sleep(0.01)
        return await cache.execute(make, "b" if key == "a" else "a") if len(begun) < 4 else "end"

    leader = asyncio.create_task(cache.execute(make, "a"))
    await asyncio.sleep(0)
    follower = asyncio.create_task(cache.execute(make, "a"))
    other = asyncio.create_task(cache.execute(make, "b"))
    await asyncio.sleep(0)
    leader.cancel()

    async with asyncio.timeout(PATIENCE):
        assert await asyncio.gather(follower, other) == ["end"] * 2


def test_a_wait_that_is_over_is_forgotten():
    outer, inner = child(None), child(None)
    first, second = Flight(outer), Flight(inner)

    leading = may_wait(child(outer), second)
    assert leading == (first,)
    assert may_wait(child(inner), first) is None
    waited(leading, second)
    assert may_wait(child(inner), first) == (second,)


def test_one_who_has_led_waits_like_anybody():
    outer = child(None)
    flight = Flight(outer)
    assert may_wait(child(outer), flight) is None
    flight.end()
    assert may_wait(child(outer), flight) == ()


async def test_nothing_is_kept_of_calls_that_are_over():
    async def make(key):
        await asyncio.sleep(0)
        return key if key == 0 else await cache.execute(make, 0)

    cache = Cache(60, key=lambda key: key)
    await asyncio.gather(*(cache.execute(make, key) for key in (1, 2, 3)))

    gc.collect()
    assert [one for one in gc.get_objects() if type(one) is Flight] == []
