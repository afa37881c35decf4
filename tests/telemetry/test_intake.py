"""What is taken from an error: plain, cut to size, whatever it was filled with."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.error_info import ErrorInfo
from holdfast.errors import BadInputError, ErrorCategory, ErrorSeverity
from holdfast.telemetry.analytics import ErrorAnalytics
from holdfast.telemetry.intake import (
    MESSAGE_CHARACTERS,
    TRACEBACK_CHARACTERS,
    moments_of,
    plain,
)
from holdfast.testing import FakeClock


def info(**more):
    told = {
        "timestamp": datetime.now(UTC),
        "error_type": "E",
        "error_message": "m",
        "category": ErrorCategory.NETWORK,
        "severity": ErrorSeverity.LOW,
    }
    return ErrorInfo(**(told | more))


class Unreadable:
    def __str__(self):
        raise RuntimeError("no")


class Torn(Mapping):
    def __getitem__(self, key):
        raise KeyError(key)

    def __iter__(self):
        raise RuntimeError("changed during iteration")

    def __len__(self):
        return 3


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"error_message": Unreadable()}, {"error_message": "<Unreadable>"}),
        ({"error_message": 17}, {"error_message": "17"}),
        ({"error_message": None}, {"error_message": "None"}),
        ({"error_message": "\ud800\0"}, {"error_message": "\ud800\0"}),
        ({"traceback": ["no", "text"]}, {"traceback": "['no', 'text']"}),
        ({"traceback": Unreadable()}, {"traceback": "<Unreadable>"}),
        ({"context": Torn()}, {"context": {"unreadable": "RuntimeError"}}),
        ({"frames": ["a:f", "b:g"]}, {"frames": ("a:f", "b:g")}),
        ({"category": "network"}, {"category": ErrorCategory.NETWORK}),
        ({"dependency": "x" * 300}, {"dependency": "x" * 199 + "…"}),
    ],
)
def test_anything_is_recorded(given, kept):
    analytics = ErrorAnalytics()
    for _ in range(2):
        analytics.record_error(info(**given))
    for found in analytics.error_history:
        for name, value in kept.items():
            assert getattr(found, name) == value
    assert analytics.generate_report()["total_errors"] == 2


@pytest.mark.parametrize("field", ["category", "severity", "suggested_recovery"])
def test_a_word_that_is_none_of_ours_is_refused_and_not_counted(field):
    analytics = ErrorAnalytics()
    with pytest.raises(BadInputError, match="cannot be counted"):
        analytics.record_error(info(**{field: "weird"}))
    assert analytics.generate_report()["total_errors"] == 0


def test_a_message_keeps_its_beginning_and_a_traceback_its_end():
    analytics = ErrorAnalytics()
    analytics.record_error(info(error_message="m" * 10**6, traceback="a" * 10**6 + "the end"))
    (kept,) = analytics.error_history
    assert kept.error_message == "m" * (MESSAGE_CHARACTERS - 1) + "…"
    assert len(kept.traceback) == TRACEBACK_CHARACTERS
    assert kept.traceback.endswith("the end")


def test_a_context_keeps_nothing_of_the_callers_alive():
    class Model:
        pass

    model = Model()
    gone = weakref.ref(model)
    analytics = ErrorAnalytics()
    number = analytics.record_error(info(context={"model": model, model: [model]}))
    analytics.resolve(number, successful=False)  # so that the error itself is watched no longer
    del model
    gc.collect()
    assert gone() is None
    assert analytics.error_history[0].context == {"model": "<Model>", "<Model>": ["<Model>"]}


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
    max_leaves=60,
)


@settings(deadline=None, max_examples=100)
@given(values)
def test_any_value_becomes_plain_data_of_bounded_size(value):
    told = json.dumps(plain(value))
    assert len(told) <= 17 * 17 * 13 * 201


def test_what_is_left_out_of_a_context_is_counted():
    assert plain({str(number): number for number in range(20)})["…"] == "4 more"
    assert plain(list(range(1_000_016)))[-1] == "1,000,000 more"
    assert plain([[[[1]]]]) == [["<list>"]]
    assert plain(1 << 70) == "<int of 71 bits>"


def test_times_that_no_calendar_has_are_moved_to_its_ends():
    with FakeClock() as clock:
        ends = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
        for moment in (*ends, *(end.replace(tzinfo=None) for end in ends)):
            at, when = moments_of(info(timestamp=moment))
            datetime.fromtimestamp(at, UTC)
            assert when <= clock.now()


def test_the_age_of_an_error_does_not_follow_a_clock_that_is_set_anew():
    with FakeClock() as clock:
        early = datetime.fromtimestamp(clock.wall() - 30, UTC)
        assert moments_of(info(timestamp=early))[1] == pytest.approx(clock.now() - 30)
        future = datetime.fromtimestamp(clock.wall(), UTC) + timedelta(days=3)
        assert moments_of(info(timestamp=future))[1] == clock.now()
