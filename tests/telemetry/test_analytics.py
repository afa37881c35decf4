"""ErrorAnalytics, against a model that keeps everything and counts by looking."""

from __future__ import annotations

import gc
import json
import sys
import threading
import tracemalloc
from collections import Counter
from datetime import UTC, datetime, timedelta
from math import nan

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.error_info import ErrorInfo
from holdfast.errors import BadInputError, ErrorCategory, ErrorSeverity
from holdfast.telemetry.analytics import WATCHED, ErrorAnalytics
from holdfast.telemetry.fingerprint import fingerprint
from holdfast.testing import FakeClock

CATEGORIES, SEVERITIES = list(ErrorCategory), list(ErrorSeverity)


def info(message="m", **more):
    told = {
        "timestamp": datetime.now(UTC),
        "error_type": "TestError",
        "error_message": message,
        "category": ErrorCategory.NETWORK,
        "severity": ErrorSeverity.HIGH,
    }
    return ErrorInfo(**(told | more))


class Against(RuleBasedStateMachine):
    """Small bounds, so that everything overflows."""

    HISTORY, GROUPS = 70, 3

    def __init__(self):
        super().__init__()
        self.clock = FakeClock()
        self.clock.__enter__()
        self.analytics = ErrorAnalytics(self.HISTORY, max_groups=self.GROUPS)
        self.infos = []
        self.said = {}
        """What `resolve` said of an error, by number."""
        self.ended = {}
        """What was set on an error, by number, while it was watched."""
        self.whens = []
        self.recent = []
        self.late = 0

    def teardown(self):
        self.clock.__exit__(None, None, None)

    @rule(
        names=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=30),
        category=st.sampled_from(CATEGORIES[:2]),
        severity=st.sampled_from(SEVERITIES),
        dependency=st.sampled_from(["", "gpu1", "gpu2"]),
        age=st.sampled_from([0.0, 0.0, 3.0, 200.0, -50.0]),
        tried=st.booleans(),
        number=st.integers(0, 10**6),
    )
    def record(self, names, category, severity, dependency, age, tried, number):  # noqa: PLR0917
        for name in names:
            at = datetime.fromtimestamp(self.clock.wall() - age, UTC)
            one = info(
                f"job {number}: {name}",
                timestamp=at,
                error_type=name.upper(),
                category=category,
                severity=severity,
                dependency=dependency,
                recovery_attempted=tried,
                recovery_successful=tried and number % 2 == 0,
            )
            self.infos.append(one)
            assert self.analytics.record_error(one) == len(self.infos)
            self.ended[len(self.infos)] = (tried, one.recovery_successful)
            self.whens.append(self.clock.now() - max(age, 0.0))
            group = (name.upper(), category)
            self.recent = [other for other in self.recent if other != group] + [group]

    @rule(seconds=st.sampled_from([0.25, 1.0, 59.0, 3600.0]))
    def wait(self, seconds):
        self.clock.advance(seconds)

    @precondition(lambda self: self.infos)
    @rule(back=st.integers(0, 100), successful=st.booleans())
    def resolve(self, back, successful):
        number = max(len(self.infos) - back, 1)
        kept = number > len(self.infos) - self.HISTORY
        told = self.analytics.resolve(number, strategy="s", successful=successful)
        assert told is kept
        if kept:
            self.said[number] = (True, successful)
        else:
            self.late += 1

    @precondition(lambda self: self.infos)
    @rule(back=st.integers(0, WATCHED - 1), successful=st.booleans())
    def set_on_the_info(self, back, successful):
        number = max(len(self.infos) - back, 1)
        one = self.infos[number - 1]
        one.recovery_attempted, one.recovery_successful = True, successful
        self.ended[number] = (True, successful)

    def end_of(self, number):
        return self.said.get(number, self.ended[number])

    @invariant()
    def sums_are_exact(self):
        analytics, infos = self.analytics, self.infos
        assert dict(analytics.get_most_common_errors()) == Counter(one.error_type for one in infos)
        assert analytics.get_errors_by_category() == Counter(one.category for one in infos)
        assert analytics.get_errors_by_severity() == Counter(one.severity for one in infos)
        named = Counter(one.dependency for one in infos if one.dependency)
        assert analytics.get_errors_by_dependency() == named

    @invariant()
    def recoveries_are_exact(self):
        ends = [self.end_of(number) for number in range(1, len(self.infos) + 1)]
        tried = sum(attempted for attempted, _ in ends)
        worked = sum(successful for attempted, successful in ends if attempted)
        assert self.analytics.get_recovery_rate() == (worked / tried if tried else 0.0)
        report = self.analytics.generate_report()
        assert report["recoveries_attempted"] == tried
        assert report["recoveries_successful"] == worked
        assert report["late_resolutions"] == self.late
        json.dumps(report, allow_nan=False)

    @invariant()
    def the_latest_are_kept_as_they_were(self):
        kept = self.analytics.error_history
        latest = list(enumerate(self.infos, start=1))[-self.HISTORY :]
        assert len(kept) == len(latest)
        for found, (number, one) in zip(kept, latest, strict=True):
            assert (found.error_type, found.error_message) == (one.error_type, one.error_message)
            assert (found.category, found.severity) == (one.category, one.severity)
            assert (found.dependency, found.timestamp) == (one.dependency, one.timestamp)
            assert (found.recovery_attempted, found.recovery_successful) == self.end_of(number)

    @invariant()
    def groups_are_the_latest(self):
        groups = self.analytics.top_groups(100)
        assert {(one.error_type, one.category) for one in groups} == set(
            self.recent[-self.GROUPS :]
        )
        assert [one.count for one in groups] == sorted((one.count for one in groups), reverse=True)
        report = self.analytics.generate_report()
        gone = report["errors_of_evicted_groups"]
        assert sum(one.count for one in groups) + gone == len(self.infos)

    @invariant()
    def rates_are_right_to_the_bucket(self):
        now = self.clock.now()
        for window, bucket in ((1.0, 1.0), (60.0, 1.0), (600.0, 60.0), (30_000.0, 3600.0)):
            count = self.analytics.get_error_rate(window) * window / 60.0
            assert sum(when > now - window for when in self.whens) <= count + 1e-6
            assert count <= sum(when > now - window - bucket for when in self.whens) + 1e-6


