"""Files that are models, and files that only bear their names."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import tracemalloc
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.comfyui.models import safetensors as module
from holdfast.comfyui.models.check import check_model_file
from holdfast.comfyui.models.errors import ModelDamagedError
from holdfast.comfyui.models.safetensors import HeaderError, read_header
from tests.comfyui.models.weights import packed, safetensors

WHOLE = safetensors()


def tensor(begin, end, shape=None, dtype="U8"):
    return {
        "dtype": dtype,
        "shape": [end - begin] if shape is None else shape,
        "data_offsets": [begin, end],
    }


def checked(tmp_path, content, name="a.safetensors", **options):
    path = tmp_path / name
    path.write_bytes(content)
    return check_model_file(path, **options)


def test_a_whole_model_is_told_with_family_and_precision(tmp_path):
    check = checked(tmp_path, WHOLE)
    assert check.ok
    assert (check.format, str(check.family), check.dtype, check.tensors) == (
        "safetensors",
        "sd15 checkpoint",
        "F16",
        2,
    )
    assert check.words == "is a whole sd15 checkpoint of 2 tensors, mostly F16"
    assert check.require() is check


@pytest.mark.parametrize(
    ("content", "kind", "why"),
    [
        (b"", "unknown", "is empty"),
        (WHOLE[:-1], "safetensors", "is cut off: 1 bytes of 32 are missing"),
        (WHOLE[:20], "safetensors", "do not even hold its header"),
        (WHOLE[:5], "safetensors", "too few"),
        (WHOLE + b"x", "safetensors", "1 bytes more than its header speaks of"),
        (b"<!DOCTYPE html><html>", "html", "web page"),
        (b"\n  <html><body>Sign in", "html", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab", "lfs_pointer", "pointer"),
        (b'{"error":"Unauthorized"}', "message", "error message"),
        (b"PK\x03\x04" + bytes(40), "zip", "called safetensors"),
        (b"\xff" * 400, "safetensors", "does not begin as"),
        (packed(b"[1]"), "safetensors", "not a list of tensors"),
        (packed(b"{oops"), "safetensors", "not JSON"),
        (packed(b"\xff\xfe{}"), "safetensors", "not JSON"),
        (packed(b"[" * 50_000), "safetensors", "not JSON"),
        (packed(b'{"a": ' + b"9" * 6_000 + b"}"), "safetensors", "not JSON"),
        (packed({}), "safetensors", "holds no tensor"),
        (packed({"a": 7}), "safetensors", "damaged .at tensor 'a'"),
        (packed({"a": tensor(0, 2), "b": tensor(1, 3)}, b"abc"), "safetensors", "overlap"),
        (packed({"a": tensor(0, 1), "b": tensor(2, 3)}, b"abc"), "safetensors", "gaps"),
        (packed({"a": tensor(1, 3)}, b"abc"), "safetensors", "gaps"),
        (packed({"a": tensor(0, 3, [2])}, b"abc"), "safetensors", "damaged .at"),
        (packed({"a": tensor(0, 3, [-3])}, b"abc"), "safetensors", "damaged .at"),
        (packed({"a": tensor(0, 3, [True, 3])}, b"abc"), "safetensors", "damaged .at"),
        (packed({"a": tensor(0, 1, [1] * 40)}, b"a"), "safetensors", "damaged .at"),
        (packed({"a": tensor(0, 2**64)}, b"a"), "safetensors", "damaged .at"),
    ],
)
def test_what_is_no_model_is_told_in_words(tmp_path, content, kind, why):
    check = checked(tmp_path, content)
    assert not check.ok
    assert check.format == kind
    with pytest.raises(ModelDamagedError, match=f"a.safetensors .*{why}"):
        check.require("a.safetensors")


def test_a_dtype_of_the_future_is_not_held_against_a_file(tmp_path):
    content = packed({"a": tensor(0, 3, [7], dtype="Q3_NEW")}, b"abc")
    assert checked(tmp_path, content).dtype == "Q3_NEW"


def test_pytorch_files_are_known_by_their_ends(tmp_path):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("archive/data.pkl", b"x" * 5_000)
    whole = made.getvalue()
    assert checked(tmp_path, whole, "a.pth").format == "zip"
    assert checked(tmp_path, whole, "a.pth").ok
    cut = checked(tmp_path, whole[:3_000], "a.ckpt")
    assert not cut.ok
    assert "cut off" in cut.words
    old = checked(tmp_path, pickle.dumps({"a": 1}, protocol=2), "a.ckpt")
    assert old.ok
    assert "only its hash can tell" in old.words
    assert not checked(tmp_path, b"rubbish", "a.pt").ok
    assert not checked(tmp_path, b"\x80", "a.pt").ok


def test_gguf_files_are_known_by_their_header(tmp_path):
    whole = b"GGUF" + struct.pack("<IQQ", 3, 291, 20)
    assert checked(tmp_path, whole, "a.gguf").tensors == 291
    assert not checked(tmp_path, whole[:12], "a.gguf").ok
    assert not checked(tmp_path, b"GGUF" + bytes(30), "a.gguf").ok
    assert not checked(tmp_path, WHOLE, "a.gguf").ok


def test_a_hash_is_compared_if_given(tmp_path):
    right = hashlib.sha256(WHOLE).hexdigest()
    assert checked(tmp_path, WHOLE, sha256=right.upper()).sha256 == right
    wrong = checked(tmp_path, WHOLE, sha256="0" * 64)
    assert not wrong.ok
    assert "where 0000000000000000... was expected" in wrong.words


def test_a_part_is_judged_by_the_name_it_will_have(tmp_path):
    part = tmp_path / "a.safetensors.part"
    part.write_bytes(WHOLE)
    assert check_model_file(part, name="a.safetensors").ok
    assert not check_model_file(part).ok


def test_what_cannot_be_read_is_not_ok(tmp_path):
    assert "No such file" in check_model_file(tmp_path / "none.pt").words
    assert not check_model_file(tmp_path).ok


relaxed = settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@relaxed
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".safetensors", ".pt", ".gguf"]))
def test_any_bytes_give_a_check(tmp_path, content, suffix):
    check = checked(tmp_path, content, f"fuzz{suffix}")
    assert check.words


@relaxed
@given(
    at=st.integers(0, len(WHOLE) - 1),
    value=st.integers(0, 255),
    end=st.integers(0, len(WHOLE)),
)
def test_a_file_with_a_byte_changed_or_its_end_missing_gives_a_check(tmp_path, at, value, end):
    changed = bytearray(WHOLE)
    changed[at] = value
    checked(tmp_path, bytes(changed))
    assert checked(tmp_path, WHOLE[:end]).ok == (end == len(WHOLE))


headers = st.dictionaries(
    st.text(max_size=4) | st.just("__metadata__"),
    st.fixed_dictionaries(
        {},
        optional={
            "dtype": st.sampled_from(["F16", "F4", "?"]) | st.integers(),
            "shape": st.lists(st.integers(-1, 2**70), max_size=4) | st.none(),
            "data_offsets": st.lists(st.integers(-1, 40), max_size=3) | st.text(max_size=2),
        },
    )
    | st.none()
    | st.integers(),
    max_size=4,
)


@relaxed
@given(header=headers, data=st.binary(max_size=40))
def test_any_header_is_taken_or_refused_by_its_own_error(header, data):
    content = packed(header, data)
    try:
        found = read_header(io.BytesIO(content), len(content))
    except HeaderError:
        return
    assert found.tensors


def test_a_header_made_to_fill_the_memory_is_not_parsed(tmp_path):
    hostile = packed(b"[" + b"{}," * 8_000_000 + b"{}]")
    path = tmp_path / "a.safetensors"
    path.write_bytes(hostile)
    tracemalloc.start()
    check = check_model_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "more entries than any model" in check.words
    assert peak < 3 * len(hostile)


def test_more_tensors_than_any_model_has_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_TENSORS", 1)
    assert "more entries" in checked(tmp_path, WHOLE).words
