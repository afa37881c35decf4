"""The audit: written beside the requests, bounded, and told page by page."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from holdfast.comfyui.gateway.audit import AuditLog, Entry
from holdfast.errors import BadInputError
from holdfast.stores.address import writing
from holdfast.stores.jobs import JobStore
from holdfast.testing import FakeClock


def entry(number=0, **changed):
    given = {"user": "ann", "key_id": "k", "address": "1.2.3.4", "action": "POST",
             "target": f"/x/{number}", "outcome": "200"}  # fmt: skip
    return Entry(**(given | changed))


@pytest.fixture
def store(tmp_path):
    with JobStoreClosing(tmp_path) as opened:
        yield opened


class JobStoreClosing:
    def __init__(self, folder):
        self.store = JobStore(folder / "jobs.db")

    def __enter__(self):
        return self.store

    def __exit__(self, *_):
        self.store.close()


def test_entries_are_found_by_each_of_their_sides_and_page_by_page(store):
    log = AuditLog(store.engine)
    for number in range(10):
        log.note(entry(number, user="bob" if number % 2 else "ann", at=1_000.0 + number))
    log.note(entry(99, action="create key", outcome="done", address="::1", key_id="z", at=2_000.0))
    assert log.flush()
    assert [each.target for each in log.read(user="bob", limit=2)] == ["/x/9", "/x/7"]
    last = log.read(user="bob", limit=2)[-1]
    assert [each.target for each in log.read(user="bob", before=last.id)] == [
        "/x/5", "/x/3", "/x/1",
    ]  # fmt: skip
    for filters in ({"action": "create key"}, {"outcome": "done"}, {"address": "::1"},
                    {"key_id": "z"}, {"since": 1_500.0}):  # fmt: skip
        assert [each.target for each in log.read(**filters)] == ["/x/99"]
    assert len(log.read(until=1_005.0)) == 5
    log.close()


def test_old_entries_go_by_age_and_by_number(store):
    with FakeClock() as clock:
        log = AuditLog(store.engine, days=1.0, most=5, flush_seconds=1_000.0)
        log.note(entry(1))
        log.flush()
        clock.advance(86_401)
        for number in range(10, 18):
            log.note(entry(number))
        log.flush()
        assert log.clean() == 4
        assert [each.target for each in log.read()] == [f"/x/{n}" for n in range(17, 12, -1)]
        log.close()


def test_what_cannot_be_written_waits_and_what_is_too_much_is_told(store):
    log = AuditLog(store.engine, waiting=3, flush_seconds=1_000.0)
    with writing(store.engine) as connection:
        connection.execute(sa.text("ALTER TABLE audit_entry RENAME TO elsewhere"))
    for number in range(5):
        log.note(entry(number))
    assert log.flush() is False
    with writing(store.engine) as connection:
        connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO audit_entry"))
    assert log.flush()
    found = log.read()
    assert {each.target for each in found} == {"/x/2", "/x/3", "/x/4", ""}
    assert "2 entries" in next(each.detail for each in found if each.outcome == "lost")
    log.close()
    assert len(log.read()) == 4


def test_secrets_control_characters_and_length_are_taken_out(store):
    log = AuditLog(store.engine)
    secret = "hf_abcdefghijkl_" + "aB3" * 14 + "x"
    log.note(entry(0, target=f"/x/{secret}\n\0", detail="y" * 10**6, user="u" * 500))
    log.flush()
    (found,) = log.read()
    assert secret[16:] not in repr(found)
    assert "\n" not in found.target
    assert len(found.detail) <= 1_000
    assert len(found.user) == 200
    log.close()


@pytest.mark.parametrize("wrong", [{"days": 0}, {"most": 0}, {"flush_seconds": -1}, {"waiting": 0}])
def test_settings_that_cannot_work_are_refused_by_name(store, wrong):
    with pytest.raises(BadInputError, match=next(iter(wrong))):
        AuditLog(store.engine, **wrong)
