"""One pipeline for each host, and never more than so many."""

from __future__ import annotations

import pytest

from holdfast import BadInputError, Bulkhead, CircuitBreaker, Pipeline
from holdfast.integrations.hosts import SHARED, Hosts, idle
from holdfast.testing import FakeClock


def breaker_of(hosts, name):
    return hosts.pipeline(name).policies[0]


def each(max_hosts):
    return Hosts(
        lambda host: CircuitBreaker(host, timeout=60, timeout_jitter=0),
        per_host=True,
        max_hosts=max_hosts,
    )


def test_a_single_pipeline_serves_all_hosts():
    pipeline = Pipeline(Bulkhead(1))
    hosts = Hosts(pipeline, per_host=False, max_hosts=1)
    assert hosts.pipeline("a") is hosts.pipeline("b") is pipeline


def test_a_policy_alone_becomes_a_pipeline():
    hosts = Hosts(Bulkhead(1), per_host=False, max_hosts=1)
    assert hosts.pipeline("a") is hosts.pipeline("b")


def test_the_same_host_gets_the_same_pipeline_and_another_host_another():
    hosts = each(10)
    assert hosts.pipeline("a") is hosts.pipeline("a")
    assert hosts.pipeline("a") is not hosts.pipeline("b")
    assert breaker_of(hosts, "a").name == "a"


def test_a_million_names_keep_only_so_many():
    hosts = each(3)
    for number in range(1000):
        hosts.pipeline(f"host-{number}")
    assert len(hosts) == 3


def test_the_host_longest_unused_goes_first():
    hosts = each(2)
    a, b = hosts.pipeline("a"), hosts.pipeline("b")
    hosts.pipeline("a")
    hosts.pipeline("c")
    assert hosts.pipeline("a") is a
    assert hosts.pipeline("b") is not b


def test_a_host_whose_breaker_is_open_stays_until_its_time_is_up():
    with FakeClock() as clock:
        hosts = each(1)
        breaker_of(hosts, "down").trip()
        assert breaker_of(hosts, "other").name == SHARED
        assert breaker_of(hosts, "third").name == SHARED
        assert len(hosts) == 1
        clock.advance(61)
        assert breaker_of(hosts, "other").name == "other"
        assert len(hosts) == 1


def test_a_host_forced_open_by_hand_stays():
    hosts = each(1)
    breaker_of(hosts, "down").force_open()
    assert breaker_of(hosts, "other").name == SHARED


def test_a_host_with_calls_in_flight_stays():
    hosts = each(1)
    busy = hosts.pipeline("busy")

    def inside():
        assert not idle(busy)
        return breaker_of(hosts, "other").name

    assert busy.call(inside) == SHARED
    assert idle(busy)
    assert breaker_of(hosts, "other").name == "other"


def test_what_the_function_makes_must_be_a_policy_or_a_pipeline():
    hosts = Hosts(lambda host: 7, per_host=True, max_hosts=1)
    with pytest.raises(BadInputError, match="must be policies of holdfast, got 7"):
        hosts.pipeline("a")


def test_a_named_pipeline_guards_every_host_and_may_be_made_for_each():
    from holdfast.pipeline.registry import Registry

    registry = Registry()
    named = registry.get("one", lambda name: Pipeline(name=name))
    assert Hosts(named, per_host=False, max_hosts=3).pipeline("a") is named
    per_host = Hosts(
        lambda host: registry.get(host, lambda name: Pipeline(name=name)),
        per_host=True,
        max_hosts=3,
    )
    assert per_host.pipeline("a") is registry.get("a")
