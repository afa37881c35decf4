"""What is old or too much goes, in small steps; counts stay."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest

from holdfast.stores import ErrorHistory, retention
from holdfast.stores.address import writing
from holdfast.testing import FakeClock
from tests.stores.samples import NOON, error

DAY = 86_400


@contextlib.contextmanager
def at_rest(history):
    """Only reading from here on, with the writer's thread ended, which sweeps as well."""
    assert history.close()
    yield
    history._place.close()


def sweep(history, rounds=100):
    """Let retention finish; how many steps it took."""
    keeper, place = history._writer.retention, history._place
    for step in range(1, rounds):
        keeper._rows = retention.EVERY_ROWS
        keeper.step(place)
        if not keeper.busy:
            return step
    raise AssertionError("retention never ends")


@pytest.fixture
def days(url):
    """A history of ten errors, one a day, the last one now."""
    with FakeClock(wall=NOON.timestamp()), ErrorHistory(url, retention_days=30) as history:
        for day in range(10):
            history.append(error(str(day), seconds=(day - 9) * DAY), f"group {day}")
        history.record_recovery("reconnect", successful=True)
        history.record_change("breaker", "b", "closed", "open")
        with at_rest(history):
            yield history


def test_what_is_older_than_the_days_goes_and_counts_by_the_hour_stay(days):
    days._writer.retention.days = 4.5
    sweep(days)
    assert [e.info.error_message for e in days.events()] == ["9", "8", "7", "6", "5"]
    assert len(days.recoveries()) == len(days.changes()) == 1
    assert sum(days.counts(by="minute").values()) == 5
    assert sum(days.counts(by="hour").values()) == 10
    assert len(days.groups()) == 10
    report = days.report()
    assert (report["total_errors"], report["kept_errors"]) == (10, 5)


def test_after_a_year_nothing_is_left(days):
    with FakeClock(wall=NOON.timestamp() + 370 * DAY):
        sweep(days)
        assert days.events() == days.groups() == days.recoveries() == days.changes() == []
        assert days.counts(by="hour") == days.counts() == {}


def test_the_oldest_go_when_there_is_too_much(url, monkeypatch):
    monkeypatch.setattr(retention, "STEP", 50)
    with ErrorHistory(url, max_bytes=1_000_000, flush_rows=10_000) as history:
        for number in range(2_000):
            history.append(error(f"{number} " + "x y " * 200, seconds=number), "f")
        with at_rest(history):
            check_that_the_oldest_go(history)


def check_that_the_oldest_go(history):
    assert sweep(history) > 5
    with history._place.engine.connect() as connection:
        assert 500_000 < retention.size(connection) <= 1_000_000
    kept = [int(e.info.error_message.split()[0]) for e in history.recent(5_000)]
    assert kept == list(range(2_000 - len(kept), 2_000))
    assert 200 < len(kept) < 1_800
    assert history.group("f").count == 2_000
    assert history.counts() == {"network": 2_000}


def test_a_file_gives_its_room_back(tmp_path, monkeypatch):
    path = tmp_path / "errors.db"
    with ErrorHistory(path, max_bytes=1_000_000) as history:
        for number in range(3_000):
            history.append(error(f"{number} " + "x y " * 300, seconds=number), "f")
        with at_rest(history):
            sweep(history)
    assert path.stat().st_size < 2_500_000


def test_one_step_removes_no_more_than_its_share(days, monkeypatch):
    monkeypatch.setattr(retention, "STEP", 3)
    days._writer.retention.days = 0.5
    with writing(days._place.engine) as connection:
        assert days._writer.retention.sweep(connection, NOON.timestamp())
    assert len(days.events()) == 7
    sweep(days)
    assert len(days.events()) == 1


def test_the_writer_sweeps_by_itself(tmp_path):
    with ErrorHistory(tmp_path / "errors.db", flush_seconds=0.02) as history:
        history.append(error(at=NOON - timedelta(days=20)), "f")
        history.append(error(), "f")
        history.flush()
        history._writer.retention._rows = retention.EVERY_ROWS
        history.append(error(seconds=1), "f")
        history.flush()
        history._writer.retention._rows = retention.EVERY_ROWS
        history._writer._wake.set()
        for _ in range(500):
            if len(history.events()) == 2:
                break
            history._writer._wake.wait(0.01)
        assert len(history.events()) == 2
