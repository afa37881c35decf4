"""A history moves to another database, whole or not at all."""

from __future__ import annotations

import pytest

from holdfast.errors import BadInputError
from holdfast.stores import ErrorHistory, HistoryUnavailableError, copy, copying
from tests.stores.samples import FULL, error


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setattr(copying, "STEP", 7)
    path = tmp_path / "source.db"
    with ErrorHistory(path, service="api") as history:
        for number in range(40):
            history.append(error(f"n{number}", seconds=number * 60), f"group {number % 3}")
        event = history.append(FULL, "f00d")
        history.resolve(event, strategy="reconnect", successful=True)
        history.record_recovery("reconnect", successful=True)
        history.record_change("breaker", "b", "closed", "open")
    return path


def everything(history):
    report = history.report()
    for of_this_moment in ("generated_at", "error_rate_per_minute", "rate_seconds"):
        del report[of_this_moment]
    del report["errors_by_minute"], report["errors_by_hour"]
    for group in report["groups"]:
        del group["rate_per_hour"], group["trend"]
    return (
        history.events(limit=1000),
        history.groups(),
        history.recoveries(),
        history.changes(),
        history.counts(by="minute"),
        report,
    )


def test_everything_arrives(source, url):
    rows = copy(source, url)
    assert rows["error_event"] == 41
    assert rows["error_group"] == 4
    assert rows["recovery"] == rows["state_change"] == 1
    with ErrorHistory(source) as old, ErrorHistory(url) as new:
        assert everything(old) == everything(new)
        new.append(error(), "f")
        assert new.flush()
        assert new.counts(by="severity") == {"medium": 42}


def test_a_target_with_something_in_it_is_refused_and_left_as_it_was(source, url):
    with ErrorHistory(url) as history:
        history.append(error(), "f")
    with pytest.raises(BadInputError, match="target_url must be an empty history"):
        copy(source, url)
    with ErrorHistory(url) as history:
        assert len(history.events()) == 1


def test_a_copy_that_fails_leaves_nothing_behind(source, url, monkeypatch):
    real, calls = copying.copy_table, []

    def fail(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise OSError("no more")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(copying, "copy_table", fail)
        with pytest.raises(HistoryUnavailableError, match="was not copied to"):
            copy(source, url)
    assert copy(source, url)["error_event"] == 41


def test_a_source_that_is_not_there_or_the_same_is_refused(source, tmp_path):
    with pytest.raises(BadInputError, match="source_url must be a history that exists"):
        copy(tmp_path / "none.db", source)
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(BadInputError, match="target_url must be another history"):
        copy(source, f"sqlite:///{source}")
