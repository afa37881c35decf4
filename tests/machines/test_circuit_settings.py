"""A circuit's settings: what is right, and by what name the rest is refused."""

from __future__ import annotations

import math

import pytest

from holdfast.errors import BadInputError
from holdfast.machines.circuit import CircuitSettings

COUNTS = [
    "failure_threshold",
    "success_threshold",
    "half_open_max_calls",
    "minimum_calls",
    "window_calls",
    "slow_warmup",
]
TIMES = ["open_seconds", "open_maximum", "probe_seconds", "window", "slow_seconds"]
SHARES = ["failure_rate", "slow_rate"]
OTHERS = ["open_growth", "open_jitter", "open_forget", "slow_factor", "ramp_seconds"]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [0, -4, 1.5, True])
def test_counts_that_are_no_whole_number_from_one_are_refused_by_name(name, value):
    with pytest.raises(BadInputError, match=f"{name} must be at least 1, got {value}"):
        CircuitSettings(**{name: value})


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("value", [0.0, -1.5, True])
def test_times_that_are_none_are_refused_by_name(name, value):
    with pytest.raises(BadInputError, match=f"{name} must be above 0 seconds, got {value}"):
        CircuitSettings(**{name: value})


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("value", [0.0, -0.5, 1.1, True])
def test_shares_that_are_none_are_refused_by_name(name, value):
    with pytest.raises(BadInputError, match=f"{name} must be above 0 and at most 1, got {value}"):
        CircuitSettings(**{name: value})


@pytest.mark.parametrize("name", COUNTS + TIMES + SHARES + OTHERS)
@pytest.mark.parametrize("value", [math.nan, "5"])
def test_what_is_not_a_number_is_refused(name, value):
    # With a NaN for open_seconds the circuit would never close again.
    with pytest.raises(BadInputError, match=name):
        CircuitSettings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("open_growth", 0.5, "must be at least 1 and finite, got 0.5"),
        ("open_growth", math.inf, "must be at least 1 and finite, got inf"),
        ("open_jitter", 1.0, "must be at least 0 and below 1, got 1.0"),
        ("open_jitter", -0.1, "must be at least 0 and below 1, got -0.1"),
        ("open_forget", -1.0, "must be at least 0 seconds, got -1.0"),
        ("ramp_seconds", -1.0, "must be at least 0 seconds and finite, got -1.0"),
        ("ramp_seconds", math.inf, "must be at least 0 seconds and finite, got inf"),
        ("slow_factor", 1.0, "must be above 1 and finite, got 1.0"),
        ("slow_warmup", 10_001, "must be at most 10000, got 10001"),
        ("window", math.inf, "must be finite, got inf"),
        ("progress_closes", 1, "must be True or False, got 1"),
    ],
)
def test_what_is_out_of_its_range_is_refused_by_name(name, value, told):
    with pytest.raises(BadInputError) as refused:
        CircuitSettings(**{name: value})
    assert str(refused.value) == f"{name} {told}"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"slow_rate": 0.5}, "slow_rate needs window"),
        ({"failure_rate": 0.5}, "failure_rate needs window"),
        ({"window_calls": 10, "minimum_calls": 11}, "minimum_calls must be at most window_calls"),
        ({"window_calls": 10}, "minimum_calls must be at most window_calls"),
        ({"window": 60.0, "window_calls": 100}, "window_calls must be None beside window"),
        ({"slow_seconds": 2.0, "window": 60.0}, "slow_seconds needs slow_rate"),
        ({"failure_threshold": None}, "failure_threshold may be None only beside"),
        ({"failure_threshold": None, "window": 60.0}, "failure_threshold may be None only"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_by_name(settings, told):
    with pytest.raises(BadInputError, match=told):
        CircuitSettings(**settings)


def test_all_rules_can_be_had_together():
    settings = CircuitSettings(
        failure_threshold=5, failure_rate=0.5, slow_rate=1, window=60, minimum_calls=20
    )
    assert settings.forget_seconds == 600.0
    assert CircuitSettings(open_forget=7).forget_seconds == 7
