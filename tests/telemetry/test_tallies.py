"""Latencies and recoveries by name: bounded, and counted all."""

from __future__ import annotations

import json
from math import nan

import pytest

from holdfast.errors import BadInputError, ErrorCategory
from holdfast.telemetry.groups import OTHER
from holdfast.telemetry.tallies import Latencies, Recoveries


def test_percentiles_are_right_to_one_percent():
    latencies = Latencies()
    for number in range(1, 1001):
        latencies.add("gpu1", number / 10)
    assert latencies.percentiles("gpu1") == {
        "p50": pytest.approx(50.0, rel=0.0102),
        "p90": pytest.approx(90.0, rel=0.0102),
        "p95": pytest.approx(95.0, rel=0.0102),
        "p99": pytest.approx(99.0, rel=0.0102),
        "max": 100.0,
    }
    assert latencies.told()["gpu1"]["count"] == 1000
    assert latencies.percentiles("gpu2") == {}


def test_no_percentile_is_above_the_longest():
    for value in (1.0, 1.005, 3.3):
        latencies = Latencies()
        latencies.add("gpu1", value)
        told = latencies.percentiles("gpu1")
        assert told["p99"] <= value
        assert told["max"] == value


def test_names_beyond_the_limit_are_counted_together():
    latencies, recoveries = Latencies(limit=2), Recoveries(limit=2)
    for name in ("a", "b", "c", "d", "a"):
        latencies.add(name, 1.0)
        recoveries.add(name, ErrorCategory.MODEL, True, 1.0)
    assert {name: found["count"] for name, found in latencies.told().items()} == {
        "a": 2,
        "b": 1,
        OTHER: 2,
    }
    assert {name: found["attempted"] for name, found in recoveries.told().items()} == {
        "a": 2,
        "b": 1,
        OTHER: 2,
    }


def test_a_strategy_is_told_by_category_rate_and_time():
    recoveries = Recoveries()
    for successful in (True, False, True, True):
        recoveries.add("reconnect", ErrorCategory.NETWORK, successful, 2.0)
    told = recoveries.told()["reconnect"]
    assert (told["attempted"], told["successful"], told["rate"]) == (4, 3, 0.75)
    assert told["by_category"] == {"network": 4}
    assert told["seconds"]["p50"] == pytest.approx(2.0, rel=0.0102)
    assert recoveries.rate("reconnect") == 0.75
    assert recoveries.rate("nothing") == 0.0
    json.dumps(told, allow_nan=False)


def test_what_is_refused_is_not_counted():
    recoveries = Recoveries()
    with pytest.raises(BadInputError):
        recoveries.add("a", ErrorCategory.MODEL, True, nan)
    assert recoveries.rate("a") == 0.0
    assert recoveries.told().get("a", {"attempted": 0})["attempted"] == 0
