"""What a history promises, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import csv
import io
import json
import threading
from datetime import UTC, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.errors import BadInputError, ErrorCategory, ErrorSeverity
from holdfast.scrub import REDACTED
from holdfast.stores import ErrorHistory
from holdfast.testing import FakeClock
from tests.stores.samples import FULL, NOON, error


def test_an_error_comes_back_as_it_was(history):
    event = history.append(FULL, "f00d")
    assert history.flush()
    (stored,) = history.events()
    assert (stored.id, stored.fingerprint, stored.service) == (event, "f00d", "api")
    assert stored.info == FULL


def test_what_was_written_is_there_after_opening_again(url):
    with ErrorHistory(url) as first:
        first.append(FULL, "f00d")
    with ErrorHistory(url) as second:
        assert [stored.info for stored in second.events()] == [FULL]
        assert second.recent(5)[0].fingerprint == "f00d"


def test_a_naive_time_is_local_time(history):
    naive = NOON.astimezone().replace(tzinfo=None)
    history.append(error(at=naive), "f")
    history.flush()
    assert history.events()[0].info.timestamp == naive.astimezone(UTC)


def test_the_newest_comes_first_and_pages_join_without_gap(history):
    for number in (3, 1, 4, 0, 2):
        history.append(error(str(number), seconds=number), "f")
    history.flush()
    first = history.events(limit=2)
    second = history.events(limit=2, before=first[-1].id)
    third = history.events(limit=2, before=second[-1].id)
    assert [e.info.error_message for e in (*first, *second, *third)] == ["4", "3", "2", "1", "0"]
    assert [e.info.error_message for e in history.recent(3)] == ["2", "3", "4"]


def test_events_are_found_by_time_category_severity_dependency_group_and_words(history):
    history.append(error("alpha", seconds=0, dependency="a"), "one")
    history.append(error("Beta 100%_", seconds=60, severity=ErrorSeverity.CRITICAL), "two")
    history.append(
        error("gamma", seconds=120, category=ErrorCategory.MEMORY, dependency="b"), "one"
    )
    history.flush()

    def found(**filters):
        return [stored.info.error_message for stored in history.events(**filters)]

    assert found(since=NOON + timedelta(seconds=60)) == ["gamma", "Beta 100%_"]
    assert found(until=NOON.timestamp() + 60) == ["alpha"]
    assert found(category="memory") == ["gamma"]
    assert found(severity=ErrorSeverity.CRITICAL) == ["Beta 100%_"]
    assert found(dependency="a") == ["alpha"]
    assert found(fingerprint="one") == ["gamma", "alpha"]
    assert found(search="BETA") == ["Beta 100%_"]
    assert found(search="0%_") == ["Beta 100%_"]
    assert found(search="connectionerr") == ["gamma", "Beta 100%_", "alpha"]
    assert found(search="%") == ["Beta 100%_"]
    assert found(search="nowhere") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"category": "netwrok"}, "category must be one of network, memory"),
        ({"severity": "bad"}, "severity must be one of low"),
        ({"limit": 0}, "limit must be a whole number of at least 1, got 0"),
        ({"limit": 10**9}, "limit must be at most 100000"),
        ({"since": float("nan")}, "since must be a finite number, got nan"),
        ({"until": "yesterday"}, "until must be a finite number, got 'yesterday'"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(history, arguments, words):
    with pytest.raises(BadInputError, match=words):
        history.events(**arguments)


def test_other_questions_that_make_no_sense_are_refused(history):
    with pytest.raises(BadInputError, match="order must be 'count' or 'last_seen'"):
        history.groups(order="size")
    with pytest.raises(BadInputError, match="by must be one of category"):
        history.counts(by="colour")
    with pytest.raises(BadInputError, match="format must be one of jsonl, csv"):
        history.export("xml", io.StringIO())


def test_groups_count_and_remember_first_and_last(history):
    for seconds in (5, 0, 9):
        history.append(error(f"at {seconds}", seconds=seconds), "one")
    history.append(error("later", seconds=60), "two")
    history.flush()
    history.append(error("again", seconds=30, severity=ErrorSeverity.HIGH), "one")
    history.flush()
    one, two = history.groups()
    assert (one.fingerprint, one.count, two.fingerprint, two.count) == ("one", 4, "two", 1)
    assert (one.first_seen, one.last_seen) == (NOON, NOON + timedelta(seconds=30))
    assert (one.message, one.severity) == ("again", ErrorSeverity.HIGH)
    assert history.group("two") == two
    assert history.group("two", service="elsewhere") is None
    assert history.group("three") is None
    assert [g.fingerprint for g in history.groups(order="last_seen")] == ["two", "one"]
    assert [g.fingerprint for g in history.groups(since=NOON + timedelta(seconds=31))] == ["two"]
    assert len(history.groups(limit=1)) == 1


def test_counts_are_told_by_whatever_is_asked(history):
    for minute in range(130):
        category = ErrorCategory.MEMORY if minute % 2 else ErrorCategory.NETWORK
        history.append(error(seconds=minute * 60, category=category, dependency="gpu1"), "f")
    history.flush()
    assert history.counts() == {"memory": 65, "network": 65}
    assert history.counts(by="severity") == {"medium": 130}
    assert history.counts(by="dependency") == {"gpu1": 130}
    assert history.counts(by="hour") == {
        NOON: 60,
        NOON + timedelta(hours=1): 60,
        NOON + timedelta(hours=2): 10,
    }
    by_minute = history.counts(
        by="minute", since=NOON + timedelta(minutes=2), until=NOON + timedelta(minutes=4)
    )
    assert by_minute == {NOON + timedelta(minutes=2): 1, NOON + timedelta(minutes=3): 1}


@pytest.mark.parametrize("since", [0, 1, 59, 60, 61, 100, 120, 125, 129, 200, None])
@pytest.mark.parametrize("until", [0, 30, 60, 90, 120, 127, 180, None])
def test_any_span_is_counted_to_the_minute(spread, since, until):
    first, last = (None if m is None else NOON + timedelta(minutes=m) for m in (since, until))
    expected = sum(
        1 for m in range(130) if (since is None or m >= since) and (until is None or m < until)
    )
    assert sum(spread.counts(since=first, until=last).values()) == expected


@pytest.fixture(scope="module")
def spread(tmp_path_factory):
    with ErrorHistory(tmp_path_factory.mktemp("spread") / "errors.db") as opened:
        for minute in range(130):
            opened.append(error(seconds=minute * 60 + 1), "f")
        opened.flush()
        yield opened


def test_what_became_of_an_error_is_kept_with_it(history):
    event = history.append(error(), "f")
    history.resolve(event, strategy="reconnect", successful=True)
    other = history.append(error(seconds=1), "f")
    history.flush()
    history.resolve(other, strategy="reconnect", successful=False)
    history.flush()
    newest, oldest = history.events()
    assert (oldest.info.recovery_attempted, oldest.info.recovery_successful) == (True, True)
    assert (newest.info.recovery_attempted, newest.info.recovery_successful) == (True, False)
    assert oldest.info.strategy == "reconnect"
    report = history.report()
    assert report["recovery_rate"] == 0.5
    assert report["recovery_by_strategy"] == {
        "reconnect": {"attempted": 2, "successful": 1, "rate": 0.5}
    }


def test_recoveries_and_changes_are_kept(history):
    with FakeClock(wall=NOON.timestamp()) as clock:
        history.record_recovery(
            "reconnect",
            successful=True,
            category=ErrorCategory.NETWORK,
            seconds=1.5,
            error_type="ConnectionError",
            detail="probe answered",
        )
        clock.advance(1)
        history.record_recovery("free_memory", successful=False)
        history.record_change("breaker", "gpu1", "closed", "open", "5 failures in a row")
    history.flush()
    newest, oldest = history.recoveries()
    assert (newest.strategy, newest.successful, newest.category) == (
        "free_memory",
        False,
        "unknown",
    )
    assert (oldest.at, oldest.seconds, oldest.detail) == (NOON, 1.5, "probe answered")
    assert oldest.error_type == "ConnectionError"
    assert history.recoveries(strategy="reconnect") == [oldest]
    assert history.recoveries(successful=False) == [newest]
    assert history.recoveries(before=newest.id, limit=5) == [oldest]
    assert history.recoveries(until=NOON + timedelta(seconds=1)) == [oldest]
    (change,) = history.changes()
    assert (change.kind, change.name, change.old, change.new) == (
        "breaker",
        "gpu1",
        "closed",
        "open",
    )
    assert (change.reason, change.service) == ("5 failures in a row", "api")
    assert history.changes(kind="degradation") == []
    assert history.changes(name="gpu1", since=NOON) == [change]


def test_a_report_tells_what_happened(history):
    with FakeClock(wall=NOON.timestamp() + 7200):
        for number in range(120):
            history.append(error(f"m{number}", seconds=number * 60, dependency="gpu1"), "often")
        critical = error("dead", seconds=7000, severity=ErrorSeverity.CRITICAL, error_type="Crash")
        history.append(critical, "once")
        history.flush()
        report = history.report()
        late = history.report(since=NOON + timedelta(hours=1))
    assert set(report) == {
        "since",
        "total_errors",
        "kept_errors",
        "error_rate_per_minute",
        "rate_seconds",
        "errors_by_minute",
        "errors_by_hour",
        "most_common_errors",
        "errors_by_category",
        "errors_by_severity",
        "errors_by_dependency",
        "recovery_rate",
        "recoveries_attempted",
        "recoveries_successful",
        "recovery_by_strategy",
        "recent_critical_errors",
        "groups",
        "group_count",
        "generated_at",
    }
    assert report["total_errors"] == report["kept_errors"] == 121
    assert report["error_rate_per_minute"] == pytest.approx(121 / 120)
    assert (report["since"], report["rate_seconds"]) == (NOON.isoformat(), 7200)
    assert (len(report["errors_by_minute"]), sum(report["errors_by_minute"])) == (60, 60)
    assert report["errors_by_minute"][-5:] == [2, 1, 1, 1, 0]
    assert (len(report["errors_by_hour"]), report["errors_by_hour"][-3:]) == (48, [60, 61, 0])
    assert (report["recoveries_attempted"], report["group_count"]) == (0, 2)
    assert report["errors_by_severity"] == {"medium": 120, "critical": 1}
    assert report["errors_by_dependency"] == {"gpu1": 120, "": 1}
    assert report["recent_critical_errors"] == [
        {"timestamp": critical.timestamp.isoformat(), "type": "Crash", "message": "dead"}
    ]
    often, once = report["groups"]
    assert (often["count"], often["message"], often["rate_per_hour"]) == (120, "m119", 60.0)
    assert often["trend"] == "began 2 hours ago, 60 in the last hour, steady"
    assert once["trend"] == "began 3 minutes ago, 1 in the last hour"
    assert report["most_common_errors"][0]["fingerprint"] == "often"
    assert (late["total_errors"], late["kept_errors"]) == (61, 61)
    json.dumps(report)


def test_a_trend_rises_falls_or_is_quiet(history):
    with FakeClock(wall=NOON.timestamp() + 7200):
        history.append(error("old"), "quiet")
        for name, from_minute in (("rising", 105), ("falling", 65)):
            history.append(error(name), name)
            for number in range(12):
                history.append(error(name, seconds=(from_minute + number) * 60), name)
        history.flush()
        trends = {group["fingerprint"]: group["trend"] for group in history.report()["groups"]}
    assert trends == {
        "quiet": "began 2 hours ago, quiet for 2 hours",
        "rising": "began 2 hours ago, 12 in the last hour, rising",
        "falling": "began 2 hours ago, 12 in the last hour, falling",
    }


def test_an_empty_history_answers_everything(history):
    assert history.events() == history.groups() == history.recoveries() == history.changes() == []
    assert history.recent(3) == []
    assert history.counts() == history.counts(by="hour") == {}
    report = history.report()
    assert report["total_errors"] == report["error_rate_per_minute"] == 0
    stream = io.StringIO()
    assert history.export("jsonl", stream) == 0
    assert history.flush(0)


def test_nothing_secret_reaches_the_database(history):
    secret = "ghp" + "_" + "a1B2" * 9
    history.append(
        error(
            f"token={secret}",
            traceback=f"x = '{secret}'",
            context={"password": "hunter2", "list": [secret], secret: 1},
            dependency=f"http://jo:{secret}@gpu1",
            operation=secret,
            strategy=secret,
            reason=secret,
            frames=(secret,),
        ),
        secret,
    )
    history.record_recovery(secret, successful=True, error_type=secret, detail=secret)
    history.record_change("breaker", secret, secret, secret, secret)
    history.flush()
    (stored,) = history.events()
    assert stored.info.context == {"password": REDACTED, "list": [REDACTED], REDACTED: 1}
    everything = repr((stored, history.groups(), history.recoveries(), history.changes()))
    everything += repr(history.report())
    assert secret not in everything
    assert "hunter2" not in everything


@pytest.mark.parametrize(
    "text",
    ["nul \0 and \ud800 half", "\x1b[31mred", "😀" * 50, "a" * 100_000, "\r\n\t", "%s %(x)s ?"],
)
def test_any_text_can_be_kept(history, text):
    context = {text[:90]: text, "n": float("nan"), "i": float("inf"), "o": object}
    kept = history.append(error(text, traceback=text, context=context, dependency=text), text)
    assert history.flush()
    assert history.trouble is None
    (stored,) = history.events()
    assert stored.id == kept
    assert len(stored.info.error_message) <= 4_000
    assert "\0" not in repr(stored)
    assert history.group(stored.fingerprint).count == 1


def test_what_is_cut_says_so_and_no_secret_is_cut_in_two(history):
    secret = "ghp" + "_" + "a1B2" * 9
    history.append(error("x" * 3_990 + secret + " y" * 9000), "f")
    history.append(error("x " * 4_030 + secret * 3), "f")
    history.flush()
    for stored in history.events():
        assert "… [of " in stored.info.error_message
        assert "a1B2" not in stored.info.error_message


def test_what_cannot_be_kept_is_counted_and_raises_nothing(history, caplog):
    class Odd:
        def __str__(self):
            raise RuntimeError("no")

    assert history.append(error(Odd()), "f") == ""
    assert history.append(None, "f") == ""
    history.resolve("no id", strategy="x", successful=True)
    history.record_recovery("x", successful=True, seconds="long")
    assert history.state()["refused"] == 4
    assert caplog.text.count("a record was refused") == 1
    assert history.flush()
    assert history.events() == []


def test_export_writes_every_error(history):
    for number in range(3):
        history.append(error(f"n{number}", seconds=number, context={"a": [1]}), "f")
    history.append(error("=1+1", seconds=5, transient=True), "f")
    history.flush()
    lines, table = io.StringIO(), io.StringIO()
    assert history.export("jsonl", lines) == history.export("csv", table) == 4
    records = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [r["error_message"] for r in records] == ["=1+1", "n2", "n1", "n0"]
    assert records[1]["context"] == {"a": [1]}
    rows = list(csv.DictReader(io.StringIO(table.getvalue())))
    assert [r["error_message"] for r in rows] == ["'=1+1", "n2", "n1", "n0"]
    assert rows[0]["transient"] == "true"
    assert history.export("jsonl", io.StringIO(), since=NOON + timedelta(seconds=2)) == 2


def test_state_tells_what_was_done(history):
    assert history.state()["last_flush"] is None
    history.append(error(), "f")
    history.record_change("breaker", "b", "closed", "open")
    history.flush()
    state = history.state()
    assert (state["written"], state["pending"], state["dropped"]) == (2, 0, 0)
    assert state["trouble"] is None
    assert state["last_flush"] > 0


def test_a_closed_history_refuses_and_is_closed_twice(url):
    history = ErrorHistory(url)
    history.append(error(), "f")
    assert history.close()
    assert history.close()
    assert history.append(error(), "f") == ""
    history.record_change("breaker", "b", "closed", "open")
    assert history.state()["refused"] == 2
    with ErrorHistory(url) as again:
        assert len(again.events()) == 1


def test_eight_threads_lose_nothing(history):
    def work(name):
        for number in range(100):
            history.append(error(f"{name} {number}"), f"group {name}")

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert history.flush()
    assert len({stored.id for stored in history.events(limit=1000)}) == 800
    assert [group.count for group in history.groups()] == [100] * 8
    assert history.report()["total_errors"] == 800


@given(
    moments=st.lists(st.integers(0, 20), max_size=30),
    size=st.integers(1, 7),
    since=st.integers(0, 20),
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_pages_of_any_size_are_the_whole(history, moments, size, since):
    service = f"dep {len(history.groups(limit=1000))} {moments} {size}"[:150]
    ids = [history.append(error(seconds=m, dependency=service), "f") for m in moments]
    history.flush()
    since_time = NOON + timedelta(seconds=since)
    got, before = [], None
    while page := history.events(dependency=service, since=since_time, limit=size, before=before):
        assert len(page) <= size
        got += page
        before = page[-1].id
    expected = sorted((i for i, m in zip(ids, moments, strict=True) if m >= since), reverse=True)
    assert [stored.id for stored in got if stored.id in ids] == expected
    assert [s.info.timestamp for s in got] == sorted((s.info.timestamp for s in got), reverse=True)
