"""Writes share commits; what nobody waits for takes none of its own."""

from __future__ import annotations

import threading
import time

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from holdfast.stores.jobs import JobStore, tables


@pytest.fixture
def counted(tmp_path):
    """A store, and the commits that were made since."""
    store, commits = JobStore(tmp_path / "jobs.db"), []
    event.listen(store.engine, "commit", lambda _connection: commits.append(1))
    yield store, commits
    store.close()


def test_a_line_of_a_story_shares_the_commit_of_what_comes_next(counted, monkeypatch):
    store, commits = counted
    monkeypatch.setattr("holdfast.stores.jobs.committing.LATER_SECONDS", 30.0)
    order: list[str] = []
    line = store.write(lambda _on, _now: order.append("line"), lasting=False, soon=False)
    other = store.write(lambda _on, _now: order.append("other"), lasting=False, soon=False)
    assert not line.done()
    store.write(lambda _on, _now: order.append("asked for")).result(10)
    assert line.done()
    assert other.done()
    assert order == ["line", "other", "asked for"]
    assert len(commits) == 1


def test_what_nobody_waits_for_is_written_by_itself_after_a_moment(counted):
    store, commits = counted
    store.write(lambda _on, _now: None, lasting=False, soon=False).result(10)
    assert len(commits) == 1


def test_what_waits_for_company_is_written_when_the_store_closes(counted, monkeypatch):
    store, commits = counted
    monkeypatch.setattr("holdfast.stores.jobs.committing.LATER_SECONDS", 30.0)
    line = store.write(lambda _on, _now: None, lasting=False, soon=False)
    assert store.close(10)
    assert line.done()
    assert len(commits) == 1


def test_writes_that_come_during_a_commit_share_the_next(counted):
    store, commits = counted
    begun, go_on = threading.Event(), threading.Event()

    def slow(_on, _now):
        begun.set()
        assert go_on.wait(10)

    first = store.write(slow)
    assert begun.wait(10)
    rest = [store.write(lambda _on, _now: None) for _ in range(50)]
    go_on.set()
    for each in (first, *rest):
        each.result(10)
    assert len(commits) == 2


def test_who_only_reads_never_waits_for_who_writes(counted):
    store, _commits = counted
    begun, go_on = threading.Event(), threading.Event()

    def slow(on, _now):
        on.execute(sa.insert(tables.setting), {"name": "x", "value": "1"})
        begun.set()
        assert go_on.wait(10)

    written = store.write(slow)
    assert begun.wait(10)
    store.engine.dispose()  # so that reading takes a new connection
    started = time.monotonic()
    assert store.setting("x") is None
    assert time.monotonic() - started < 2.0
    go_on.set()
    written.result(10)
    assert store.setting("x") == 1
