"""Damaged files go where no server lists them, and can come back."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from holdfast.comfyui.models.errors import ModelError
from holdfast.comfyui.models.names import SUFFIXES
from holdfast.comfyui.models.places import ModelsFolder, prepare
from holdfast.comfyui.models.quarantine import quarantine, restore
from holdfast.testing import FakeClock


def damaged(root, content=b"damaged"):
    place = ModelsFolder(root).place("checkpoints", "SDXL/x.safetensors")
    prepare(place)
    place.path.write_bytes(content)
    return place


def test_a_file_is_put_aside_with_a_note_why(tmp_path):
    with FakeClock():
        place = damaged(tmp_path)
        aside = quarantine(place, "is cut off")
    assert not place.path.exists()
    assert aside.path.read_bytes() == b"damaged"
    assert aside.path.parent == place.root / ".quarantine" / "checkpoints" / "SDXL"
    assert aside.path.suffix not in SUFFIXES
    note = json.loads(aside.note.read_text())
    assert note["was"] == "checkpoints/SDXL/x.safetensors"
    assert note["why"] == "is cut off"
    assert note["size"] == 7
    assert note["when"].endswith("+00:00")


def test_two_in_one_second_do_not_overwrite_each_other(tmp_path):
    with FakeClock():
        first = quarantine(damaged(tmp_path, b"1"), "a")
        second = quarantine(damaged(tmp_path, b"2"), "b")
    assert (first.path.read_bytes(), second.path.read_bytes()) == (b"1", b"2")
    assert first.note != second.note


def test_on_another_disk_it_is_renamed_where_it_lies(tmp_path, monkeypatch):
    place = damaged(tmp_path)
    real = Path.rename

    def rename(self, target):
        if ".quarantine" in str(target):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    aside = quarantine(place, "is cut off")
    assert aside.path.parent == place.path.parent
    assert aside.path.suffix == ".damaged"
    assert not place.path.exists()


def test_it_can_be_undone_unless_something_has_taken_its_place(tmp_path):
    place = damaged(tmp_path)
    restore(quarantine(place, "by mistake"))
    assert place.path.read_bytes() == b"damaged"
    aside = quarantine(place, "again")
    place.path.write_bytes(b"new")
    with pytest.raises(FileExistsError):
        restore(aside)
    assert place.path.read_bytes() == b"new"


def test_a_file_that_is_gone_is_told(tmp_path):
    place = damaged(tmp_path)
    place.path.unlink()
    with pytest.raises(ModelError, match="cannot be written: No such file"):
        quarantine(place, "x")
