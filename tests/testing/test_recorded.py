"""Collecting what policies say."""

from __future__ import annotations

import pytest

from holdfast import Backoff, Retry
from holdfast.events import CallFailed, RetryScheduled, RetryStopped, hub
from holdfast.testing import FakeClock, recorded_events, scenario


def fail_twice():
    with FakeClock(), pytest.raises(ConnectionError):
        Retry(max_attempts=2, backoff=Backoff.fixed(3.0)).call(scenario().then_fails())


def test_every_event_is_collected_in_order():
    with recorded_events() as seen:
        fail_twice()
    assert seen.names == ["RetryScheduled", "RetryStopped", "CallFailed"]
    assert [event.delay for event in seen.of(RetryScheduled)] == [3.0]
    assert seen[0].attempt == 1
    assert [type(event) for event in seen[1:]] == [RetryStopped, CallFailed]
    assert len(seen) == len(list(seen)) == 3


def test_only_the_kinds_asked_for_are_collected():
    with recorded_events(RetryStopped) as seen:
        fail_twice()
    assert seen.names == ["RetryStopped"]
    assert "RetryStopped" in repr(seen)


def test_nothing_is_collected_afterwards_and_nobody_listens_any_more():
    with recorded_events() as seen:
        pass
    fail_twice()
    assert not seen
    assert not hub.active
    assert repr(seen) == "RecordedEvents: none"


def test_what_was_collected_can_be_forgotten():
    with recorded_events() as seen:
        fail_twice()
        seen.clear()
        assert not seen
        fail_twice()
    assert len(seen) == 3
