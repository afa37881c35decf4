"""`holdfast errors`: formats, filters, exit codes; and every mistake in one line."""

from __future__ import annotations

import csv
import io
import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.error_info import ErrorInfo
from holdfast.errors import ErrorCategory, ErrorSeverity
from holdfast.stores import ErrorHistory
from tests.apps.commands import Command

SECRET = "sk-" + "a1B2" * 12


def error(message, *, ago=0.0, kind="ConnectionError", category=ErrorCategory.NETWORK, **more):
    return ErrorInfo(
        timestamp=datetime.now(UTC) - timedelta(seconds=ago),
        error_type=kind,
        error_message=message,
        category=category,
        severity=ErrorSeverity.MEDIUM,
        **more,
    )


@pytest.fixture
def kept(tmp_path):
    """Five errors of one group, an old one, and one that is hostile to terminals."""
    path = tmp_path / "errors.db"
    with ErrorHistory(path) as history:
        for number in range(5):
            info = error(
                f"refused {number}",
                dependency="gpu1",
                operation="render",
                traceback=f"Traceback (latest last):\nConnectionError: refused {number}\n",
            )
            mark = history.append(info, "abc111")
            history.resolve(mark, strategy="reconnect", successful=number == 4)
        history.append(error("old", ago=3 * 86_400, kind="ValueError"), "abc222")
        history.append(
            error(f'[bold]\x1b[31mred[/bold] {SECRET}, \n"quoted"', kind="OddError"), "def333"
        )
        history.record_recovery("reconnect", successful=True, seconds=0.5)
    return path


def refused(ended, *words):
    assert ended.code == 2, ended.err
    assert ended.out == ""
    assert "Traceback" not in ended.err
    assert len(ended.err.strip().splitlines()) == 1, ended.err
    assert ended.err.startswith("holdfast: ")
    for word in words:
        assert word in ended.err


# -- report ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["table", "markdown", "html", "json"])
def test_a_report_in_every_format(holdfast: Command, kept, form):
    ended = holdfast("errors", "report", "--history", kept, "--format", form)
    assert ended.code == 0, ended.err
    assert ended.err == ""
    assert "ConnectionError" in ended.out
    assert "\x1b" not in ended.out
    assert SECRET not in ended.out
    if form == "json":
        assert json.loads(ended.out)["total_errors"] == 7
    if form == "html":
        assert ended.out.lstrip().lower().startswith("<!doctype html")
        assert "<script" not in ended.out


@pytest.mark.parametrize("form", ["table", "markdown", "html", "json"])
def test_a_report_of_nothing(holdfast: Command, tmp_path, form):
    path = tmp_path / "empty.db"
    ErrorHistory(path).close()
    ended = holdfast("errors", "report", "--history", path, "--format", form)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out


def test_a_report_into_a_file(holdfast: Command, kept, tmp_path):
    for form in ("table", "markdown", "html", "json"):
        path = tmp_path / f"report.{form}"
        ended = holdfast("errors", "report", "--history", kept, "--format", form, "--output", path)
        assert (ended.code, ended.out) == (0, "")
        assert "ConnectionError" in path.read_text(encoding="utf-8")


def test_a_report_since_then(holdfast: Command, kept):
    def total(*since):
        ended = holdfast("errors", "report", "--history", kept, "--format", "json", *since)
        return json.loads(ended.out)["total_errors"]

    assert total() == 7
    assert total("--since", "7d") == 7
    assert total("--since", "24h") == 6
    assert total("--since", "1.5h") == 6
    assert total("--since", "2w") == 7
    assert total("--since", "2000-01-01") == 7
    assert (
        total("--since", f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M:%S+00:00}") == 6
    )


@pytest.mark.parametrize(
    "since",
    ["yesterday", "5", "5x", "-5m", "5 m", "", " ", "1e9d", "9999999d", "2026-13-01", "nan", "٣h"],
)
@pytest.mark.parametrize("command", ["report", "top", "export"])
def test_a_time_that_is_none(holdfast: Command, kept, command, since):
    refused(holdfast("errors", command, "--history", kept, f"--since={since}"), "--since", "24h")


def test_a_time_beyond_all_calendars(holdfast: Command, kept):
    ended = holdfast("errors", "report", "--history", kept, "--since", "999999w")
    assert ended.code in (0, 2), ended.err
    assert "Traceback" not in ended.err


# -- top -------------------------------------------------------------------------------------------


def test_the_most_frequent_groups_come_first(holdfast: Command, kept):
    ended = holdfast("errors", "top", "--history", kept, "--json")
    assert ended.code == 0
    assert ended.lines[0]["fingerprint"] == "abc111"
    assert [one["count"] for one in ended.lines] == [5, 1, 1]
    datetime.fromisoformat(ended.lines[0]["last_seen"])


def test_the_latest_first_and_only_so_many(holdfast: Command, kept):
    ended = holdfast("errors", "top", "--history", kept, "--json", "--by", "last_seen")
    assert [one["fingerprint"] for one in ended.lines][-1] == "abc222"
    ended = holdfast("errors", "top", "--history", kept, "--json", "--limit", "1")
    assert len(ended.lines) == 1


def test_a_table_for_people_shows_markup_as_text(holdfast: Command, kept):
    ended = holdfast("errors", "top", "--history", kept)
    assert ended.code == 0
    assert "abc111" in ended.out
    assert "\x1b[31m" not in ended.out
    assert "[bold]" in ended.out.replace("\n", "").replace(" ", "").replace("│", "")


def test_no_groups(holdfast: Command, kept):
    ended = holdfast("errors", "top", "--history", kept, "--since", "0s")
    assert (ended.code, ended.out) == (0, "no errors\n")


# -- show ------------------------------------------------------------------------------------------


