"""Events in the log: as sentences, at the level they deserve."""

from __future__ import annotations

import logging
import typing

import pytest

from holdfast import BadInputError, CircuitBreaker, Pipeline, Retry, events, log_events
from holdfast.events import kinds
from holdfast.telemetry.log import LEVELS, sentence
from holdfast.testing import FakeClock


def fails():
    raise ConnectionError("no\x1b[31m route")


def test_what_policies_do_is_logged_at_its_level(caplog):
    caplog.set_level(logging.DEBUG, "holdfast")
    pipeline = Pipeline(Retry(2), CircuitBreaker("api", failure_threshold=2), name="search")
    with FakeClock(), log_events():
        pipeline.call(int)
        assert not pipeline.call_outcome(fails).ok
    told = [(record.levelname, record.getMessage().split(" ")[1]) for record in caplog.records]
    assert told == [
        ("DEBUG", "CallSucceeded"),
        ("INFO", "RetryScheduled"),
        ("WARNING", "CircuitChanged"),
        ("WARNING", "RetryStopped"),
        ("WARNING", "CallFailed"),
    ]
    assert isinstance(caplog.records[2].holdfast_event, events.CircuitChanged)
    assert all("\x1b" not in record.getMessage() for record in caplog.records)


def test_nothing_is_logged_after_closing(caplog):
    caplog.set_level(logging.DEBUG)
    log_events().close()
    Pipeline(Retry(2)).call(int)
    assert not caplog.records


def test_levels_and_logger_are_the_callers(caplog):
    caplog.set_level(logging.DEBUG)
    with log_events("my.service", levels={"CallSucceeded": logging.ERROR}):
        Pipeline(Retry(2), name="one").call(int)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("my.service", logging.ERROR)


@pytest.mark.parametrize("levels", [{"CallVanished": 10}, {"CallFailed": "high"}])
def test_unknown_events_and_levels_are_refused(levels):
    with pytest.raises(BadInputError, match="levels"):
        log_events(levels=levels)


def test_an_event_in_words():
    event = events.RetryScheduled("search", 3.0, 1, 0.25, "ConnectionError: no route")
    assert sentence(event) == (
        'search: RetryScheduled attempt=1 delay=0.25 error="ConnectionError: no route"'
    )


def test_the_union_holds_every_kind_of_event():
    everything = {
        kind
        for kind in vars(kinds).values()
        if isinstance(kind, type)
        and issubclass(kind, kinds.Occurrence)
        and kind is not kinds.Occurrence
    }
    assert set(typing.get_args(kinds.Event)) == everything
    assert {kind.__name__ for kind in everything} <= set(events.__all__)
    assert set(LEVELS) - {"RecoveryStarted", "RecoverySucceeded"} <= set(events.__all__)
