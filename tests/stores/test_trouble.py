"""Damaged files, vanished files, servers that go away: survived, and said."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time

import pytest
import sqlalchemy.exc

from holdfast.errors import BadInputError, ErrorSeverity
from holdfast.stores import ErrorHistory, HistoryUnavailableError, SchemaTooNewError
from holdfast.stores.trouble import Kind, kind_of, words
from holdfast.testing import FakeClock
from tests.stores.samples import FULL, error


@pytest.fixture
def path(tmp_path):
    return tmp_path / "errors.db"


def opened(path, **settings):
    return ErrorHistory(path, flush_seconds=0.02, **settings)


def wait_for(condition, seconds=15):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return False


def damage(path, start=0, length=1 << 30):
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(start)
        file.write(os.urandom(min(length, size - start)))


def aside(path):
    found = path.parent.glob("errors.db.corrupt-*")
    return [p for p in found if not p.name.endswith(("-wal", "-shm"))]


@pytest.mark.parametrize(
    "content", [b"this is no database at all" * 100, b"SQLite format 3\0" * 300]
)
def test_what_is_no_database_is_moved_aside_and_a_new_one_begun(path, content, caplog):
    path.write_bytes(content)
    with FakeClock(wall=1_772_366_400.0):
        history = opened(path)
    with history:
        assert history.trouble == (
            f"{path} was damaged; "
            "it is now errors.db.corrupt-20260301T120000Z, and a new one was begun"
        )
        assert history.state()["trouble"] == history.trouble
        history.append(error(), "f")
        history.flush()
        assert len(history.events()) == 1
        assert "a new one was begun" in history.trouble
    assert "was damaged" in caplog.text
    (kept,) = aside(path)
    assert kept.read_bytes() == content


def test_damage_inside_the_file_is_found_when_it_is_opened(path):
    with opened(path) as history:
        for number in range(300):
            history.append(error("x" * 900, seconds=number), "f")
    damage(path, start=40_000, length=200_000)
    with opened(path) as history:
        assert "was damaged" in history.trouble
        assert history.events() == []


def test_a_file_damaged_while_it_is_in_use_is_replaced_and_what_came_is_kept(path):
    with opened(path) as history:
        for number in range(50):
            history.append(error(seconds=number), "f")
        history.flush()
        with sqlite3.connect(path) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.close()
        damage(path)
        history._place.engine.dispose()  # as a new process, a new connection, a cold cache
        history.append(error("after"), "f")
        assert history.flush(10)
        assert [stored.info.error_message for stored in history.events()] == ["after"]
        assert "was damaged" in history.trouble
        assert len(aside(path)) == 1


def test_damage_that_a_reader_meets_is_mended_too(path):
    with opened(path) as history:
        history.append(error(), "f")
        history.flush()
        assert wait_for(lambda: history._place.engine.pool.checkedout() == 0)
        history._place.engine.dispose()
        damage(path)
        assert history.events() == []
        assert "was damaged" in history.trouble


def test_two_that_meet_the_same_damage_move_it_aside_once(path):
    path.write_bytes(b"no database" * 500)
    with opened(path) as first:
        first.append(error(), "f")
        first.flush()
        # The second was told of damage that the first has mended since.
        with opened(path) as second:
            second._place.heal()
            assert len(second.events()) == 1
    assert len(aside(path)) == 1


def test_a_file_that_is_removed_in_use_is_made_anew(path, caplog):
    with opened(path) as history:
        history.append(error("lost"), "f")
        history.flush()
        for file in path.parent.glob("errors.db*"):
            file.unlink()
        history.append(error("kept"), "f")
        assert history.flush()
        assert [stored.info.error_message for stored in history.events()] == ["kept"]
        assert "was removed or replaced" in history.trouble
    assert "was removed or replaced" in caplog.text


def test_a_locked_file_is_waited_for(path, caplog):
    with opened(path) as history:
        history.append(error("one"), "f")
        history.flush()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        history.append(error("two"), "f")
        assert not history.flush(0.3)
        assert history.state()["pending"] == 1
        other.execute("COMMIT")
        other.close()
        assert history.flush(10)
        assert len(history.events()) == 2


def test_what_does_not_fit_is_dropped_by_severity_and_counted(path):
    with opened(path, max_pending=10) as history:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for number in range(30):
            for severity in (ErrorSeverity.CRITICAL, ErrorSeverity.LOW):
                if severity is ErrorSeverity.LOW or number < 5:
                    history.append(error(f"{severity} {number}", severity=severity), "f")
        assert history.state()["pending"] <= 10
        dropped = history.state()["dropped"]
        assert dropped >= 25
        other.execute("ROLLBACK")
        other.close()
        assert history.flush(10)
        kept = history.events()
        assert len(kept) == 35 - dropped
        assert sum(e.info.severity is ErrorSeverity.CRITICAL for e in kept) == 5
        assert history.counts(by="severity") == {"low": 30, "critical": 5}
        assert history.group("f").count == 35


def test_a_newer_schema_is_left_alone(url):
    with ErrorHistory(url) as history:
        engine = history._place.engine
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE holdfast_version SET version_num = '9999'")
        with pytest.raises(
            SchemaTooNewError, match="has schema 9999, and this Holdfast knows up to"
        ):
            ErrorHistory(url)
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE holdfast_version SET version_num = '0001'")
    with ErrorHistory(url) as history:
        assert history.trouble is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "url must be a path or a database URL"),
        (7, "url must be a path or a database URL"),
        ("sqlite://", "url must name a file"),
        ("sqlite:///:memory:", "url must name a file"),
        ("mysql://jo:hunter2@db/x", "url must begin with sqlite:/// or postgresql://"),
        ("postgresql://jo:hunter2@db:port/x", "url must look like sqlite:///path.db or"),
        ("/proc/errors.db", "cannot be opened or written|folder"),
        ("/dev/null/errors.db", "url must be in a folder that exists or can be made"),
        ("/dev", "cannot be opened or written"),
    ],
)
def test_a_place_that_cannot_work_is_refused_without_its_password(url, words):
    with pytest.raises(BadInputError, match=words) as raised:
        ErrorHistory(url)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("retention_days", 0),
        ("retention_days", float("nan")),
        ("max_bytes", 10),
        ("flush_seconds", 0),
        ("flush_seconds", 100),
        ("flush_rows", 0),
        ("max_pending", True),
        ("service", 5),
    ],
)
def test_a_setting_that_cannot_work_is_refused(path, setting, value):
    with pytest.raises(BadInputError, match=f"^{setting} must be .*got"):
        ErrorHistory(path, **{setting: value})
    assert not path.exists()


def test_a_missing_folder_is_made(tmp_path):
    path = tmp_path / "new" / "deep" / "errors.db"
    ErrorHistory(path).close()
    assert path.exists()


def test_a_server_that_goes_away_and_comes_back(postgres, caplog):
    with ErrorHistory(postgres.database(), flush_seconds=0.05, max_pending=50) as history:
        history.append(error("before"), "f")
        assert history.flush()
        postgres.stop()
        try:
            with caplog.at_level(logging.WARNING, "holdfast"):
                for number in range(80):
                    history.append(error(f"during {number}", seconds=number), "f")
                assert wait_for(lambda: history.trouble)
                assert "cannot be reached" in history.trouble
                with pytest.raises(HistoryUnavailableError, match="cannot be reached"):
                    history.events()
                assert history.state()["pending"] <= 50
        finally:
            postgres.start()
        assert history.flush(20)
        assert history.trouble is None
        assert history.counts() == {"network": 81}
        assert len(history.events()) == 81 - history.state()["dropped"]
    assert caplog.text.count("cannot be reached") == 1
    assert "writing again after" in caplog.text


def test_a_server_that_is_away_at_first_is_waited_for(postgres, caplog):
    url = postgres.database()
    postgres.stop()
    try:
        history = ErrorHistory(url, flush_seconds=0.05)
        assert "cannot be reached" in history.trouble
        history.append(FULL, "f")
    finally:
        postgres.start()
    with history:
        assert history.flush(20)
        assert history.trouble is None
        assert history.events()[0].info == FULL


def test_a_connection_cut_off_is_made_again(postgres):
    url = postgres.database()
    with ErrorHistory(url, flush_seconds=0.05) as history:
        history.append(error("one"), "f")
        assert history.flush()
        with ErrorHistory(url) as other, other._place.engine.begin() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        history.append(error("two"), "f")
        assert history.flush(10)
        assert len(history.events()) == 2


def test_a_lost_answer_to_a_commit_counts_nothing_twice(url, monkeypatch):
    from holdfast.stores import batches

    write, calls = batches.write, []

    def written_but_unheard(*arguments):
        write(*arguments)
        calls.append(arguments)
        if len(calls) == 1:
            raise sqlalchemy.exc.OperationalError("COMMIT", None, OSError("connection reset"))

    monkeypatch.setattr(batches, "write", written_but_unheard)
    with ErrorHistory(url, flush_seconds=0.02) as history:
        history.append(error(), "f")
        history.record_change("breaker", "b", "closed", "open")
        assert history.flush(10)
        assert len(calls) == 2
        assert len(history.events()) == len(history.changes()) == 1
        assert history.counts() == {"network": 1}
        assert history.group("f").count == 1


def test_rows_that_are_refused_are_dropped_and_said(path, monkeypatch, caplog):
    from holdfast.stores import batches

    def refuse(*_):
        raise sqlalchemy.exc.IntegrityError("INSERT", None, Exception("password=hunter2 is odd"))

    with opened(path) as history:
        with monkeypatch.context() as patch:
            patch.setattr(batches, "write", refuse)
            history.append(error(), "f")
            assert not history.flush(0.3) or history.state()["dropped"] == 1
            assert wait_for(lambda: history.state()["dropped"] == 1)
        assert "refused the rows" in history.trouble
        assert "hunter2" not in history.trouble + caplog.text
        history.append(error("next"), "f")
        assert history.flush()
        assert history.counts() == {"network": 2}


def test_nothing_a_database_raises_reaches_whoever_appends(path, monkeypatch, caplog):
    from holdfast.stores import batches

    def fail(*_):
        raise RuntimeError("a bug")

    with opened(path) as history:
        with monkeypatch.context() as patch:
            patch.setattr(batches, "write", fail)
            assert history.append(error(), "f")
            assert wait_for(lambda: history.state()["dropped"] == 1)
        assert history.append(error(), "f")
        assert history.flush()


def test_credentials_are_never_shown(postgres, caplog):
    url = postgres.database().replace("postgres:@", "postgres:hunter2@")
    with ErrorHistory(url) as history:
        history.append(error(), "f")
        history.flush()
        shown = f"{history!r} {history.state()} {history._place.address!r}"
    assert "hunter2" not in shown + caplog.text
    assert "postgresql://" in shown


class Sqlite(sqlite3.DatabaseError):
    def __init__(self, code):
        self.sqlite_errorcode = code


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (11, "corrupt"),
        (26, "corrupt"),
        (267, "corrupt"),
        (13, "full"),
        (778, "full"),
        (8, "denied"),
        (14, "denied"),
        (5, "busy"),
        (6, "busy"),
        (261, "busy"),
        (19, "refused"),
    ],
)
def test_codes_of_sqlite_are_understood(code, kind):
    assert kind_of(sqlalchemy.exc.DatabaseError("x", None, Sqlite(code))) == kind


class Postgres(Exception):
    def __init__(self, state):
        self.sqlstate = state


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("53100", "full"),
        ("40P01", "busy"),
        ("28P01", "denied"),
        ("42501", "denied"),
        ("22021", "refused"),
        ("23505", "refused"),
        ("57P01", "unreachable"),
        ("08006", "unreachable"),
        ("53300", "unreachable"),
        ("XX001", "unreachable"),
    ],
)
def test_states_of_postgresql_are_understood(state, kind):
    assert kind_of(sqlalchemy.exc.DBAPIError("x", None, Postgres(state))) == kind


def test_words_hold_one_scrubbed_line():
    told = words(
        sqlalchemy.exc.OperationalError("SELECT secret", None, Exception("password=a1b2 x\nrow"))
    )
    assert told == "the database cannot be reached: password=[redacted] x"
    assert kind_of(PermissionError("x")) is Kind.DENIED
    assert kind_of(OSError("x")) is Kind.FULL
    assert kind_of(sqlalchemy.exc.TimeoutError()) is Kind.BUSY


# -- what is not ours ------------------------------------------------------------------------------


def test_a_file_that_is_no_history_is_refused_and_left_alone(tmp_path):
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("my thesis")
    with pytest.raises(BadInputError, match="no error history, and is left alone"):
        ErrorHistory(str(thesis))
    assert thesis.read_text() == "my thesis"
    assert [one.name for one in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "app.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE users (name TEXT)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(BadInputError, match="another program"):
        ErrorHistory(str(path))
    assert path.read_bytes() == before