def test_one_group_by_the_beginning_of_its_fingerprint(holdfast: Command, kept):
    ended = holdfast("errors", "show", "abc1", "--history", kept)
    assert ended.code == 0
    assert "abc111  ConnectionError" in ended.out
    assert "5 times" in ended.out
    assert "mended by reconnect" in ended.out
    assert "reconnect did not help" in ended.out
    assert "render gpu1" in ended.out
    assert "latest traceback" in ended.out
    assert ended.out.count("  - ") == 5
    ended = holdfast("errors", "show", "abc1", "--history", kept, "--limit", "2")
    assert ended.out.count("  - ") == 2


def test_a_hostile_message_moves_no_cursor_and_tells_no_secret(holdfast: Command, kept):
    ended = holdfast("errors", "show", "def", "--history", kept)
    assert ended.code == 0
    assert "\x1b" not in ended.out
    assert SECRET not in ended.out


@pytest.mark.parametrize(("mark", "words"), [("abc", "abc111"), ("zzz", "none"), ("", "abc111")])
def test_a_beginning_that_is_no_groups_or_several(holdfast: Command, kept, mark, words):
    refused(holdfast("errors", "show", mark, "--history", kept), words)


# -- export ----------------------------------------------------------------------------------------


def test_every_error_as_json_lines(holdfast: Command, kept, tmp_path):
    ended = holdfast("errors", "export", "--history", kept)
    assert ended.code == 0
    assert len(ended.lines) == 7
    assert SECRET not in ended.out
    path = tmp_path / "out.jsonl"
    ended = holdfast("errors", "export", "--history", kept, "--output", path, "--since", "1h")
    assert (ended.code, ended.out) == (0, "")
    assert "6 errors" in ended.err
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 6


def test_every_error_as_csv(holdfast: Command, kept, tmp_path):
    ended = holdfast("errors", "export", "--history", kept, "--format", "csv")
    rows = list(csv.reader(io.StringIO(ended.out)))
    assert len(rows) == 8
    assert {len(row) for row in rows} == {len(rows[0])}
    path = tmp_path / "out.csv"
    holdfast("errors", "export", "--history", kept, "--format", "csv", "--output", path)
    with path.open(encoding="utf-8", newline="") as stream:
        assert list(csv.reader(stream)) == rows


# -- where it is -----------------------------------------------------------------------------------


def test_the_place_from_the_environment_and_from_the_file_here(
    holdfast: Command, kept, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOLDFAST_HISTORY", raising=False)
    refused(holdfast("errors", "top"), "--history", "HOLDFAST_HISTORY", "holdfast.toml")
    monkeypatch.setenv("HOLDFAST_HISTORY", f"sqlite:///{kept}")
    assert len(holdfast("errors", "top", "--json").lines) == 3
    monkeypatch.delenv("HOLDFAST_HISTORY")
    (tmp_path / "holdfast.toml").write_text('[history]\nurl = "errors.db"\n')
    assert len(holdfast("errors", "top", "--json").lines) == 3
    (tmp_path / "holdfast.toml").write_text("[history\n")
    refused(holdfast("errors", "top"), "holdfast.toml")
    (tmp_path / "holdfast.toml").write_text("[history]\nurl = 5\n")
    refused(holdfast("errors", "top"), "--history")


@pytest.mark.parametrize(
    "command",
    [("report",), ("top",), ("show", "abc"), ("export",)],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize("prefix", ["", "sqlite:///"])
def test_a_history_that_is_not_there_is_not_made(holdfast: Command, tmp_path, command, prefix):
    path = tmp_path / "deep" / "none.db"
    refused(holdfast("errors", *command, "--history", f"{prefix}{path}"), "exists", "none.db")
    assert not path.exists()
    assert not path.parent.exists()


def test_a_folder_is_no_history(holdfast: Command, tmp_path):
    refused(holdfast("errors", "top", "--history", tmp_path), "exists")


def test_a_file_that_is_no_history_is_left_as_it_is(holdfast: Command, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and somebody's only copy\n" * 100)
    before = path.read_bytes()
    ended = holdfast("errors", "report", "--history", path)
    refused(ended, "notes.txt")
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "url",
    ["mysql://me:hunter2@db/x", "ftp://x", "postgresql://me:hunter2@127.0.0.1:9/x", "http://"],
)
def test_a_url_that_cannot_be_read(holdfast: Command, url):
    ended = holdfast("errors", "top", "--history", url)
    refused(ended)
    assert "hunter2" not in ended.err


def test_an_output_that_cannot_be_written(holdfast: Command, kept, tmp_path):
    for command in ("report", "export"):
        ended = holdfast(
            "errors", command, "--history", kept, "--output", tmp_path / "no" / "such" / "x"
        )
        refused(ended, "cannot be written")
        refused(holdfast("errors", command, "--history", kept, "--output", tmp_path), "directory")


@pytest.mark.parametrize(
    "arguments",
    [
        ("errors", "report", "--format", "xml"),
        ("errors", "export", "--format", "html"),
        ("errors", "top", "--limit", "0"),
        ("errors", "top", "--by", "name"),
        ("errors", "show"),
        ("errors", "frobnicate"),
    ],
)
def test_options_that_are_none(holdfast: Command, kept, arguments):
    refused(holdfast(*arguments, "--history", kept))


def test_a_history_in_use_is_read_beside_its_service(holdfast: Command, kept):
    with ErrorHistory(kept, flush_seconds=0.02) as history:
        for number in range(50):
            history.append(error(f"more {number}"), "abc111")
        assert history.flush()
        ended = holdfast("errors", "top", "--history", kept, "--json")
        assert ended.lines[0]["count"] == 55
        time.sleep(0.05)
        history.append(error("and one"), "abc111")
        assert history.flush()
        assert history.trouble is None
