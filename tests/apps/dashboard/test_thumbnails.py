"""Small pictures of what jobs made."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from holdfast.apps.dashboard.thumbnails import WIDTH, Thumbnails, draw, is_sha256

NAME = "a" * 64


class Folder:
    """Files by name, and how often each was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, 0

    def path(self, sha256: str) -> Path | None:
        self.asked += 1
        path = self.folder / sha256
        return path if path.exists() else None


def test_a_picture_is_drawn_small_and_kept(tmp_path):
    Image.new("RGB", (1200, 600), "teal").save(tmp_path / NAME, "PNG")
    blobs = Folder(tmp_path)
    thumbnails = Thumbnails(blobs)
    drawn = thumbnails.get(NAME)
    with Image.open(io.BytesIO(drawn)) as picture:
        assert (picture.format, picture.size) == ("WEBP", (WIDTH, WIDTH // 2))
    assert thumbnails.get(NAME) is drawn
    assert blobs.asked == 1


def test_what_is_kept_stays_within_its_bounds(tmp_path):
    names = [f"{number:064x}" for number in range(5)]
    for number, name in enumerate(names):
        Image.effect_noise((300, 300), 50 + number).save(tmp_path / name, "PNG")
    blobs = Folder(tmp_path)
    thumbnails = Thumbnails(blobs, kept_bytes=20_000)
    for name in names:
        assert thumbnails.get(name)
    assert thumbnails._size <= 20_000
    assert thumbnails.get(names[0])
    assert blobs.asked == 6


@pytest.mark.parametrize("name", ["", "../etc/passwd", "A" * 64, "a" * 63, "g" * 64, "٣" * 64])
def test_only_a_digest_is_a_name(tmp_path, name):
    blobs = Folder(tmp_path)
    assert not is_sha256(name)
    assert Thumbnails(blobs).get(name) is None
    assert blobs.asked == 0


def test_a_file_that_comes_later_is_found_then(tmp_path):
    thumbnails = Thumbnails(Folder(tmp_path))
    assert thumbnails.get(NAME) is None
    Image.new("L", (8, 8)).save(tmp_path / NAME, "PNG")
    assert thumbnails.get(NAME)


def test_what_is_no_picture_is_none_and_asked_for_once(tmp_path):
    (tmp_path / NAME).write_bytes(b"\x89PNG\r\n\x1a\n" + b"nonsense" * 10)
    blobs = Folder(tmp_path)
    thumbnails = Thumbnails(blobs)
    assert thumbnails.get(NAME) is None
    assert thumbnails.get(NAME) is None
    assert blobs.asked == 1


def test_a_bomb_is_not_decoded(tmp_path):
    """50,000 pixels square in a few bytes."""
    side = 50_000
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(
            ">I", zlib.crc32(kind + data)
        )  # fmt: skip

    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"0" * 999))
    (tmp_path / NAME).write_bytes(bomb + chunk(b"IEND", b""))
    assert draw(tmp_path / NAME) is None


def test_transparent_and_turned_pictures_are_shown_as_they_are(tmp_path):
    path = tmp_path / NAME
    Image.new("RGBA", (40, 20), (0, 0, 0, 0)).save(path, "PNG")
    with Image.open(io.BytesIO(draw(path))) as picture:
        assert picture.mode == "RGBA"
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (40, 20)).save(path, "JPEG", exif=exif)
    with Image.open(io.BytesIO(draw(path))) as picture:
        assert picture.size == (20, 40)