TestAgainstTheModel = Against.TestCase
TestAgainstTheModel.settings = settings(
    deadline=None, max_examples=40, stateful_step_count=25, database=None
)


# -- the shapes of StoryCore's own tests ----------------------------------------------------------


def test_a_naive_time_of_now_is_in_the_last_hour():
    analytics = ErrorAnalytics()
    for _ in range(5):
        analytics.record_error(
            ErrorInfo(
                timestamp=datetime.now(),  # noqa: DTZ005 - as it is called there
                error_type="TestError",
                error_message="Test",
                category=ErrorCategory.NETWORK,
                severity=ErrorSeverity.MEDIUM,
                traceback="",
                context={},
            )
        )
    assert analytics.get_error_rate(timedelta(hours=1)) == 5 / 60
    assert analytics.error_history[0].timestamp.tzinfo is None
    assert analytics.error_history[-1].context == {}


def test_what_is_set_on_the_info_after_it_was_recorded_counts():
    analytics = ErrorAnalytics()
    infos = [info(str(number)) for number in range(4)]
    for number, one in enumerate(infos):
        analytics.record_error(one)
        one.recovery_attempted = True
        one.recovery_successful = number % 2 == 0
    assert analytics.get_recovery_rate() == 0.5
    assert [one.recovery_successful for one in analytics.error_history] == [True, False] * 2


def test_what_was_set_counts_too_once_the_info_is_watched_no_longer():
    analytics = ErrorAnalytics()
    first = info("first")
    analytics.record_error(first)
    first.recovery_attempted = first.recovery_successful = True
    for _ in range(WATCHED):
        analytics.record_error(info())
    first.recovery_successful = False
    assert analytics.get_recovery_rate() == 1.0


def test_a_watched_info_tells_its_strategy():
    analytics = ErrorAnalytics()
    one = info()
    analytics.record_error(one)
    one.recovery_attempted, one.strategy = True, "reconnect"
    assert analytics.error_history[0].strategy == "reconnect"


def test_what_resolve_said_stands():
    analytics = ErrorAnalytics()
    one = info(strategy="first")
    number = analytics.record_error(one)
    analytics.resolve(number, successful=True)
    one.recovery_attempted, one.recovery_successful, one.strategy = True, False, "late"
    (kept,) = analytics.error_history
    assert (kept.recovery_successful, kept.strategy) == (True, "first")


@pytest.mark.parametrize("number", [0, -1, 2])
def test_a_number_that_was_never_given_is_refused(number):
    analytics = ErrorAnalytics()
    analytics.record_error(info())
    with pytest.raises(BadInputError, match="number must be one that record_error gave"):
        analytics.resolve(number, successful=True)


# -- questions -------------------------------------------------------------------------------------


