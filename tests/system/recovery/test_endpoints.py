"""Moving to the next endpoint: it must answer, and the retry must use it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import BadInputError, ErrorCategory
from holdfast.system.recovery import (
    EndpointPool,
    NextEndpoint,
    RecoveryContext,
    RecoveryProcedure,
)
from holdfast.testing import FakeClock
from tests.system.recovery.conftest import Scripted

NETWORK = ErrorCategory.NETWORK


class Fleet:
    def __init__(self, *well, is_async=False):
        self.well, self.is_async, self.probed = set(well), is_async, []

    def probe(self, endpoint):
        self.probed.append(endpoint)
        answer = endpoint in self.well

        async def later():
            await asyncio.sleep(0)
            return answer

        return later() if self.is_async else answer


def procedure_of(*strategies):
    procedure = RecoveryProcedure()
    for strategy in strategies:
        procedure.register(NETWORK, strategy)
    return procedure


@pytest.mark.parametrize("is_async", [False, True])
def test_it_moves_to_the_next_one_that_answers(make_error, recover, is_async):
    fleet = Fleet("c", is_async=is_async)
    pool = EndpointPool(["a", "b", "c"], fleet.probe)
    result = recover(procedure_of(NextEndpoint(pool)), make_error())
    assert result.success
    assert pool.current == "c"
    assert fleet.probed == ["b", "c", "c"]
    assert set(pool.snapshot()["ejected"]) == {"a", "b"}
    assert result.notes == ("moved from 'a' to 'c'",)


@pytest.mark.parametrize("is_async", [False, True])
def test_when_no_other_answers_it_stays_and_claims_nothing(make_error, recover, is_async):
    pool = EndpointPool(["a", "b", "c"], Fleet("a", is_async=is_async).probe)
    result = recover(procedure_of(NextEndpoint(pool)), make_error())
    assert not result.success
    assert "no other endpoint is well: 'b': the probe answered False" in result.reason
    assert pool.current == "a"


def test_one_that_answers_once_and_no_more_is_no_success(make_error, recover):
    answers = iter([True, False])
    pool = EndpointPool(["a", "b"], lambda endpoint: next(answers))
    assert not recover(procedure_of(NextEndpoint(pool)), make_error()).success


def test_a_probe_that_raises_means_no(make_error, recover):
    def probe(endpoint):
        if endpoint == "b":
            raise OSError("down")
        return True

    pool = EndpointPool(["a", "b", "c"], probe)
    assert recover(procedure_of(NextEndpoint(pool)), make_error()).success
    assert pool.current == "c"


def test_with_one_endpoint_it_does_not_apply(make_error, recover):
    pool = EndpointPool(["a"], Fleet("a").probe)
    assert not recover(procedure_of(NextEndpoint(pool)), make_error()).success
    assert pool.rotate() == "a"


def fetch(url, path="/"):
    raise ConnectionError(url, path)


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        (("a", "/x"), {}, (("b", "/x"), {})),
        ((), {"url": "a", "path": "/x"}, ((), {"url": "b", "path": "/x"})),
    ],
)
def test_the_retry_gets_the_new_endpoint(make_error, recover, args, kwargs, expected):
    pool = EndpointPool(["a", "b"], Fleet("b").probe)
    context = RecoveryContext("db", fetch, args, kwargs)
    result = recover(procedure_of(NextEndpoint(pool, argument="url")), make_error(), context)
    assert result.changes.arguments == expected
    assert not result.degraded


def test_all_calls_that_share_the_move_get_the_new_endpoint(make_error, clock):
    pool = EndpointPool(["a", "b"], Fleet("b", is_async=True).probe)
    procedure = procedure_of(NextEndpoint(pool, argument="url"))

    async def main():
        contexts = [RecoveryContext("db", fetch, ("a", f"/{n}")) for n in range(5)]
        return await asyncio.gather(
            *(procedure.recover(make_error(), context) for context in contexts)
        )

    results = clock.run(main())
    assert [r.changes.arguments[0] for r in results] == [("b", f"/{n}") for n in range(5)]
    assert sum(r.shared for r in results) == 4


def test_a_call_that_used_an_endpoint_already_left_moves_nobody(make_error, recover):
    fleet = Fleet("b", "c")
    pool = EndpointPool(["a", "b", "c"], fleet.probe)
    pool.use("b")
    context = RecoveryContext("db", fetch, ("a",))
    result = recover(procedure_of(NextEndpoint(pool, argument="url")), make_error(), context)
    assert result.success
    assert pool.current == "b"
    assert result.changes.arguments == (("b",), {})


def test_the_next_strategy_has_its_turn(make_error, recover):
    pool = EndpointPool(["a", "b"], Fleet().probe)
    result = recover(procedure_of(NextEndpoint(pool), Scripted("last")), make_error())
    assert result.strategy == "last"


def test_an_ejection_ends(clock):
    pool = EndpointPool(["a", "b", "c"], Fleet().probe, eject=10)
    pool.eject("b")
    assert pool.candidates() == ["c", "b"]
    clock.advance(10)
    assert pool.candidates() == ["b", "c"]
    pool.eject("b")
    pool.pardon("b")
    assert pool.candidates() == ["b", "c"]


@given(moves=st.lists(st.sampled_from(["rotate", "eject a", "eject b", "eject c", "wait"])))
def test_there_is_always_a_current_one(moves):
    with FakeClock() as clock:
        pool = EndpointPool(["a", "b", "c"], Fleet().probe, eject=5)
        for move in moves:
            if move == "rotate":
                before = pool.current
                assert pool.rotate() != before
            elif move == "wait":
                clock.advance(2)
            else:
                pool.eject(move[-1])
            assert pool.current in pool.endpoints
            assert sorted([pool.current, *pool.candidates()]) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: EndpointPool([], print), "endpoints must be a list of at least one"),
        (lambda: EndpointPool("abc", print), "endpoints must be a list"),
        (lambda: EndpointPool(["a", "a"], print), "endpoints must be different"),
        (lambda: EndpointPool(["a"], None), "probe must be a function"),
        (lambda: EndpointPool(["a"], print, eject=0), "eject must be above 0"),
        (lambda: EndpointPool(["a"], print).use("b"), "endpoint must be one of"),
        (lambda: EndpointPool(["a"], print).eject("b"), "endpoint must be one of"),
        (lambda: NextEndpoint(["a"]), "pool must be a EndpointPool"),
        (lambda: NextEndpoint(EndpointPool(["a"], print), argument=""), "argument must be"),
    ],
)
def test_bad_settings_are_refused(make, words):
    with pytest.raises(BadInputError, match=words):
        make()
