"""Quantiles from a sketch, against sorted lists of the values themselves."""

from __future__ import annotations

import json
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import BadInputError
from holdfast.machines.quantile import LatencySketch, LiveQuantile

quick = settings(deadline=None, max_examples=60)
durations = st.floats(1e-6, 1e5)
shares = st.floats(0.0, 1.0)


def sketch_of(values, accuracy=0.01, limit=2048):
    sketch = LatencySketch(accuracy, limit)
    for value in values:
        sketch.add(value)
    return sketch


@quick
@given(values=st.lists(durations, min_size=1), q=shares, accuracy=st.sampled_from([0.01, 0.05]))
def test_a_quantile_is_right_to_within_the_accuracy(values, q, accuracy):
    exact = sorted(values)[int(q * (len(values) - 1))]
    told = sketch_of(values, accuracy).quantile(q)
    assert told == pytest.approx(exact, rel=accuracy * 1.0001)


@quick
@given(parts=st.lists(st.lists(durations), max_size=5), limit=st.sampled_from([3, 50, 2048]))
def test_merging_is_the_same_as_adding_everything_to_one(parts, limit):
    merged = LatencySketch(limit=limit)
    for part in parts:
        merged.merge(sketch_of(part, limit=limit))
    together = sketch_of([value for part in parts for value in part], limit=limit)
    assert merged.to_dict() == together.to_dict()
    assert merged.count == together.count


@quick
@given(values=st.lists(st.floats(-10.0, 1e5)), limit=st.sampled_from([2, 2048]))
def test_a_sketch_survives_json(values, limit):
    sketch = sketch_of(values, limit=limit)
    copy = LatencySketch.from_dict(json.loads(json.dumps(sketch.to_dict())))
    assert copy.to_dict() == sketch.to_dict()
    assert copy.count == sketch.count
    assert copy.quantile(0.5) == sketch.quantile(0.5)


@quick
@given(values=st.lists(st.floats(5e-324, 1.7e308), min_size=1))
def test_memory_is_bounded_and_the_slow_end_stays_right(values):
    sketch = sketch_of(values, limit=16)
    assert len(sketch.to_dict()["buckets"]) <= 16
    assert sketch.quantile(1.0) == pytest.approx(max(values), rel=0.0101)


def test_buckets_side_by_side_are_lumped_together_at_the_limit():
    width = 1.01 / 0.99
    sketch = sketch_of([width ** (n + 0.5) for n in range(100)], limit=16)
    assert len(sketch.to_dict()["buckets"]) == 16
    assert sketch.count == 100
    assert sketch.quantile(1.0) == pytest.approx(width**99.5, rel=0.0101)


@quick
@given(accuracy=st.floats(1e-4, 0.9))
def test_the_largest_number_there_is_does_not_overflow(accuracy):
    sketch = sketch_of([1.7976931348623157e308], accuracy)
    assert 0 < sketch.quantile(1.0) < inf


def test_merging_a_sketch_with_itself_doubles_it():
    sketch = sketch_of([1.0, 2.0, 0.0])
    sketch.merge(sketch)
    assert sketch.count == 6
    assert sketch.zeros == 2


def test_an_empty_sketch_knows_no_quantile():
    assert LatencySketch().quantile(0.5) is None


def test_zero_and_less_count_as_zero():
    sketch = sketch_of([0.0, -5.0, 3.0])
    assert sketch.quantile(0.5) == 0.0
    assert sketch.quantile(1.0) == pytest.approx(3.0, rel=0.01)
    assert sketch.count == 3


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_what_is_no_duration_is_refused_and_changes_nothing(value):
    sketch = LatencySketch()
    with pytest.raises(BadInputError, match="value"):
        sketch.add(value)
    assert sketch.count == 0


def test_sketches_of_different_accuracy_do_not_merge():
    with pytest.raises(BadInputError, match="accuracy"):
        LatencySketch(0.01).merge(LatencySketch(0.02))


@pytest.mark.parametrize("q", [-0.1, 1.1, nan])
def test_a_quantile_outside_zero_to_one_is_refused(q):
    with pytest.raises(BadInputError, match="q must"):
        LatencySketch().quantile(q)


@pytest.mark.parametrize(
    "change",
    [
        {"accuracy": 2},
        {"limit": "many"},
        {"zeros": -1},
        {"buckets": [[1, -1]]},
        {"buckets": [[1]]},
        {"buckets": None},
    ],
)
def test_what_describes_no_sketch_is_refused(change):
    with pytest.raises(BadInputError):
        LatencySketch.from_dict({**sketch_of([1.0]).to_dict(), **change})
    with pytest.raises(BadInputError):
        LatencySketch.from_dict({})


def test_a_live_quantile_forgets_what_is_older_than_its_window():
    live = LiveQuantile(seconds=100.0)
    live.add(0.0, 60.0)
    for now in range(40, 60):
        live.add(float(now), 1.0)
    assert live.quantile(60.0, 1.0) == pytest.approx(60.0, rel=0.0201)
    assert live.quantile(110.0, 1.0) == pytest.approx(1.0, rel=0.0201)
    assert live.quantile(10_000.0, 1.0) is None
    assert live.count(10_000.0) == 0


@quick
@given(
    steps=st.lists(st.tuples(st.floats(-5.0, 30.0), durations), min_size=1, max_size=40), q=shares
)
def test_a_live_quantile_covers_between_half_and_all_of_its_window(steps, q):
    live, now, latest, seen = LiveQuantile(seconds=20.0), 0.0, 0.0, []
    for step, value in steps:
        now += step
        latest = max(latest, now)
        live.add(now, value)
        seen.append((latest, value))
    kept = live.count(now)
    assert sum(at > latest - 10.0 for at, _ in seen) <= kept
    assert kept <= sum(at > latest - 20.0 - 1e-9 for at, _ in seen)
    recent = sorted(value for _, value in seen[len(seen) - kept :])
    exact = recent[int(q * (kept - 1))]
    assert live.quantile(now, q) == pytest.approx(exact, rel=0.0201)
