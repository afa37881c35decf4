"""Gate 20: what must not be done twice is repeated only when a lookup says it was not done."""

from __future__ import annotations

import asyncio

import pytest

from holdfast import (
    Backoff,
    BadInputError,
    BulkheadFullError,
    Found,
    Hedge,
    Idempotency,
    Lookup,
    Pipeline,
    Retry,
    Timeout,
    current_scope,
)


class Shop:
    """Orders are carried out, and now and then the answer is lost."""

    def __init__(self, *, done=True, lost=1, answers=()):
        self.done = done
        self.lost = lost
        self.answers = list(answers)
        self.orders = []
        self.keys = []
        self.asked = []

    def order(self):
        key = current_scope().key
        self.keys.append(key)
        if self.done or len(self.keys) > self.lost:
            self.orders.append(key)
        if len(self.keys) <= self.lost:
            raise ConnectionError("the answer was lost")
        return f"receipt {len(self.orders)}"

    async def order_later(self):
        await asyncio.sleep(1)
        return self.order()

    def look_up(self, key):
        self.asked.append(key)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        return Found("found receipt") if key in self.orders else Lookup.ABSENT

    async def look_up_later(self, key):
        await asyncio.sleep(1)
        return self.look_up(key)


def retry_of(shop, attempts=3):
    return Retry(
        attempts, Backoff.fixed(1.0), idempotency=Idempotency.unsafe(reconcile=shop.look_up)
    )


@pytest.mark.parametrize(
    "idempotency",
    [
        lambda: Idempotency(safe=False),
        Idempotency.unsafe,
        lambda: Idempotency.unsafe(key=None, reconcile=lambda key: Lookup.ABSENT),
    ],
)
def test_without_a_key_and_a_lookup_a_retry_cannot_be_built(idempotency):
    with pytest.raises(BadInputError, match="idempot"):
        Retry(idempotency=idempotency())


def test_what_is_not_repeated_needs_neither():
    assert Retry(1, idempotency=Idempotency.unsafe()).call(str) == ""


def test_a_hedge_of_it_cannot_be_built_at_all():
    with pytest.raises(BadInputError, match="idempot"):
        Hedge(1.0, idempotency=Idempotency.unsafe(reconcile=lambda key: Lookup.ABSENT))


def test_an_order_that_was_carried_out_is_not_repeated(clock, path):
    shop = Shop(done=True)

    assert retry_of(shop).call(shop.order) == "found receipt"

    assert len(shop.orders) == 1
    assert shop.asked == shop.orders


def test_an_order_that_was_not_carried_out_is_repeated(clock, path):
    shop = Shop(done=False)

    assert retry_of(shop).call(shop.order) == "receipt 1"

    assert len(shop.keys) == 2
    assert len(shop.orders) == 1


def test_an_order_nobody_can_tell_of_is_not_repeated(clock, path):
    shop = Shop(done=True, answers=[Lookup.UNKNOWN] * 99)

    with pytest.raises(ConnectionError, match="lost"):
        retry_of(shop).call(shop.order)

    assert len(shop.orders) == 1
    assert len(shop.asked) > 1, "it asked only once, though the answer may come later"


@pytest.mark.parametrize("answer", [None, "yes", True, RuntimeError("the lookup is down")])
def test_an_answer_that_is_none_counts_as_unknown(clock, path, answer):
    shop = Shop(done=True, answers=[answer] * 99)

    with pytest.raises(ConnectionError):
        retry_of(shop).call(shop.order)

    assert len(shop.orders) == 1


def test_an_answer_that_comes_at_last_decides(clock, path):
    shop = Shop(done=True, answers=[Lookup.UNKNOWN, Lookup.UNKNOWN, Found("at last")])

    assert retry_of(shop, 9).call(shop.order) == "at last"
    assert len(shop.orders) == 1


def test_the_key_is_the_same_over_all_attempts_and_new_for_each_call(clock, path):
    shop = Shop(done=False, lost=2)
    retry = retry_of(shop)

    retry.call(shop.order)
    first = set(shop.keys)
    shop.keys.clear()
    retry.call(shop.order)

    assert len(first) == len(set(shop.keys)) == 1
    assert None not in first
    assert first != set(shop.keys)


def test_the_lookup_may_be_async(clock, path):
    shop = Shop(done=True)
    idempotency = Idempotency.unsafe(reconcile=shop.look_up_later)
    retry = Retry(3, Backoff.fixed(1.0), idempotency=idempotency)

    async def main():
        return await retry.execute(shop.order_later)

    assert clock.run(main()) == "found receipt"
    assert len(shop.orders) == 1


def test_a_call_our_limit_ended_is_looked_up_too(clock, path):
    """It may have been carried out on the other side."""
    shop = Shop(done=True, lost=0)
    pipeline = Pipeline(retry_of(shop), Timeout(5))

    async def slow():
        shop.order()
        await asyncio.sleep(100)

    async def main():
        return await pipeline.execute(slow)

    assert clock.run(main()) == "found receipt"
    assert len(shop.orders) == 1


def test_a_call_that_was_refused_never_ran_and_needs_no_lookup(clock, path):
    shop, refusals = Shop(lost=0), [BulkheadFullError("full"), BulkheadFullError("full")]
    idempotency = Idempotency.unsafe(reconcile=shop.look_up)
    retry = Retry(3, Backoff.fixed(1.0), on=BulkheadFullError, idempotency=idempotency)

    def order():
        if refusals:
            raise refusals.pop()
        return shop.order()

    assert retry.call(order) == "receipt 1"
    assert shop.asked == []


def test_a_cancelled_order_is_neither_looked_up_nor_repeated(clock, path):
    shop = Shop(done=True)

    async def main():
        task = asyncio.create_task(retry_of(shop).execute(shop.order_later))
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    clock.run(main())

    assert (shop.keys, shop.asked) == ([], [])


def test_a_nested_retry_that_folds_still_looks_up_before_anybody_repeats(clock, path):
    shop = Shop(done=True, lost=1)
    inner = retry_of(shop)

    assert retry_of(shop).call(inner.call, shop.order) == "found receipt"
    assert len(shop.orders) == 1


def test_a_plain_retry_around_does_not_repeat_what_nobody_can_tell_of(clock, path):
    calls = []

    def charge():
        calls.append(None)
        raise ConnectionError

    inner = Retry(
        backoff=Backoff.none(), idempotency=Idempotency.unsafe(reconcile=lambda _: Lookup.UNKNOWN)
    )
    for outer in (Pipeline(Retry(backoff=Backoff.none()), inner), Retry(backoff=Backoff.none())):
        calls.clear()
        with pytest.raises(ConnectionError):
            outer.call(charge if isinstance(outer, Pipeline) else lambda: inner.call(charge))
        assert len(calls) == 1


def test_a_result_that_is_not_accepted_is_looked_up_too(clock, path):
    calls, asked = [], []

    def look_up(key):
        asked.append(key)
        return Found("receipt")

    retry = Retry(
        backoff=Backoff.none(),
        idempotency=Idempotency.unsafe(reconcile=look_up),
        retry_on_result=lambda status: status == 504,
    )
    assert retry.call(lambda: calls.append(None) or 504) == "receipt"
    assert (len(calls), len(asked)) == (1, 1)
