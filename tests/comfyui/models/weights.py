"""Small model files for tests."""

from __future__ import annotations

import json
import struct


def safetensors(
    names=("model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.x"),
    *,
    numbers=8,
    dtype="F16",
    fill=7,
):
    """A whole file with ``numbers`` 16-bit numbers for each name."""
    length = numbers * 2
    header = {
        name: {
            "dtype": dtype,
            "shape": [numbers],
            "data_offsets": [at * length, (at + 1) * length],
        }
        for at, name in enumerate(names)
    }
    return packed(header, bytes([fill]) * (length * len(names)))


def packed(header, data=b""):
    """A file with this header, whatever it says."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def large(size=3_000_000, fill=1):
    """A whole file of about so many bytes."""
    return safetensors(("head.modulation",), numbers=size // 2, fill=fill)
