"""The header of a safetensors file, read and checked without loading a single tensor.

A file is eight bytes that say how long the header is, the header in JSON, and
the tensors one behind the other. A file that was cut off, or is a web page,
breaks one of the rules checked here, the same that ComfyUI's loader checks.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, BinaryIO, TypeGuard

MAX_HEADER_BYTES = 100_000_000
"""The format's own limit."""
MAX_SEPARATORS = 6_000_000
"""Commas and brackets in a header: what bounds the memory its parsed form takes. A model of ten
thousand tensors has 80,000."""
MAX_TENSORS = 500_000
MOST_DIMENSIONS = 32

DTYPE_BITS: Mapping[str, int] = MappingProxyType(
    {
        "BOOL": 8,
        "U8": 8,
        "I8": 8,
        "F8_E4M3": 8,
        "F8_E5M2": 8,
        "F8_E8M0": 8,
        "F4": 4,
        "F6_E2M3": 6,
        "F6_E3M2": 6,
        "I16": 16,
        "U16": 16,
        "F16": 16,
        "BF16": 16,
        "I32": 32,
        "U32": 32,
        "F32": 32,
        "I64": 64,
        "U64": 64,
        "F64": 64,
        "C64": 64,
    }
)


class HeaderError(ValueError):
    """The file is no whole safetensors file; the message says why, and fits after "it"."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says."""

    tensors: Mapping[str, tuple[str, tuple[int, ...]]]
    """dtype and shape by name."""
    metadata: Mapping[str, str]
    dtype: str | None
    """The one that most bytes are of; None without tensors."""


def read_header(file: BinaryIO, size: int) -> Header:
    """Read and check a file's header.

    Args:
        file: open for reading, at its beginning.
        size: of the whole file, in bytes.

    Raises:
        HeaderError: it is damaged, or no safetensors file.
    """
    first = file.read(8)
    if len(first) < 8:
        raise HeaderError(f"has {size:,} bytes, too few for a model")
    (length,) = struct.unpack("<Q", first)
    if length > MAX_HEADER_BYTES:
        raise HeaderError("does not begin as a safetensors file does")
    if length > size - 8:
        raise HeaderError(f"is cut off: {size:,} bytes do not even hold its header")
    raw = file.read(length)
    if len(raw) < length:
        raise HeaderError("changed while it was read")
    return _checked(_parsed(raw), size - 8 - length)


def _parsed(raw: bytes) -> dict[str, Any]:
    if sum(map(raw.count, (b",", b"{", b"[", b":"))) > MAX_SEPARATORS:
        raise HeaderError("has a header with more entries than any model")
    try:
        loaded = json.loads(raw.decode())
    except (ValueError, RecursionError):
        raise HeaderError("has a header that is damaged (not JSON)") from None
    if not isinstance(loaded, dict):
        raise HeaderError("has a header that is damaged (not a list of tensors)")
    if len(loaded) > MAX_TENSORS:
        raise HeaderError("has a header with more entries than any model")
    return loaded


def _checked(loaded: dict[str, Any], room: int) -> Header:
    metadata = loaded.pop("__metadata__", None)
    pieces: list[tuple[int, int]] = []
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    held: dict[str, int] = {}
    for name, given in loaded.items():
        dtype, shape, begin, end = _tensor(name, given)
        pieces.append((begin, end))
        tensors[name] = (dtype, shape)
        held[dtype] = held.get(dtype, 0) + end - begin
    at = 0
    for begin, end in sorted(pieces):
        if begin != at:
            raise HeaderError("has tensors that overlap or leave gaps")
        at = end
    if at > room:
        raise HeaderError(f"is cut off: {at - room:,} bytes of {at:,} are missing at its end")
    if at < room:
        raise HeaderError(f"has {room - at:,} bytes more than its header speaks of")
    if not tensors:
        raise HeaderError("holds no tensor")
    return Header(
        tensors,
        {k: v for k, v in metadata.items() if isinstance(v, str)}
        if isinstance(metadata, dict)
        else {},
        max(held, key=lambda each: held[each]),
    )


def _tensor(name: str, given: Any) -> tuple[str, tuple[int, ...], int, int]:
    broken = HeaderError(f"has a header that is damaged (at tensor {name[:80]!r})")
    if not isinstance(given, dict):
        raise broken
    dtype, shape, offsets = given.get("dtype"), given.get("shape"), given.get("data_offsets")
    if not isinstance(dtype, str) or not _are_numbers(shape) or not _are_numbers(offsets):
        raise broken
    if len(offsets) != 2 or offsets[0] > offsets[1] or len(shape) > MOST_DIMENSIONS:
        raise broken
    begin, end = offsets
    bits = DTYPE_BITS.get(dtype)
    # A kind of number that came after this was written may be of any size.
    if bits is not None and math.prod(shape) * bits != (end - begin) * 8:
        raise broken
    return dtype, tuple(shape), begin, end


def _are_numbers(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(
        type(each) is int and 0 <= each < 2**63 for each in value
    )
