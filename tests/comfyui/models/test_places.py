"""Where models are written, and where they are not."""

from __future__ import annotations

import errno
import os
import shutil
from collections import namedtuple

import pytest

from holdfast.comfyui.models.errors import ModelError, ModelPlaceError, NoSpaceError
from holdfast.comfyui.models.places import (
    ModelsFolder,
    disk_trouble,
    open_part,
    prepare,
    put_in_place,
    require_space,
)
from holdfast.errors import BadInputError

Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil's


def test_a_place_lies_below_its_folder(tmp_path):
    place = ModelsFolder(tmp_path).place("loras", "a\\b.safetensors")
    assert place.path == tmp_path.resolve() / "loras" / "a" / "b.safetensors"
    assert place.part.name == "b.safetensors.part"
    assert place.shown == "loras/a/b.safetensors"


def test_a_link_below_the_folder_must_not_lead_away(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    models = tmp_path / "models"
    (models / "loras").mkdir(parents=True)
    (models / "loras" / "away").symlink_to(outside)
    (models / "loras" / "loop").symlink_to(models / "loras" / "loop")
    folder = ModelsFolder(models)
    for name in ("away/x.safetensors", "loop/x.safetensors"):
        with pytest.raises(ModelPlaceError, match="a link"):
            folder.place("loras", name)


def test_a_kind_s_own_folder_may_lie_on_another_disk(tmp_path):
    disk, models = tmp_path / "disk", tmp_path / "models"
    disk.mkdir()
    models.mkdir()
    (models / "loras").symlink_to(disk)
    assert ModelsFolder(models).place("loras", "x.pt").path == disk.resolve() / "x.pt"


def test_the_old_name_of_a_folder_is_used_where_only_that_is_there(tmp_path):
    (tmp_path / "unet").mkdir()
    folder = ModelsFolder(tmp_path)
    assert folder.place("diffusion_models", "x.sft").path.parent.name == "unet"
    (tmp_path / "diffusion_models").mkdir()
    assert folder.place("diffusion_models", "x.sft").path.parent.name == "diffusion_models"


def test_a_part_is_never_written_through_a_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"dear")
    place = ModelsFolder(tmp_path).place("loras", "x.pt")
    prepare(place)
    place.part.symlink_to(victim)
    with pytest.raises(OSError, match=r"symbolic|levels"):
        open_part(place, keep=False)
    assert victim.read_bytes() == b"dear"


def test_what_replaces_a_link_leaves_its_target_alone(tmp_path):
    victim = tmp_path / "victim.pt"
    victim.write_bytes(b"dear")
    place = ModelsFolder(tmp_path).place("loras", "x.pt")
    prepare(place)
    place.path.symlink_to(victim)
    place.part.write_bytes(b"new")
    put_in_place(place)
    assert (victim.read_bytes(), place.path.read_bytes()) == (b"dear", b"new")
    assert not place.path.is_symlink()


def test_the_models_folder_must_be_one(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for wrong in ("none", "file"):
        with pytest.raises(BadInputError, match="folder"):
            ModelsFolder(tmp_path / wrong)


def test_room_is_kept_for_the_server(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**12, 0, 2 * 10**9))
    place = ModelsFolder(tmp_path).place("loras", "x.pt")
    prepare(place)
    require_space(place, 10**9)
    with pytest.raises(NoSpaceError, match=r"1,900,000,000 bytes are to come, 2,000,000,000 are"):
        require_space(place, 19 * 10**8)


def test_trouble_of_this_machine_is_told_in_words(tmp_path):
    place = ModelsFolder(tmp_path).place("loras", "x.pt")
    with pytest.raises(NoSpaceError, match=r"loras/x\.pt cannot be written: No space left"):
        with disk_trouble(place):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(ModelError, match="Permission denied"):
        with disk_trouble(place):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_files_of_a_name_are_found_in_every_folder(tmp_path):
    folder = ModelsFolder(tmp_path)
    for kind in ("loras", "checkpoints", ".quarantine"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "x.pt").write_bytes(b"x")
    assert [each.shown for each in folder.find("x.pt")] == ["checkpoints/x.pt", "loras/x.pt"]