def test_errors_of_one_kind_are_given_as_they_were():
    analytics = ErrorAnalytics()
    analytics.record_error(info("a", dependency="gpu1"))
    analytics.record_error(info("b", severity=ErrorSeverity.LOW))
    assert [one.error_message for one in analytics.get_errors_by_category("network")] == ["a", "b"]
    assert [one.error_message for one in analytics.get_errors_by_severity("low")] == ["b"]
    assert [one.error_message for one in analytics.get_errors_by_dependency("gpu1")] == ["a"]
    assert analytics.get_errors_by_category(ErrorCategory.MODEL) == []
    for ask in (analytics.get_errors_by_category, analytics.get_errors_by_severity):
        with pytest.raises(BadInputError, match="weird"):
            ask("weird")


def test_a_snapshot_is_a_sequence_that_does_not_move():
    analytics = ErrorAnalytics(3)
    for name in "abcd":
        analytics.record_error(info(name))
    kept = analytics.error_history
    analytics.record_error(info("e"))
    assert [one.error_message for one in kept] == ["b", "c", "d"]
    assert [one.error_message for one in kept[1:]] == ["c", "d"]
    assert kept[-1].error_message == "d"
    with pytest.raises(IndexError):
        kept[3]


def test_strategies_and_latencies():
    analytics = ErrorAnalytics()
    analytics.record_recovery("reconnect", ErrorCategory.NETWORK, True, 2.0)
    analytics.record_recovery("reconnect", ErrorCategory.NETWORK, False, 2.0)
    analytics.record_latency("gpu1", 3.0)
    analytics.record_latency("x" * 300, 3.0)
    assert analytics.get_recovery_rate("reconnect") == 0.5
    assert analytics.get_recovery_rate("other") == analytics.get_recovery_rate() == 0.0
    assert analytics.recovery_by_strategy()["reconnect"]["by_category"] == {"network": 2}
    assert analytics.percentiles("gpu1")["max"] == 3.0
    assert analytics.percentiles("x" * 300)["max"] == 3.0
    assert analytics.percentiles("gpu2") == {}


@pytest.mark.parametrize(
    "call",
    [
        lambda a: ErrorAnalytics(0),
        lambda a: ErrorAnalytics(max_groups=1.5),
        lambda a: a.get_error_rate(0),
        lambda a: a.get_error_rate(timedelta(days=30)),
        lambda a: a.get_error_rate(nan),
        lambda a: a.get_most_common_errors(-1),
        lambda a: a.top_groups(None),
        lambda a: a.record_latency("gpu1", -1.0),
        lambda a: a.record_latency("gpu1", nan),
        lambda a: a.record_recovery("s", "weird", True, 1.0),
        lambda a: a.record_recovery("s", "network", True, nan),
    ],
)
def test_what_makes_no_sense_is_refused(call):
    analytics = ErrorAnalytics()
    empty = analytics.generate_report()
    with pytest.raises(BadInputError):
        call(analytics)
    told = analytics.generate_report()
    assert {**told, "generated_at": ""} == {**empty, "generated_at": ""}


def test_critical_errors_are_told_the_latest_first():
    analytics = ErrorAnalytics()
    for number in range(12):
        analytics.record_error(info(str(number), severity=ErrorSeverity.CRITICAL))
        analytics.record_error(info("low", severity=ErrorSeverity.LOW))
    told = analytics.generate_report()["recent_critical_errors"]
    assert [one["message"] for one in told] == [str(number) for number in range(11, 1, -1)]


# -- restoring -------------------------------------------------------------------------------------


def test_restored_errors_lie_before_the_recorded_ones_and_count():
    with FakeClock() as clock:
        analytics = ErrorAnalytics(5)
        begin = datetime.fromtimestamp(clock.wall(), UTC)
        number = analytics.record_error(info("now", timestamp=begin))
        rows = [info(str(n), timestamp=begin - timedelta(minutes=n)) for n in range(1, 21)]
        rows[0].recovery_attempted = rows[0].recovery_successful = True
        assert analytics.restore(iter(rows[::-1])) == 20
        kept = [one.error_message for one in analytics.error_history]
        assert kept == ["4", "3", "2", "1", "now"]
        assert analytics.get_error_rate(3600) == 21 / 60
        report = analytics.generate_report()
        assert (report["total_errors"], report["restored_errors"]) == (21, 20)
        assert analytics.get_recovery_rate() == 1.0
        assert analytics.resolve(number, successful=False)
        assert analytics.get_recovery_rate() == 0.5
        assert analytics.record_error(info("next", timestamp=begin)) == 2
        kept = [one.error_message for one in analytics.error_history]
        assert kept == ["3", "2", "1", "now", "next"]


