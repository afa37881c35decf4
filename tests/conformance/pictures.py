"""Small picture files."""

from __future__ import annotations

import io

from PIL import Image

from tests.conformance.graphs import color


def png(*, mode: str = "RGB", width: int = 16, height: int = 12) -> bytes:
    """Return a PNG file of one colour, another one every time."""
    value = color()
    channels = (value >> 16, value >> 8 & 255, value & 255, 128)
    picture = Image.new(mode, (width, height), channels[: len(mode)])
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def opened(content: bytes) -> Image.Image:
    """Return the picture in a file's bytes."""
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        return picture
