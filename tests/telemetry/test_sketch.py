"""DDSketch, against sorted lists of the values themselves."""

from __future__ import annotations

import json
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import BadInputError
from holdfast.telemetry.sketch import DDSketch

quick = settings(deadline=None, max_examples=80)
sizes = st.floats(1e-6, 1e6)
numbers = st.one_of(st.just(0.0), sizes, sizes.map(lambda size: -size))
shares = st.floats(0.0, 1.0)


def sketch_of(values, accuracy=0.01, limit=2048):
    sketch = DDSketch(accuracy, limit)
    for value in values:
        sketch.add(value)
    return sketch


def exact(values, q):
    return sorted(values)[int(q * (len(values) - 1))]


@quick
@given(st.lists(numbers, min_size=1), shares, st.sampled_from([0.001, 0.01, 0.05]))
def test_a_quantile_is_right_to_within_the_accuracy(values, q, accuracy):
    told = sketch_of(values, accuracy).quantile(q)
    assert told == pytest.approx(exact(values, q), rel=accuracy * 1.0001, abs=0)


@quick
@given(st.lists(numbers, min_size=1), st.lists(shares, max_size=5))
def test_several_quantiles_at_once_are_those_one_by_one(values, wanted):
    sketch = sketch_of(values)
    assert sketch.quantiles(wanted) == [sketch.quantile(q) for q in wanted]


@quick
@given(st.lists(st.lists(numbers), max_size=5), st.sampled_from([1, 2, 3, 50, 2048]))
def test_merging_is_the_same_as_adding_everything_to_one(parts, limit):
    merged = DDSketch(limit=limit)
    for part in parts:
        merged.merge(sketch_of(part, limit=limit))
    together = sketch_of([value for part in parts for value in part], limit=limit)
    assert merged.to_dict() == together.to_dict()
    assert merged.count == together.count


@quick
@given(st.lists(numbers), st.randoms(use_true_random=False), st.sampled_from([2, 7, 2048]))
def test_the_order_of_values_does_not_matter(values, random, limit):
    shuffled = list(values)
    random.shuffle(shuffled)
    assert sketch_of(values, limit=limit).to_dict() == sketch_of(shuffled, limit=limit).to_dict()


@quick
@given(st.lists(numbers), st.sampled_from([2, 2048]))
def test_a_sketch_survives_json(values, limit):
    sketch = sketch_of(values, limit=limit)
    copy = DDSketch.from_dict(json.loads(json.dumps(sketch.to_dict(), allow_nan=False)))
    assert copy.to_dict() == sketch.to_dict()
    assert (copy.count, copy.maximum) == (sketch.count, sketch.maximum)
    # A copy goes on as the original would.
    copy.add(5.0)
    sketch.add(5.0)
    assert copy.to_dict() == sketch.to_dict()


@quick
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_memory_is_bounded_and_the_high_end_stays_right(values):
    sketch = sketch_of(values, limit=16)
    assert len(sketch.to_dict()["buckets"]) <= 16
    assert sketch.count == len(values)
    if max(values) == 0 or abs(max(values)) >= 1e-300:
        assert sketch.quantile(1.0) == pytest.approx(max(values), rel=0.0101)


def test_the_lowest_buckets_are_lumped_together_and_the_others_are_not():
    sketch = sketch_of([-100.0, -1.0, 0.0, 1.0, 10.0, 100.0], limit=3)
    assert sketch.count == 6
    assert [number for _, number in sketch.to_dict()["buckets"]] == [4, 1, 1]
    assert sketch.quantile(0.9) == pytest.approx(10.0, rel=0.01)


def test_no_quantile_is_above_the_greatest_value():
    for value in (1.0, 1.005, 3.3, -7.7):
        sketch = sketch_of([value])
        assert sketch.quantile(1.0) <= value
        assert sketch.maximum == value


@quick
@given(st.floats(1e-4, 0.5))
def test_the_largest_numbers_there_are_do_not_overflow(accuracy):
    sketch = sketch_of([1.7976931348623157e308, -1.7976931348623157e308, 5e-324], accuracy)
    assert 0 < sketch.quantile(1.0) < inf
    assert -inf < sketch.quantile(0.0) < 0


def test_merging_a_sketch_with_itself_doubles_it():
    sketch = sketch_of([1.0, -2.0, 0.0])
    sketch.merge(sketch)
    assert sketch.count == 6
    assert [number for _, number in sketch.to_dict()["buckets"]] == [2, 2, 2]


def test_an_empty_sketch_knows_no_quantile():
    assert DDSketch().quantile(0.5) is None
    assert DDSketch().quantiles([0.5]) == []


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_what_is_no_number_is_refused_and_changes_nothing(value):
    sketch = DDSketch()
    with pytest.raises(BadInputError, match="value"):
        sketch.add(value)
    assert sketch.to_dict() == DDSketch().to_dict()
    assert sketch.count == 0


def test_sketches_of_different_kinds_do_not_merge():
    for other in (DDSketch(0.02), DDSketch(limit=5)):
        with pytest.raises(BadInputError, match="accuracy and limit"):
            DDSketch().merge(other)


@pytest.mark.parametrize("q", [-0.1, 1.1, nan])
def test_a_quantile_outside_zero_to_one_is_refused(q):
    with pytest.raises(BadInputError, match="q must"):
        DDSketch().quantile(q)


@pytest.mark.parametrize(
    "change",
    [
        {"accuracy": 2},
        {"accuracy": nan},
        {"limit": "many"},
        {"limit": 0},
        {"maximum": None},
        {"buckets": []},
        {"buckets": [[1, 0]]},
        {"buckets": [[1]]},
        {"buckets": None},
    ],
)
def test_what_describes_no_sketch_is_refused(change):
    with pytest.raises(BadInputError):
        DDSketch.from_dict({**sketch_of([1.0]).to_dict(), **change})
    with pytest.raises(BadInputError):
        DDSketch.from_dict({})