def test_a_row_that_cannot_be_counted_leaves_what_was_counted():
    analytics = ErrorAnalytics()
    with pytest.raises(BadInputError):
        analytics.restore([info(), info(category="weird")])
    assert analytics.generate_report()["total_errors"] == 1
    assert len(analytics.error_history) == 0


# -- clocks ----------------------------------------------------------------------------------------


def test_a_wall_clock_that_is_set_anew_moves_no_rate():
    with FakeClock() as clock:
        analytics = ErrorAnalytics()
        for _ in range(10):
            at = datetime.fromtimestamp(clock.wall(), UTC)
            analytics.record_error(info(timestamp=at))
            clock.set_wall(clock.wall() + 1e6)
        assert analytics.get_error_rate(60) == 10.0
        clock.advance(62)
        assert analytics.get_error_rate(60) == 0.0


# -- bounds ----------------------------------------------------------------------------------------


def grown(record, warm_up, more):
    """Bytes that ``more`` further errors have added."""
    for number in range(warm_up):
        record(number)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(warm_up, warm_up + more):
            record(number)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def letters(number):
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def test_errors_that_are_all_different_do_not_fill_the_memory():
    analytics = ErrorAnalytics(50, max_groups=50)

    def record(number):
        name = letters(number)
        one = info(f"no {name}", error_type=f"E{name}", dependency=name, operation=name)
        one.context, one.traceback, one.strategy = {name: name}, name, name
        analytics.record_error(one)
        analytics.record_recovery(name, ErrorCategory.MODEL, True, 1.0)
        analytics.record_latency(name, 1.0)

    # As much again takes the place of what is there: 4,000 errors of about a kilobyte.
    assert grown(record, 2_000, 4_000) < 300_000
    report = analytics.generate_report()
    assert (report["total_errors"], report["group_count"]) == (6_000, 50)
    assert report["evicted_groups"] == 5_950
    assert report["errors_of_evicted_groups"] == 5_950
    assert sum(report["errors_by_dependency"].values()) == 6_000
    assert len(json.dumps(report)) < 200_000


def test_huge_messages_are_not_kept():
    analytics = ErrorAnalytics()

    def record(number):
        analytics.record_error(info(f"{letters(number)} " + "x" * 1_000_000, traceback="y" * 10**6))

    assert grown(record, 5, 40) < 1_000_000
    assert analytics.generate_report()["total_errors"] == 45


def test_an_error_takes_fewer_than_300_bytes():
    def record_into(analytics):
        return lambda number: analytics.record_error(
            info(f"job {number}: no answer from gpu1", frames=("a:f", "b:g"), dependency="gpu1")
        )

    small = grown(record_into(ErrorAnalytics(1_000)), 0, 5_000)
    large = grown(record_into(ErrorAnalytics(5_000)), 0, 5_000)
    assert 0 < (large - small) / 4_000 < 300


# -- threads ---------------------------------------------------------------------------------------


def test_threads_lose_nothing():
    analytics = ErrorAnalytics(100, max_groups=5)
    troubles = []
    numbers = [[] for _ in range(4)]

    def work(share):
        try:
            for number in range(1_000):
                one = info(f"no {letters(number % 13)}", error_type=f"E{number % 13}")
                given = analytics.record_error(one)
                numbers[share].append(given)
                analytics.resolve(given, strategy="s", successful=number % 2 == 0)
                if number % 50 == 0:
                    analytics.generate_report()
                    list(analytics.error_history)
        except Exception as error:
            troubles.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(share,)) for share in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert troubles == []
    assert sorted(number for share in numbers for number in share) == list(range(1, 4_001))
    report = analytics.generate_report()
    assert report["total_errors"] == sum(report["errors_by_category"].values()) == 4_000
    assert sum(number for _, number in analytics.get_most_common_errors(20)) == 4_000
    # What was resolved too late, after a hundred further errors, is counted as that.
    assert report["recoveries_attempted"] + report["late_resolutions"] == 4_000


def test_groups_go_by_the_fingerprint():
    analytics = ErrorAnalytics()
    for number in range(3):
        analytics.record_error(info(f"job {number} is late", frames=("a:f",)))
    (group,) = analytics.top_groups()
    assert group.count == 3
    assert group.sample == "job 0 is late"
    assert group.fingerprint == fingerprint("TestError", "job 9 is late", ("a:f",), "network")
