"""Is this file the model its name says it is? Looked at without torch, and without loading it.

The reason a model does not load is, most often: the download broke off, a web
page was saved in its place, or only its Git LFS pointer is there. Each has
words of its own here. A file that passes may still hold wrong numbers; only a
hash can tell.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from holdfast.comfyui.models.errors import ModelDamagedError
from holdfast.comfyui.models.family import Family, family_of
from holdfast.comfyui.models.safetensors import HeaderError, read_header

SAFETENSORS = frozenset({".safetensors", ".sft"})
_READ = 2**20
_TAIL = 65_536 + 22
"""Bytes in which a zip file's own end must be found."""


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """What a look at a model file told."""

    path: Path
    ok: bool
    """Whether nothing is wrong with it, as far as `words` says it was looked at."""
    words: str
    """For people: what it is, or what is wrong."""
    size: int = 0
    """Bytes."""
    format: str = "unknown"
    """``safetensors``, ``zip`` or ``pickle`` (PyTorch's), ``gguf``, ``html``, ``lfs_pointer``."""
    family: Family | None = None
    dtype: str | None = None
    """What most of its numbers are, such as ``BF16``."""
    tensors: int | None = None
    sha256: str | None = None
    """If it was asked for."""

    def require(self, model: str | None = None) -> ModelCheck:
        """Itself, if nothing is wrong.

        Raises:
            ModelDamagedError: something is; the message is `words`.
        """
        if not self.ok:
            raise ModelDamagedError(f"{self.path.name} {self.words}", model=model)
        return self


def check_model_file(
    path: str | Path, *, sha256: str | None = None, name: str | None = None
) -> ModelCheck:
    """Look at a model file. Reads no more of it than its header, unless a hash is to be checked.

    Args:
        path: the file.
        sha256: in hex; None: the hash is not looked at.
        name: what it is to be called, if not as the path says: decides what format is expected.

    Returns:
        What was found; a file that is not there, or cannot be read, is not ok.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            found = _look(path, file, size, Path(name or path).suffix.lower())
            if sha256 is None or not found.ok:
                return found
            file.seek(0)
            digest = hash_of(file)
    except IsADirectoryError:
        return ModelCheck(path, ok=False, words="is a folder, and no file")
    except OSError as error:
        reason = error.strerror or str(error)
        return ModelCheck(path, ok=False, words=f"cannot be read: {reason}")
    if digest == sha256.lower():
        words = f"{found.words}, and has the right hash"
    else:
        words = f"has the hash {digest[:16]}... where {sha256[:16].lower()}... was expected"
    return ModelCheck(
        path,
        digest == sha256.lower(),
        words,
        size,
        found.format,
        found.family,
        found.dtype,
        found.tensors,
        digest,
    )


def hash_of(file: BinaryIO) -> str:
    """The SHA-256, in hex, of what is left to read."""
    digest = hashlib.sha256()
    while block := file.read(_READ):
        digest.update(block)
    return digest.hexdigest()


def impostor(first: bytes) -> tuple[str, str] | None:
    """What a file that begins so is instead of a model, as (format, words); None: nothing known.

    Args:
        first: some hundred bytes of its beginning.
    """
    text = first.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<body", b"<script")):
        return "html", "is a web page instead of a model (a login, or an error, was saved)"
    if text.startswith(b"version https://git-lfs"):
        return "lfs_pointer", "is only a Git LFS pointer; the model itself was not fetched"
    if text.startswith((b'{"error', b'{"message', b'{"detail', b"access to ")):
        return "message", "is an error message of a server instead of a model"
    return None


def _look(path: Path, file: BinaryIO, size: int, suffix: str) -> ModelCheck:
    def bad(words: str, kind: str = "unknown") -> ModelCheck:
        return ModelCheck(path, ok=False, words=words, size=size, format=kind)

    first = file.read(512)
    if not first:
        return bad("is empty")
    wrong = impostor(first)
    if wrong is not None:
        return bad(wrong[1], wrong[0])
    if suffix in SAFETENSORS:
        return _safetensors(path, file, size, first, bad)
    if first.startswith(b"GGUF"):
        return _gguf(path, first, size, bad)
    if suffix == ".gguf":
        return bad("does not begin as a GGUF file does")
    return _pytorch(path, file, first, size, bad)


def _safetensors(
    path: Path, file: BinaryIO, size: int, first: bytes, bad: Callable[..., ModelCheck]
) -> ModelCheck:
    if first.startswith(b"PK\x03\x04"):
        return bad("is called safetensors, but is a PyTorch file or another zip", "zip")
    file.seek(0)
    try:
        header = read_header(file, size)
    except HeaderError as error:
        return bad(str(error), "safetensors")
    family = family_of(header.tensors)
    what = str(family) if family else "model"
    count = len(header.tensors)
    words = f"is a whole {what} of {count:,} tensors, mostly {header.dtype}"
    return ModelCheck(path, True, words, size, "safetensors", family, header.dtype, count)


def _gguf(path: Path, first: bytes, size: int, bad: Callable[..., ModelCheck]) -> ModelCheck:
    if len(first) < 24:
        return bad("is cut off: not even its header is there", "gguf")
    version, tensors = struct.unpack("<IQ", first[4:16])
    if not 1 <= version <= 100 or not 0 < tensors <= 10_000_000:
        return bad("has a GGUF header that is damaged", "gguf")
    words = f"begins as a GGUF model of {tensors:,} tensors; only its hash can tell if it is whole"
    return ModelCheck(path, True, words, size, "gguf", tensors=tensors)


def _pytorch(
    path: Path, file: BinaryIO, first: bytes, size: int, bad: Callable[..., ModelCheck]
) -> ModelCheck:
    if first.startswith(b"PK\x03\x04"):
        if not _zip_ends(file, size):
            return bad("is cut off: the end of a PyTorch file is missing", "zip")
        words = "is a PyTorch file with its beginning and end"
        return ModelCheck(path, ok=True, words=words, size=size, format="zip")
    if len(first) > 1 and first[0] == 0x80 and 2 <= first[1] <= 5:
        words = "is an old PyTorch file; only its hash can tell if it is whole"
        return ModelCheck(path, ok=True, words=words, size=size, format="pickle")
    return bad("does not begin as a model file does")


def _zip_ends(file: BinaryIO, size: int) -> bool:
    file.seek(max(0, size - _TAIL))
    tail = file.read(_TAIL)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        return False
    length, offset = struct.unpack("<II", tail[at + 12 : at + 20])
    end = max(0, size - _TAIL) + at
    large = 0xFFFFFFFF in (length, offset)
    return large or offset + length <= end
