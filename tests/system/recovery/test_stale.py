"""An old result is offered with its age, or not at all."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.errors import BadInputError, ErrorCategory
from holdfast.system.recovery import (
    LastResults,
    RecoveryContext,
    RecoveryProcedure,
    ServeStale,
    Stale,
)


def load(user):
    raise ConnectionError(user)


@pytest.fixture
def mend(recover, make_error):
    def run(strategy, context=None):
        procedure = RecoveryProcedure()
        procedure.register(ErrorCategory.NETWORK, strategy)
        return recover(procedure, make_error(), context)

    return run


def test_an_old_result_is_offered_and_marked(mend, clock):
    last = LastResults()
    last.keep({"name": "Ada"}, load, (1,), {})
    clock.advance(90)
    result = mend(ServeStale(last.lookup, max_age=100), RecoveryContext("db", load, (1,)))
    assert result.success
    assert result.changes.offer.value == {"name": "Ada"}
    assert result.changes.offer.note == "a result 90 s old, in place of ConnectionError"
    assert result.degraded
    assert result.notes == (result.changes.offer.note,)


@pytest.mark.parametrize(
    ("context", "wait", "words"),
    [
        (RecoveryContext("db", load, (2,)), 0, "there is no earlier result"),
        (RecoveryContext("db", load, (True,)), 0, "there is no earlier result"),
        (RecoveryContext("db", print, (1,)), 0, "there is no earlier result"),
        (RecoveryContext("db"), 0, "there is no earlier result"),
        (RecoveryContext("db", load, (1,)), 101, "is 101 s old, and at most 100 s is allowed"),
    ],
)
def test_without_one_young_enough_nothing_is_claimed(mend, clock, context, wait, words):
    last = LastResults()
    last.keep("Ada", load, (1,), {})
    clock.advance(wait)
    result = mend(ServeStale(last.lookup, max_age=100), context)
    assert not result.success
    assert words in result.reason
    assert not result.changes


@pytest.mark.parametrize("age", [-1.0, float("nan"), float("inf")])
def test_an_age_that_makes_no_sense_is_too_old(mend, age):
    assert not mend(ServeStale(lambda context: Stale(1, age), max_age=100)).success


def test_a_lookup_must_tell_the_age(mend):
    result = mend(ServeStale(lambda context: {"name": "Ada"}, max_age=100))
    assert "lookup must return a Stale or None, got dict" in result.reason


def test_a_lookup_may_be_async(mend):
    async def lookup(context):
        await asyncio.sleep(0)
        return Stale(context.args[0], 5.0)

    result = mend(ServeStale(lookup, max_age=100), RecoveryContext("db", load, (7,)))
    assert result.changes.offer.value == 7


def test_none_can_be_a_result(mend):
    result = mend(ServeStale(lambda context: Stale(None, 1.0), max_age=10))
    assert result.success
    assert result.changes.offer.value is None


def test_last_results_are_bounded_and_the_unused_go_first():
    last = LastResults(2)
    for user in (1, 2):
        last.keep(user, load, (user,), {})
    assert last.lookup(RecoveryContext("db", load, (1,))).value == 1
    last.keep(3, load, (3,), {})
    found = [last.lookup(RecoveryContext("db", load, (user,))) for user in (1, 2, 3)]
    assert [stale and stale.value for stale in found] == [1, None, 3]


def test_a_key_of_ones_own_tells_calls_apart():
    last = LastResults(key=lambda request: request["id"])
    last.keep("page", load, ({"id": 7},), {})
    assert last.lookup(RecoveryContext("db", load, ({"id": 7, "try": 2},))).value == "page"


def test_bad_settings_are_refused():
    with pytest.raises(BadInputError, match="max_age must be above 0"):
        ServeStale(print, max_age=0)
    with pytest.raises(BadInputError, match="lookup must be a function"):
        ServeStale(None, max_age=1)
    with pytest.raises(BadInputError, match="max_entries must be"):
        LastResults(0)
