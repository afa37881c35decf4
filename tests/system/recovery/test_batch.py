"""Smaller batches: half of it, marked as less; or all of it, in parts that add up."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import BadInputError, ErrorCategory
from holdfast.pipeline.streams import kind_of
from holdfast.system.recovery import (
    Ending,
    PartsMissingError,
    RecoveryContext,
    RecoveryProcedure,
    ShrinkBatch,
)
from holdfast.system.recovery.batch import halves, join_in_order, size_of

MEMORY = ErrorCategory.MEMORY


class Card:
    """Has room for so many at once."""

    def __init__(self, room):
        self.room, self.calls = room, []

    def images(self, prompt, batch_size=8):
        self.calls.append(batch_size)
        if batch_size > self.room:
            raise MemoryError(f"{batch_size} > {self.room}")
        return [f"{prompt} {n}" for n in range(batch_size)]

    async def images_async(self, prompt, batch_size=8):
        await asyncio.sleep(0)
        return self.images(prompt, batch_size)

    def each(self, items):
        self.calls.append(len(items))
        if len(items) > self.room:
            raise MemoryError
        return [item * 10 for item in items]


def mended(strategy, context, make_error, recover):
    procedure = RecoveryProcedure()
    procedure.register(MEMORY, strategy)
    return recover(procedure, make_error(MEMORY), context)


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        (("cat", 8), {}, (("cat", 4), {})),
        (("cat",), {"batch_size": 9}, (("cat",), {"batch_size": 4})),
        (("cat",), {}, (("cat",), {"batch_size": 4})),
    ],
)
def test_the_retry_asks_for_half_and_says_so(make_error, recover, args, kwargs, expected):
    context = RecoveryContext("gpu", Card(4).images, args, kwargs)
    result = mended(ShrinkBatch(), context, make_error, recover)
    assert result.success
    assert result.changes.arguments == expected
    assert result.degraded
    assert "-> 4: less at once than was asked for" in result.changes.lesser


@pytest.mark.parametrize(
    ("kwargs", "settings"),
    [
        ({"batch_size": 1}, {}),
        ({"batch_size": 7}, {"minimum": 4}),
        ({"batch_size": "8"}, {}),
        ({"batch_size": True}, {}),
        ({"batch_size": [1, 2]}, {}),
        ({}, {"argument": "frames"}),
    ],
)
def test_what_cannot_be_halved_is_left_alone(make_error, recover, kwargs, settings):
    context = RecoveryContext("gpu", Card(4).images, ("cat",), kwargs)
    result = mended(ShrinkBatch(**settings), context, make_error, recover)
    assert not result.success
    assert result.tried[0].ending is Ending.NOT_APPLICABLE
    assert not result.changes


def test_without_an_effect_nothing_is_claimed(make_error, recover):
    class Idle(ShrinkBatch):
        def apply(self, error, context):
            context.use_arguments(context.args, context.kwargs)

    context = RecoveryContext("gpu", Card(4).images, ("cat", 8))
    result = mended(Idle(), context, make_error, recover)
    assert (result.success, result.tried[0].ending) == (False, Ending.NOT_VERIFIED)


def retried(result, context):
    fn, args, kwargs = result.changes.retry_of(context.operation, context.args, context.kwargs)
    value = fn(*args, **kwargs)
    return asyncio.run(value) if asyncio.iscoroutine(value) else value


@pytest.mark.parametrize("method", ["images", "images_async"])
def test_all_of_it_is_done_in_parts(make_error, recover, method):
    card = Card(2)
    context = RecoveryContext("gpu", getattr(card, method), ("cat", 7))
    result = mended(ShrinkBatch(split=True), context, make_error, recover)
    assert result.success
    assert not result.degraded, "nothing is missing"
    assert kind_of(result.changes.call) == kind_of(context.operation)
    assert len(retried(result, context)) == 7
    assert card.calls == [4, 2, 2, 3, 2, 1], "a part that is still too large is split again"
    assert "batch_size: 7 as 4 + 3, one after the other" in result.notes


def test_a_list_is_done_in_parts_and_stays_in_order(make_error, recover):
    card = Card(3)
    context = RecoveryContext("gpu", card.each, ([1, 2, 3, 4, 5],))
    result = mended(ShrinkBatch("items", split=True), context, make_error, recover)
    assert retried(result, context) == [10, 20, 30, 40, 50]
    assert card.calls == [3, 2]


@given(items=st.lists(st.integers(), min_size=2, max_size=40), room=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_whatever_fits_the_parts_are_the_whole(items, room):
    card = Card(room)
    context = RecoveryContext("gpu", card.each, (items,))
    strategy = ShrinkBatch("items", split=True)
    strategy.apply(None, context)
    assert strategy.verify(None, context) is True
    assert context.changes.call(items) == [item * 10 for item in items]
    assert max(card.calls[-1:]) <= room


def test_parts_that_do_not_add_up_are_an_error(make_error, recover):
    def lossy(items):
        return items[:1]

    context = RecoveryContext("gpu", lossy, ([1, 2, 3, 4],))
    result = mended(ShrinkBatch("items", split=True), context, make_error, recover)
    with pytest.raises(PartsMissingError, match="a part of 2 gave 1 results"):
        retried(result, context)


def test_a_part_at_the_minimum_fails_as_it_is(make_error, recover):
    card = Card(1)
    context = RecoveryContext("gpu", card.each, ([1, 2, 3, 4],))
    result = mended(ShrinkBatch("items", split=True, minimum=2), context, make_error, recover)
    with pytest.raises(MemoryError):
        retried(result, context)
    assert card.calls == [2]


def test_another_failure_of_a_part_is_not_split(make_error, recover):
    calls = []

    def broken(items):
        calls.append(len(items))
        raise ValueError("no")

    context = RecoveryContext("gpu", broken, ([1, 2, 3, 4],))
    result = mended(ShrinkBatch("items", split=True), context, make_error, recover)
    with pytest.raises(ValueError, match="no"):
        retried(result, context)
    assert calls == [2]


def test_without_the_function_it_cannot_be_split(make_error, recover):
    context = RecoveryContext("gpu", None, (), {"batch_size": 8})
    assert not mended(ShrinkBatch(split=True), context, make_error, recover).success


def test_results_of_other_kinds_need_a_join(make_error, recover):
    def total(items):
        return sum(items)

    context = RecoveryContext("gpu", total, ([1, 2, 3, 4],))
    strategy = ShrinkBatch("items", split=True, join=sum, count=None)
    assert retried(mended(strategy, context, make_error, recover), context) == 10
    strategy = ShrinkBatch("items", split=True, count=None)
    result = mended(strategy, context, make_error, recover)
    with pytest.raises(TypeError, match="only lists and tuples can be joined, got int: give join="):
        retried(result, context)


def test_lists_and_tuples_are_joined():
    assert join_in_order([[1], [2, 3]]) == [1, 2, 3]
    assert join_in_order([(1,), (2, 3)]) == (1, 2, 3)
    with pytest.raises(TypeError):
        join_in_order([[1], (2,)])


@given(st.integers(2, 10**6) | st.lists(st.none(), min_size=2) | st.tuples(st.none(), st.none()))
def test_halves_make_up_the_whole(value):
    parts = halves(value)
    assert sum(size_of(part) for part in parts) == size_of(value)
    assert all(0 < size_of(part) < size_of(value) for part in parts)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"argument": ""}, "argument must be"),
        ({"minimum": 0}, "minimum must be"),
        ({"split": 1}, "split must be True or False"),
        ({"join": None}, "join must be a function"),
        ({"count": 3}, "count must be a function"),
        ({"smaller_on": KeyboardInterrupt}, "smaller_on must name subclasses"),
    ],
)
def test_bad_settings_are_refused(settings, words):
    with pytest.raises(BadInputError, match=words):
        ShrinkBatch(**settings)
