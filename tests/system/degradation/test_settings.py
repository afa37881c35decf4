"""Settings that cannot work are refused, by name."""

from __future__ import annotations

import dataclasses
import math

import pytest

from holdfast.errors import BadInputError, ErrorSeverity
from holdfast.system.degradation import DegradationSettings, Thresholds

FIVE = Thresholds((0.1, 0.2, 0.3, 0.4, 0.5))


def test_they_are_frozen_and_a_severity_may_be_a_word():
    settings = DegradationSettings(severity="high")
    assert settings.severity is ErrorSeverity.HIGH
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.severity = None


def test_every_driver_can_be_off():
    settings = DegradationSettings(severity=None, failures=None, memory=None, memory_stalls=None)
    assert settings.rules().worst == 4


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"severity": "awful"}, "severity must be one of low, medium, high, critical"),
        ({"failures": 0.5}, "failures must be a Thresholds"),
        ({"failures": FIVE}, "failures must have at most 4 thresholds"),
        ({"failures": Thresholds((1.5,))}, "failures must hold shares of at most 1"),
        ({"memory": Thresholds((0.9, 90.0))}, "memory must hold shares of at most 1"),
        ({"memory_stalls": Thresholds((2.0,))}, "memory_stalls must hold shares"),
        ({"latency": Thresholds((1.0, 2.0))}, "latency must hold multiples above 1"),
        ({"latency": Thresholds((1.2, 2.0))}, "latency must restore above 1"),
        ({"latency_target": 5.0}, "latency_target needs latency, got 5.0 without it"),
        ({"latency_target": 0.0}, "latency_target must be above 0"),
        ({"latency_quantile": 1.5}, "latency_quantile must be above 0 and at most 1"),
        ({"window_seconds": math.nan}, "window_seconds must be above 0"),
        ({"minimum_calls": 0}, "minimum_calls must be a whole number of at least 1"),
        ({"max_scopes": 0}, "max_scopes must be"),
        ({"max_history": 1.5}, "max_history must be"),
        ({"step_seconds": -1.0}, "step_seconds must be at least 0"),
        ({"cooldown": math.inf}, "cooldown must be"),
        ({"quiet_seconds": 10.0}, "quiet_seconds must be at least step_seconds, which is 30"),
        ({"quiet_maximum": 10.0}, "quiet_maximum must be at least quiet_seconds"),
        ({"reading_seconds": 0}, "reading_seconds must be above 0"),
    ],
)
def test_what_cannot_work_is_refused(arguments, told):
    with pytest.raises(BadInputError, match=told):
        DegradationSettings(**arguments)


def test_a_latency_target_may_be_restored_from_below_itself():
    slow = Thresholds((1.2, 2.0), (0.9, 1.1))
    assert DegradationSettings(latency=slow, latency_target=5.0).latency is slow
