"""Figures by the minute."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.apps.dashboard import charts
from holdfast.apps.dashboard.series import Ended, quantile, series_of

NOW = 1_000_000.0
jobs = st.lists(
    st.builds(Ended, st.floats(NOW - 10_000, NOW + 10_000), st.floats(-5, 1e6), st.booleans())
)


@given(jobs)
def test_every_job_of_the_span_is_counted_once_and_no_other(ended):
    series = series_of(ended, NOW)
    first = series.minutes[0]
    inside = [each for each in ended if each.at >= first]
    assert sum(series.delivered) == sum(each.delivered for each in inside)
    assert sum(series.failed) == sum(not each.delivered for each in inside)


@given(jobs)
def test_half_takes_no_longer_than_nearly_all(ended):
    series = series_of(ended, NOW)
    for count, p50, p95 in zip(series.delivered, series.p50, series.p95, strict=True):
        assert (p50 is None) == (count == 0)
        if p50 is not None and p95 is not None:
            assert 0 <= p50 <= p95


def test_the_last_minute_is_the_one_that_has_begun():
    series = series_of([Ended(NOW, 3.0, True)], NOW, minutes=3)
    assert series.minutes[-1] <= NOW < series.minutes[-1] + 60
    assert series.delivered == (0, 0, 1)
    assert series.p50 == (None, None, 3.0)


def test_a_job_from_the_future_counts_as_of_now():
    assert series_of([Ended(NOW + 500, 1.0, False)], NOW, minutes=2).failed == (0, 1)


def test_quantiles_are_values_that_were_there():
    assert quantile([], 0.5) is None
    assert quantile([4.0], 0.95) == 4.0
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0


@given(jobs)
def test_plots_are_plain_data_without_functions_and_have_words_beside_them(ended):
    series = series_of(ended, NOW)
    for options in (charts.throughput(series), charts.latency(series)):
        assert_plain(options)
    assert charts.throughput_words(series).startswith("In the last 60 minutes")
    assert charts.latency_words(series)


def assert_plain(value: object) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            # NiceGUI would run what stands under a name with a colon.
            assert isinstance(name, str)
            assert not name.startswith(":")
            assert_plain(item)
    elif isinstance(value, list):
        for item in value:
            assert_plain(item)
    else:
        assert value is None or isinstance(value, str | int | float | bool)
