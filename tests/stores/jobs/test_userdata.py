"""Saved workflows and settings, in both databases."""

from __future__ import annotations

import pytest

from holdfast.stores.jobs import userdata
from holdfast.stores.jobs.userdata import NameTakenError, NoRoomError

ALL = bytes(range(256))


def put(store, user, path, content, **how):
    return store.write(userdata.writing(userdata.put, user, path, content, **how)).result()


def test_a_file_is_kept_byte_by_byte_replaced_moved_and_removed(store):
    first = put(store, "ann", "w/\U0001f600 'a'.json", ALL)
    again = put(store, "ann", "w/\U0001f600 'a'.json", ALL[::-1])
    assert (again.size, again.created) == (256, first.created)
    with pytest.raises(NameTakenError):
        put(store, "ann", again.path, b"", replace=False)
    moved = store.write(userdata.writing(userdata.move, "ann", again.path, "b_%")).result()
    assert (moved.path, moved.size) == ("b_%", 256)
    found = store.read(lambda on: userdata.read(on, "ann", "b_%"))
    assert found == (moved, ALL[::-1])
    assert store.read(lambda on: userdata.listed(on, "ann")) == [moved]
    assert store.read(lambda on: userdata.listed(on, "bob")) == []
    assert store.write(lambda on, _now: userdata.remove(on, "ann", "b_%")).result()
    assert not store.write(lambda on, _now: userdata.remove(on, "ann", "b_%")).result()


def test_room_is_counted_for_each_user(store, monkeypatch):
    monkeypatch.setattr(userdata, "MOST_TOTAL", 300)
    put(store, "ann", "a", ALL)
    put(store, "bob", "a", ALL)
    with pytest.raises(NoRoomError):
        put(store, "ann", "b", ALL)
    put(store, "ann", "a", ALL)


def test_what_is_missing_is_put_by_the_rules_of_one_by_one(store, monkeypatch):
    monkeypatch.setattr(userdata, "MOST_TOTAL", 600)
    put(store, "ann", "a/b", b"mine")
    files = [
        ("a", b""), ("a/b", b"theirs"), ("a/b/c", b""), ("c", ALL), ("c/d", b""), ("c", b"2"),
        ("e", ALL), ("f", ALL), ("", b""),
    ]  # fmt: skip
    left = store.write(userdata.writing(userdata.put_missing, "ann", files)).result()
    assert [each.partition(":")[0] for each in left] == ["'a'", "'a/b/c'", "'c/d'", "'f'"]
    assert [each.path for each in store.read(lambda on: userdata.listed(on, "ann"))] == [
        "a/b", "c", "e",
    ]  # fmt: skip
    assert store.read(lambda on: userdata.read(on, "ann", "a/b"))[1] == b"mine"


def test_settings_change_one_by_one(store):
    for changed in ({"a": 1}, {"b": "\u20ac\0"}, {"a": [None]}):
        store.write(userdata.writing(userdata.change_settings, "ann", changed)).result()
    found = store.read(lambda on: userdata.settings(on, "ann"))
    assert found == {"a": [None], "b": "\u20ac\0"}
