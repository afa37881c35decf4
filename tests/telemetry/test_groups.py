"""Groups: bounded in number, exact in sum."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import ErrorCategory, ErrorSeverity
from holdfast.telemetry import groups as module
from holdfast.telemetry.groups import OTHER, STRANDS, Group, Groups, Totals

NOW = 1_700_000_000.0


def group(name="a", kind="E"):
    return Group(name, kind, ErrorCategory.NETWORK, f"sample of {name}")


def see(one, at, severity=ErrorSeverity.LOW, dependency=""):
    one.strand(severity, dependency).count += 1
    one.see(at, at - NOW)


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 4),
    st.lists(
        st.tuples(
            st.sampled_from("abcdef"),
            st.sampled_from(list(ErrorSeverity)),
            st.sampled_from(["", "x", "y", "z"]),
        ),
        max_size=60,
    ),
)
def test_sums_are_exact_whatever_had_to_make_room(limit, errors):
    groups = Groups(limit)
    recent = []
    for name, severity, dependency in errors:
        found = groups.find(name, name.upper(), ErrorCategory.MODEL, name)
        groups.touch(found)
        see(found, NOW, severity, dependency)
        recent = [other for other in recent if other != name] + [name]
        assert [one.fingerprint for one in groups] == recent[-limit:]
    totals = groups.totals()
    assert totals.errors == len(errors)
    assert totals.types == Counter(name.upper() for name, _, _ in errors)
    assert totals.severities == Counter(severity for _, severity, _ in errors)
    assert totals.dependencies == Counter(name for _, _, name in errors if name)
    assert totals.errors == groups.gone.errors + sum(one.count for one in groups)


def test_beyond_what_is_told_apart_names_are_other_and_counts_exact():
    one = group()
    for number in range(200):
        see(one, NOW, list(ErrorSeverity)[number % 4], f"gpu{number}")
        see(one, NOW, list(ErrorSeverity)[number % 4])
    assert len(one.strands) <= STRANDS
    told = one.told(NOW, 0.0)
    assert told.count == 400
    assert sum(told.dependencies.values()) == 200
    assert told.dependencies[OTHER] == 200 - (len(told.dependencies) - 1)
    assert set(told.severities.values()) == {100}


def test_names_of_what_is_gone_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "NAMES", 3)
    groups = Groups(1)
    for number in range(10):
        found = groups.find(str(number), f"E{number}", ErrorCategory.UNKNOWN, "")
        see(found, NOW, dependency=f"gpu{number}")
    assert groups.evicted == 9
    assert groups.gone.types == {"E0": 1, "E1": 1, "E2": 1, OTHER: 6}
    assert groups.gone.dependencies == {"gpu0": 1, "gpu1": 1, "gpu2": 1, OTHER: 6}
    assert groups.totals().types["E9"] == 1


def test_a_group_is_told_with_its_worst_severity_and_its_ends():
    one = group()
    see(one, NOW - 60, ErrorSeverity.LOW, "gpu1")
    see(one, NOW - 7_200, ErrorSeverity.HIGH, "gpu2")
    see(one, NOW, ErrorSeverity.MEDIUM, "gpu1")
    told = one.told(NOW, 0.0)
    assert told.severity is ErrorSeverity.HIGH
    assert told.first_seen == datetime.fromtimestamp(NOW - 7_200, UTC)
    assert told.last_seen == datetime.fromtimestamp(NOW, UTC)
    assert told.dependencies == {"gpu1": 2, "gpu2": 1}
    assert (told.last_hour[-2:], sum(told.last_hour)) == ((1, 1), 2)
    assert told.trend.lately == 2
    assert str(told.trend) == "began 2 hours ago, 2 an hour, steady"


def test_a_group_that_was_seen_once_is_told_the_same_way():
    one = group()
    see(one, NOW - 120)
    told = one.told(NOW, 0.0)
    assert (told.count, sum(told.last_hour), told.last_hour[-3]) == (1, 1, 1)
    assert str(told.trend) == "began 2 minutes ago, 1 so far"
    assert told.to_dict()["trend"] == str(told.trend)


def test_totals_leave_the_groups_alone():
    groups = Groups(2)
    see(groups.find("a", "E", ErrorCategory.MODEL, ""), NOW)
    groups.totals().types["E"] += 5
    assert groups.totals().types == {"E": 1}
    assert Totals().errors == 0
