"""Files by content: once each, never half, never under the name of another content."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import BadInputError
from holdfast.stores import blobs
from holdfast.stores.blobs import BlobStore

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path):
    return BlobStore(tmp_path / "blobs")


def digest(content):
    return hashlib.sha256(content).hexdigest()


def staged(store, content, name="part"):
    path = store.staging() / name
    path.write_bytes(content)
    return path


def inside(store):
    return sorted(p for p in store.folder.rglob("*") if p.is_file())


def test_a_content_is_kept_once_however_often_it_comes(store):
    for name in ("one", "two"):
        place = store.adopt(staged(store, b"picture", name), digest(b"picture"))
    assert store.put(b"picture") == digest(b"picture")
    assert inside(store) == [place]
    assert place.read_bytes() == b"picture"
    assert list(store.all()) == [digest(b"picture")]
    assert store.check() == []


def test_threads_that_adopt_the_same_content_at_once_all_succeed(store):
    failed = []

    def work(number):
        try:
            store.adopt(staged(store, b"x" * 100_000, f"p{number}"), digest(b"x" * 100_000))
        except Exception as error:  # looked at below
            failed.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(inside(store)) == 1
    assert store.check() == []


def test_damage_is_found_and_mended_by_the_same_content(store):
    good, bad = store.put(b"good"), store.put(b"bad one")
    store.path(bad).write_bytes(b"bad 0ne")
    (found,) = store.check()
    assert (found.sha256, found.size, found.why) == (bad, 7, "its content is another one")
    store.adopt(staged(store, b"bad one"), bad)
    assert store.check() == []
    assert set(store.all()) == {good, bad}
    store.remove(bad)
    store.remove(bad)
    assert store.path(bad) is None


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_crash_while_a_file_is_taken_in_leaves_all_of_it_or_none(store, monkeypatch, step):
    content = b"picture" * 1000

    def crash(*_):
        raise SystemExit

    with monkeypatch.context() as patch:
        if step == "replace":
            patch.setattr(Path, "replace", crash)
        else:
            patch.setattr(blobs, "sync_folder", crash)
        with pytest.raises(SystemExit):
            store.adopt(staged(store, content), digest(content))
    again = BlobStore(store.folder)
    assert again.check() == []
    again.adopt(staged(again, content), digest(content))
    assert again.path(digest(content)).read_bytes() == content


def test_a_new_folder_is_forced_to_the_disk_too(store, monkeypatch):
    synced = []
    monkeypatch.setattr(blobs, "sync_folder", synced.append)
    place = store.adopt(staged(store, b"x"), digest(b"x"))
    assert synced == [store.folder, place.parent]


def test_what_a_dead_process_left_on_its_way_in_is_removed_in_the_end(store):
    old, new = staged(store, b"old", "old"), staged(store, b"new", "new")
    os.utime(old, (time.time() - 200_000,) * 2)
    BlobStore(store.folder)
    assert not old.exists()
    assert new.exists()


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "", "a" * 63, "A" * 64, "a" * 64 + "\n", "é" * 64, None, b"a"]
)
def test_a_name_that_is_no_digest_goes_nowhere(store, name):
    for use in (store.path, store.remove, lambda name: store.adopt(store.staging() / "x", name)):
        with pytest.raises(BadInputError, match="sha256 must be 64 hexadecimal digits"):
            use(name)


@given(st.text(max_size=80))
def test_no_text_escapes(name):
    store = BlobStore.__new__(BlobStore)
    store.folder = Path("/blobs")
    try:
        place = store._place(name)
    except BadInputError:
        return
    assert place.is_relative_to("/blobs")
    assert place.parent.parent == Path("/blobs")


def test_a_full_disk_leaves_no_half_file(store):
    code = (
        "import resource, sys; from holdfast.stores.blobs import BlobStore\n"
        "store = BlobStore(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "try: store.put(b'x' * 100_000)\n"
        "except OSError as error: print(error.strerror)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(store.folder)],
        cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert out.stdout == "File too large\n", out.stderr
    assert inside(store) == []
    assert store.put(b"x" * 100_000) == digest(b"x" * 100_000)


def test_exporting_never_writes_over_another_file(store, tmp_path):
    sha256 = store.put(b"picture")
    target = tmp_path / "out.png"
    assert store.export(sha256, target)
    assert not store.export(sha256, target)
    target.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        store.export(sha256, target)
    assert target.read_bytes() == b"mine"
    with pytest.raises(FileNotFoundError):
        store.export("0" * 64, tmp_path / "none")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["blobs", "out.png"]


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInputError, match="folder for files must be one that can be made"):
        BlobStore(tmp_path / "file" / "blobs")
