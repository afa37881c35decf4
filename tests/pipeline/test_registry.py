"""Registries: one object per name, never too many, all or nothing at a reload."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
import weakref

import pytest

from holdfast import Bulkhead, CircuitBreaker, Pipeline, Retry, Timeout
from holdfast.errors import BadInputError, CircuitBreakerOpenError
from holdfast.events import ConfigReloaded, listen
from holdfast.machines.circuit import CircuitState
from holdfast.pipeline.profiles import Profile
from holdfast.pipeline.registry import Registry
from holdfast.testing import FakeClock


def plain(name):
    return Pipeline(CircuitBreaker(name, failure_threshold=3, timeout=60), name=name)


def fails():
    raise ConnectionError


def breaker_of(pipeline):
    return next(policy for policy in pipeline.policies if isinstance(policy, CircuitBreaker))


def table(**pipelines):
    return {"pipelines": pipelines}


def retrying(number, **rest):
    return {"policies": [{"type": "retry", "max_attempts": number, "backoff": 0}], **rest}


@pytest.fixture
def clock():
    with FakeClock() as clock:
        yield clock


# -- names ---------------------------------------------------------------------------------


def test_a_name_is_always_the_same_object():
    registry = Registry()
    one = registry.get("one", plain)
    assert registry.get("one") is one
    assert registry.get("one", plain) is one
    assert registry.get("two", Profile.rpc) is not one
    assert registry.names() == ("one", "two")
    assert "one" in registry
    assert len(registry) == 2


def test_an_unknown_name_is_refused_with_the_nearest():
    registry = Registry()
    registry.get("search", plain)
    with pytest.raises(BadInputError, match="there is no pipeline 'serch'; did you mean search"):
        registry.get("serch")


def test_what_was_made_by_hand_is_kept_by_its_name():
    registry = Registry()
    pipeline = plain("mine")
    handle = registry.add(pipeline)
    assert registry.get("mine") is handle
    assert handle.current is pipeline
    with pytest.raises(BadInputError, match="'mine', which is taken"):
        registry.add(plain("mine"))


def test_what_was_removed_is_gone_and_still_works():
    registry = Registry()
    handle = registry.get("one", plain)
    assert registry.remove("one")
    assert not registry.remove("one")
    assert registry.names() == ()
    assert handle.call(len, "abc") == 3
    assert registry.get("one", plain) is not handle


def test_a_maker_that_makes_no_pipeline_is_refused_and_nothing_is_kept():
    registry = Registry()
    with pytest.raises(BadInputError, match="make must return a Pipeline, got 3"):
        registry.get("one", lambda name: 3)
    assert registry.names() == ()


def test_a_maker_that_fails_leaves_nothing_locked():
    registry = Registry()

    def broken(name):
        raise KeyError(name)

    with pytest.raises(KeyError):
        registry.get("one", broken)
    assert registry.get("one", plain).name == "one"


def test_a_maker_may_use_the_registry_itself():
    registry = Registry()
    registry.get("outer", lambda name: Pipeline(registry.breaker(name), name=name))
    assert breaker_of(registry.get("outer")) is registry.breaker("outer")


@pytest.mark.parametrize("name", ["", " ", 3, None, "x" * 201])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(BadInputError, match="name must be a text"):
        Registry().get(name, plain)
    with pytest.raises(BadInputError, match="name must be a text"):
        Registry().breaker(name)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"max_pipelines": 0}, "max_pipelines must be a whole number of at least 1, got 0"),
        ({"max_pipelines": True}, "max_pipelines must be a whole number"),
        ({"idle_seconds": 0}, "idle_seconds must be above 0 seconds, got 0"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings, told):
    with pytest.raises(BadInputError, match=told):
        Registry(**settings)


def test_of_two_that_make_the_same_name_at_once_the_first_one_counts():
    registry, first = Registry(), []

    def slow(name):
        # Another thread comes and goes while this one is making its pipeline.
        first.append(registry.get(name, plain))
        return plain(name)

    assert registry.get("x", slow) is first[0]
    assert registry.get("x") is first[0]


def test_8_threads_that_ask_for_one_name_get_one_object():
    registry, found, barrier = Registry(), [], threading.Barrier(8)

    def ask():
        barrier.wait()
        found.extend((registry.get(str(n), plain), registry.breaker(str(n))) for n in range(50))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 400
    assert len({id(handle) for handle, _ in found}) == 50
    assert len({id(breaker) for _, breaker in found}) == 50


# -- bounds --------------------------------------------------------------------------------


def test_at_the_limit_the_longest_unused_goes(clock):
    registry = Registry(max_pipelines=3)
    for name in ("a", "b", "c"):
        registry.get(name, plain)
    registry.get("a")
    registry.get("d", plain)
    assert registry.names() == ("a", "c", "d")


def test_no_breaker_with_anything_on_record_goes(clock):
    registry = Registry(max_pipelines=2)
    registry.get("failing", plain).call_outcome(fails)
    registry.get("clean", plain)
    registry.get("new", plain)
    assert registry.names() == ("failing", "new")


def test_no_open_breaker_goes_however_long_it_is_unused(clock):
    registry = Registry(max_pipelines=1, idle_seconds=10)
    breaker_of(
        registry.get("open", lambda name: Pipeline(CircuitBreaker(name, 1, timeout=600)))
    ).trip()
    clock.advance(300)
    registry.get("new", plain)
    assert registry.names() == ("open",)
    assert registry.snapshot()["turned_away"] == 1


def test_no_breaker_that_has_just_recovered_goes(clock):
    registry = Registry(max_pipelines=1, idle_seconds=1000)
    breaker = breaker_of(registry.get("recovered", plain))
    breaker.trip()
    clock.advance(breaker.retry_after)
    for _ in range(2):
        breaker.call(len, "x")
    assert breaker.state is CircuitState.CLOSED
    registry.get("new", plain)
    assert registry.names() == ("recovered",)


@pytest.mark.parametrize("way", ["force_open", "disable", "metrics_only"])
def test_no_breaker_set_by_hand_goes(clock, way):
    registry = Registry(max_pipelines=1, idle_seconds=10)
    getattr(breaker_of(registry.get("set", plain)), way)()
    clock.advance(1000)
    registry.get("new", plain)
    assert registry.names() == ("set",)


def test_after_a_long_time_unused_old_failures_and_an_opening_that_is_over_go(clock):
    registry = Registry(max_pipelines=2, idle_seconds=600)
    registry.get("failing", plain).call_outcome(fails)
    breaker_of(registry.get("dead", plain)).trip()
    clock.advance(601)
    registry.get("new", plain)
    registry.get("newer", plain)
    assert registry.names() == ("new", "newer")


def test_no_pipeline_with_a_call_in_flight_goes(clock):
    registry = Registry(max_pipelines=1)

    async def main():
        call = asyncio.ensure_future(registry.get("busy", plain).execute(asyncio.sleep, 5))
        await asyncio.sleep(1)
        registry.get("new", plain)
        assert registry.names() == ("busy",)
        await call
        registry.get("new", plain)

    clock.run(main())


def test_when_none_can_go_the_new_one_works_and_is_not_kept(clock):
    registry = Registry(max_pipelines=1)
    registry.get("failing", plain).call_outcome(fails)
    extra = registry.get("extra", plain)
    assert extra.call(len, "abc") == 3
    assert registry.names() == ("failing",)
    assert registry.get("extra", plain) is extra
    gone = weakref.ref(extra)
    del extra
    gc.collect()
    assert gone() is None


def test_a_name_keeps_its_state_while_anybody_holds_it_even_if_it_is_not_kept(clock):
    registry = Registry(max_pipelines=1)
    held = registry.get("held", plain)
    registry.get("new", plain)
    assert registry.names() == ("new",)
    assert registry.get("held", plain) is held


def test_what_was_added_or_configured_never_goes(clock):
    registry = Registry(max_pipelines=2)
    registry.add(plain("mine"))
    registry.load(table(configured=retrying(2)))
    registry.get("new", plain)
    assert registry.names() == ("configured", "mine")
    with pytest.raises(BadInputError, match=r"max_pipelines \(2\) are registered"):
        registry.add(plain("other"))


def test_a_flood_of_names_takes_no_memory_once_the_registry_is_full(clock):
    registry = Registry(max_pipelines=20)

    def flood(began):
        for n in range(began, began + 300):
            registry.get(f"host{n}", plain).call_outcome(fails if n % 2 else dict)
            registry.breaker(f"host{n}").record_failure()

    flood(0)
    tracemalloc.start()
    try:
        flood(300)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        flood(600)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(registry) == 20
    assert len(registry.breakers()) == 20
    # 300 pipelines would take more than a million bytes.
    assert after - before < 100_000


# -- breakers ------------------------------------------------------------------------------


def test_a_breaker_is_made_once_with_its_settings():
    registry = Registry()
    breaker = registry.breaker("db", failure_threshold=2)
    assert registry.breaker("db") is breaker
    assert registry.breaker("db", failure_threshold=2) is breaker
    assert registry.breakers() == {"db": breaker}
    with pytest.raises(BadInputError, match="failure_threshold must be what the breaker 'db' was"):
        registry.breaker("db", failure_threshold=9)
    with pytest.raises(BadInputError, match=r"breaker\.failure_treshold is no setting"):
        registry.breaker("cache", failure_treshold=9)


def test_breakers_are_bounded_and_the_clean_go_first(clock):
    registry = Registry(max_pipelines=2)
    registry.breaker("failing").record_failure()
    registry.breaker("clean")
    registry.breaker("new")
    assert list(registry.breakers()) == ["failing", "new"]


def test_a_configured_breaker_is_found_by_its_name():
    registry = Registry()
    registry.load({"breakers": {"db": {"failure_threshold": 4}}})
    assert registry.breaker("db").circuit.settings.failure_threshold == 4
    assert list(registry.breakers()) == ["db"]


def test_a_breaker_made_by_name_keeps_its_state_when_a_configuration_takes_it_over(clock):
    registry = Registry()
    breaker = registry.breaker("db", failure_threshold=9)
    breaker.trip()
    registry.load({"breakers": {"db": {"failure_threshold": 4}}})
    assert registry.breaker("db") is breaker
    assert breaker.state is CircuitState.OPEN
    assert breaker.circuit.settings.failure_threshold == 4


# -- reloading -----------------------------------------------------------------------------


def test_a_reload_is_seen_by_handles_and_decorated_functions_at_their_next_call(clock):
    registry = Registry()
    registry.load(table(search=retrying(2)))
    handle, calls = registry.get("search"), []

    @handle
    def fetch():
        calls.append(1)
        raise ConnectionError

    for number in (2, 5, 3):
        registry.reload(table(search=retrying(number)))
        calls.clear()
        with pytest.raises(ConnectionError):
            fetch()
        assert len(calls) == number
        assert registry.get("search") is handle


def test_a_call_in_flight_goes_on_with_what_it_started_with(clock):
    registry = Registry()
    registry.load(table(x={"policies": [{"type": "timeout", "seconds": 10}]}))

    async def main():
        call = asyncio.ensure_future(registry.get("x").execute(asyncio.sleep, 5, "done"))
        await asyncio.sleep(1)
        registry.reload(table(x={"policies": [{"type": "timeout", "seconds": 0.1}]}))
        assert await call == "done"
        with pytest.raises(TimeoutError):
            await registry.get("x").execute(asyncio.sleep, 5)

    clock.run(main())


def test_an_open_breaker_stays_open_under_new_settings_with_its_era_and_its_end(clock):
    registry = Registry()
    registry.load(table(x={"policies": [{"type": "circuit_breaker", "failure_threshold": 2}]}))
    handle = registry.get("x")
    breaker = breaker_of(handle)
    for _ in range(2):
        handle.call_outcome(fails)
    era, until = breaker.circuit.era, breaker.circuit.open_until
    registry.reload(table(x={"policies": [{"type": "circuit_breaker", "failure_threshold": 7}]}))
    assert breaker_of(handle) is breaker
    assert (breaker.circuit.era, breaker.circuit.open_until) == (era, until)
    assert breaker.circuit.settings.failure_threshold == 7
    with pytest.raises(CircuitBreakerOpenError):
        handle.call(len, "x")


def test_counted_failures_survive_and_count_against_the_new_threshold(clock):
    registry = Registry()
    registry.load(table(x={"policies": [{"type": "circuit_breaker", "failure_threshold": 5}]}))
    handle = registry.get("x")
    for _ in range(2):
        handle.call_outcome(fails)
    registry.reload(table(x={"policies": [{"type": "circuit_breaker", "failure_threshold": 3}]}))
    handle.call_outcome(fails)
    assert breaker_of(handle).state is CircuitState.OPEN


def test_a_breaker_learns_to_judge_results_at_a_reload(clock):
    registry = Registry()
    bad = {"is_bad": lambda value: value == "bad"}
    breaker = {"type": "circuit_breaker", "failure_threshold": 2}
    registry.load(table(x={"policies": [breaker]}), names=bad)
    handle = registry.get("x")
    for _ in range(5):
        assert handle.call(str, "bad") == "bad"
    registry.reload(table(x={"policies": [breaker | {"failure_on_result": "@is_bad"}]}))
    for _ in range(2):
        handle.call(str, "bad")
    assert breaker_of(handle).state is CircuitState.OPEN


def ways_around(breaker):
    """Pipelines made by hand around a breaker before its settings change, and the breaker alone."""
    stacked, bare = Pipeline(Timeout(50), Retry(max_attempts=1), breaker), Pipeline(breaker)
    return {
        "call": lambda fn: Pipeline.call(stacked, fn),
        "decorated": lambda fn: stacked(fn)(),
        "async": lambda fn: asyncio.run(stacked.execute(fn)),
        "async, no limit": lambda fn: asyncio.run(bare.execute(fn)),
        "alone": breaker.call,
    }


@pytest.mark.parametrize("way", ["call", "decorated", "async", "async, no limit", "alone"])
def test_a_reload_reaches_pipelines_made_by_hand_around_the_breaker(clock, way):
    registry = Registry()
    registry.breaker("b", failure_threshold=2)
    call = ways_around(registry.breaker("b"))[way]
    assert call(lambda: "bad") == "bad"  # what a hot path looks at is decided by now
    config = {"breakers": {"b": {"failure_threshold": 2, "failure_on_result": "@is_bad"}}}
    registry.load(config, names={"is_bad": lambda value: value == "bad"})

    for _ in range(2):
        call(lambda: "bad")

    assert registry.breaker("b").state is CircuitState.OPEN


@pytest.mark.parametrize("way", ["call", "decorated", "async", "async, no limit", "alone"])
def test_a_breaker_learns_to_measure_at_a_reload(clock, way):
    registry = Registry()
    registry.breaker("b", failure_threshold=2)
    call = ways_around(registry.breaker("b"))[way]
    assert call(lambda: 1) == 1
    slow = {"slow_rate": 0.5, "slow_seconds": 1.0, "window_calls": 4, "minimum_calls": 4}
    registry.load({"breakers": {"b": slow}})

    for _ in range(4):
        call(lambda: clock.advance(2.0))

    assert registry.breaker("b").state is CircuitState.OPEN


def test_a_call_in_flight_at_such_a_reload_counts_once(clock):
    registry = Registry()
    breaker = registry.breaker("b", failure_threshold=3)
    pipeline = Pipeline(breaker)

    def reload_and_fail():
        config = {"breakers": {"b": {"failure_threshold": 3, "failure_on_result": "@is_bad"}}}
        registry.load(config, names={"is_bad": bool})
        raise ConnectionError

    pipeline.call_outcome(reload_and_fail)

    assert breaker.snapshot()["failures"] == 1


def test_what_has_not_changed_is_the_very_same_object():
    registry = Registry()
    kept = [
        {"type": "bulkhead", "max_concurrent": 3},
        {"type": "rate_limiter", "rate": 5},
        {"type": "hedge", "after": "p95"},
        {"type": "retry", "budget": "b"},
    ]
    configured = {"budgets": {"b": {"ratio": 0.1}}, **table(x={"policies": kept})}
    registry.load(configured)
    before = registry.get("x").policies
    timed = [{"type": "timeout", "seconds": 10}, *kept]
    configured = {"budgets": {"b": {"ratio": 0.1}}, **table(x={"policies": timed})}
    assert registry.reload(configured) == ("x",)
    now = registry.get("x").policies[1:]
    for old, new in zip(before[:2], now[:2], strict=True):
        assert old is new
    assert now[3].budget is before[3].budget


def test_an_unchanged_pipeline_is_not_built_anew_and_not_told():
    registry = Registry()
    profiled = {"profile": "rpc", "policies": [{"type": "cache", "seconds": 5}]}
    registry.load(table(same=profiled, other=retrying(2)))
    current = registry.get("same").current
    assert registry.reload(table(same=profiled, other=retrying(3))) == ("other",)
    assert registry.get("same").current is current
    assert registry.reload(table(same=profiled, other=retrying(3))) == ()


def test_a_changed_budget_reaches_all_who_share_it_and_nobody_else():
    def configured(ratio):
        shared = {"profile": "rpc", "budget": "b"}
        return {"budgets": {"b": {"ratio": ratio}}, **table(a=shared, b=shared, c=retrying(2))}

    registry = Registry()
    registry.load(configured(0.1))
    assert registry.reload(configured(0.5)) == ("a", "b")
    budgets = [
        next(policy.budget for policy in registry.get(name).policies if isinstance(policy, Retry))
        for name in ("a", "b")
    ]
    assert budgets[0] is budgets[1]
    assert budgets[0].ratio == 0.5


BAD = [
    table(search=retrying(9), other={"policies": [{"type": "retry", "max_atempts": 1}]}),
    table(search=retrying(9), other={"policies": [{"type": "timeout", "seconds": -1}]}),
    table(search=retrying(9), mine=retrying(1)),
    table(search=retrying(9), **{f"n{n}": retrying(1) for n in range(20)}),
    {"breakers": {"db": {"timeout": 1}}, **table(search={"profile": "no"})},
]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_a_reload_that_fails_changes_nothing(clock, bad):
    registry = Registry(max_pipelines=10)
    registry.add(plain("mine"))
    registry.load(
        {"breakers": {"db": {"timeout": 9}}, **table(search=retrying(2), gone=retrying(3))}
    )
    current = {name: registry.get(name).current for name in registry.names()}
    told = []
    with listen(told.append), pytest.raises(BadInputError):
        registry.reload(bad)
    assert told == []
    assert {name: registry.get(name).current for name in registry.names()} == current
    assert registry.breaker("db").circuit.settings.open_seconds == 9
    assert registry.reload(table(search=retrying(2), gone=retrying(3))) == ()


def test_a_reload_tells_which_pipelines_are_new_gone_or_changed(clock):
    registry, told = Registry(), []
    registry.load(table(a=retrying(1), b=retrying(1), c=retrying(1)))
    with listen(told.append):
        changed = registry.reload(table(a=retrying(1), b=retrying(2), d=retrying(1)))
    assert changed == ("b", "c", "d")
    assert told == [ConfigReloaded("registry", clock.now(), ("b", "c", "d"))]


def test_what_is_no_longer_configured_works_on_and_follows_again_when_it_returns(clock):
    registry = Registry()
    registry.load(table(x=retrying(2)))
    handle = registry.get("x")
    registry.reload(table(y=retrying(1)))
    assert registry.names() == ("y",)
    with pytest.raises(BadInputError, match="there is no pipeline 'x'"):
        registry.get("x")
    assert handle.call_outcome(fails).attempts == 2
    registry.reload(table(x=retrying(4)))
    assert registry.get("x") is handle
    assert handle.call_outcome(fails).attempts == 4


def test_a_pipeline_made_on_demand_comes_under_the_configuration_of_its_name(clock):
    registry = Registry()
    handle = registry.get("x", plain)
    registry.load(table(x=retrying(4)))
    assert registry.get("x") is handle
    assert handle.call_outcome(fails).attempts == 4


def test_without_arguments_the_file_is_read_again(tmp_path, clock):
    path = tmp_path / "holdfast.toml"
    path.write_text('[pipelines.x]\nprofile = "@mine"\nmax_attempts = 2\n')
    registry = Registry()
    registry.load(path, names={"mine": Profile.rpc.but(on=ConnectionError)})
    path.write_text('[pipelines.x]\nprofile = "@mine"\nmax_attempts = 3\n')
    assert registry.reload() == ("x",)
    assert registry.get("x").call_outcome(fails).attempts == 3
    path.write_text("[pipelines.x")
    with pytest.raises(BadInputError, match="is not TOML"):
        registry.reload()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        registry.reload()
    assert registry.get("x").call_outcome(fails).attempts == 3


def test_there_is_nothing_to_reload_before_anything_was_loaded():
    with pytest.raises(BadInputError, match="nothing has been loaded yet"):
        Registry().reload()


def test_reloads_under_load_break_no_call_and_all_follow(clock):
    registry = Registry()
    registry.load(table(a=retrying(1), b=retrying(1)))
    a, b, stop, seen = registry.get("a"), registry.get("b"), threading.Event(), set()

    def call():
        while not stop.is_set():
            seen.add(a.call_outcome(fails).attempts)
            seen.add(b.call_outcome(fails).attempts)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in (2, 3, 4) * 10:
        registry.reload(table(a=retrying(number), b=retrying(number)))
    stop.set()
    for thread in threads:
        thread.join()
    assert seen <= {1, 2, 3, 4}
    assert a.call_outcome(fails).attempts == b.call_outcome(fails).attempts == 4


# -- looking at it -------------------------------------------------------------------------


def test_the_snapshot_has_everything_as_plain_data(clock):
    registry = Registry(max_pipelines=5)
    registry.add(Pipeline(Timeout(5), Bulkhead(3), name="mine"))
    registry.get("made", plain).call_outcome(fails)
    registry.breaker("db").trip()
    told = registry.snapshot()
    assert list(told["pipelines"]) == ["made", "mine"]
    assert told["pipelines"]["made"]["policies"]["1. CircuitBreaker"]["failures"] == 1
    assert told["pipelines"]["mine"]["policies"]["2. Bulkhead"]["max_concurrent"] == 3
    assert told["breakers"]["db"]["state"] is CircuitState.OPEN
    assert (told["max_pipelines"], told["turned_away"]) == (5, 0)
    assert "2 pipelines" in repr(registry)


def test_the_process_has_a_registry_of_its_own():
    from holdfast.pipeline.registry import registry

    assert isinstance(registry, Registry)


@pytest.mark.parametrize("name", ["", " ", 7])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(BadInputError, match="name must be a text"):
        Registry().get(name, plain)
    with pytest.raises(BadInputError, match="name must be a text"):
        Registry().add(Pipeline(Retry()), name)


# -- a reload after a removal ---------------------------------------------------------------


def test_a_configured_pipeline_that_was_removed_is_back_after_a_reload():
    registry = Registry()
    registry.load(table(a=retrying(2), b=retrying(3)))
    handle = registry.get("a")
    assert registry.remove("a")
    assert registry.names() == ("b",)
    assert registry.reload() == ("a",)
    assert registry.names() == ("a", "b")
    assert registry.get("a") is handle


def test_a_reload_without_what_was_removed_changes_all_the_rest():
    registry = Registry()
    registry.load(table(a=retrying(2), b=retrying(3), c=retrying(2)))
    registry.remove("a")
    assert registry.load(table(b=retrying(4))) == ("b", "c")
    assert registry.names() == ("b",)
    assert registry.get("b").policies[0].max_attempts == 4


def test_a_removed_name_may_be_given_by_hand_and_then_not_configured():
    registry = Registry()
    registry.load(table(a=retrying(2)))
    registry.remove("a")
    mine = registry.add(plain("a"))
    with pytest.raises(BadInputError, match=r"pipelines\.a must not be given"):
        registry.reload()
    assert registry.get("a") is mine


def test_a_value_equal_to_the_old_one_but_of_a_wrong_type_is_refused_at_a_reload():
    registry = Registry()
    registry.load(table(a=retrying(1)))
    with pytest.raises(BadInputError, match="max_attempts"):
        registry.load(table(a=retrying(True)))
    assert registry.get("a").policies[0].max_attempts == 1


def test_a_snapshot_has_every_budget_and_a_pipelines_own():
    registry = Registry()
    registry.load(
        {
            "budgets": {"shared": {"ratio": 0.5}},
            "pipelines": {
                "a": {"policies": [{"type": "retry", "budget": "shared"}]},
                "b": {"profile": "rpc"},
            },
        }
    )
    told = registry.snapshot()
    assert list(told["budgets"]) == ["shared"]
    assert told["budgets"]["shared"]["ratio"] == 0.5
    assert told["pipelines"]["a"]["policies"]["1. Retry"]["budget"]["name"] == "shared"
    assert "budget" in str(told["pipelines"]["b"])


@pytest.mark.parametrize("dropped_by", ["hand", "reload"])
@pytest.mark.parametrize("back_by", ["get", "add"])
def test_a_name_that_comes_back_is_the_handle_that_somebody_still_has(dropped_by, back_by):
    registry = Registry()
    registry.load(table(a=retrying(2)))
    handle = registry.get("a")
    if dropped_by == "hand":
        registry.remove("a")
    else:
        registry.load(table())

    back = registry.get("a", plain) if back_by == "get" else registry.add(plain("a"))

    assert back is handle
    assert breaker_of(handle).name == "a"
    if back_by == "get":
        registry.load(table(a=retrying(4)))
        assert registry.get("a") is handle
        assert handle.call_outcome(fails).attempts == 4
