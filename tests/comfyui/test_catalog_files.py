"""A catalog file may be packed; what it unpacks to is bounded."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from holdfast.comfyui import catalog as module
from holdfast.comfyui.catalog import Catalog
from holdfast.errors import BadInputError

PACKED = Path(__file__).parents[1] / "data" / "object_info.json.gz"


def test_a_packed_file_holds_the_same_as_an_unpacked_one(tmp_path):
    plain = tmp_path / "object_info.json"
    plain.write_bytes(gzip.decompress(PACKED.read_bytes()))
    assert len(Catalog.load(PACKED)) == 389
    assert list(Catalog.load(PACKED)) == list(Catalog.of(str(plain)))


def test_a_packed_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 10_000)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b" " * 1_000_000))
    with pytest.raises(BadInputError, match=r"bomb\.gz: unpacked, .*at most 10,000 bytes"):
        Catalog.load(path)


@pytest.mark.parametrize("cut", [-1, -9, 20, 3])
def test_half_a_packed_file_is_refused(tmp_path, cut):
    path = tmp_path / "half.gz"
    path.write_bytes(gzip.compress(json.dumps({"A": {"input": {}}}).encode())[:cut])
    with pytest.raises(BadInputError, match=r"half\.gz: not a whole gzip file"):
        Catalog.load(path)


def test_a_packed_file_with_broken_content_is_refused(tmp_path):
    path = tmp_path / "broken.gz"
    path.write_bytes(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + b"\xff" * 40)
    with pytest.raises(BadInputError, match=r"broken\.gz: not a whole gzip file"):
        Catalog.load(path)
