"""A picture to start from, however it is given: a file, bytes, or a Pillow image."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from holdfast.errors import BadInputError

if TYPE_CHECKING:
    from PIL.Image import Image

Picture = Union[str, Path, bytes, "Image"]

MOST_BYTES = 256 * 2**20
MOST_PIXELS = 2**28
_ORIENTATION = 0x0112
_TURNED = frozenset({5, 6, 7, 8})
"""Orientations in which width and height change places, as they do when a server reads them."""


_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
"""What goes into a PNG as it is."""


@dataclass(frozen=True, slots=True)
class Start:
    """A picture that lies on this machine as a file."""

    path: Path
    size: tuple[int, int]
    """Width and height in pixels, as a server will see them."""


@contextlib.contextmanager
def at_hand(given: Any) -> Iterator[Start]:
    """The picture as a file while the context lasts.

    Raises:
        BadInputError: there is no such file, or it is no picture.
    """
    from PIL import Image  # noqa: PLC0415 - only a picture given needs it

    if isinstance(given, str | Path):
        path = Path(given)
        if not path.is_file():
            raise BadInputError(f"image: there is no file {str(path)!r}")
        yield Start(path, _size(path.stat().st_size, path))
        return
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        path = Path(folder) / "picture.png"
        if isinstance(given, bytes | bytearray):
            _size(len(given), io.BytesIO(given))
            path.write_bytes(given)
        elif isinstance(given, Image.Image):
            plain = given if given.mode in _MODES else given.convert("RGB")
            plain.save(path, "PNG")
        else:
            what = type(given).__name__
            raise BadInputError(f"image must be a path, bytes or a Pillow image, got {what}")
        yield Start(path, _size(path.stat().st_size, path))


def _size(count: int, source: Path | io.BytesIO) -> tuple[int, int]:
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - as above

    if count > MOST_BYTES:
        raise BadInputError(f"image has {count:,} bytes; at most {MOST_BYTES:,} are taken")
    try:
        with Image.open(source) as opened:
            width, height = opened.size
            turned = opened.getexif().get(_ORIENTATION) in _TURNED
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise BadInputError(f"image cannot be read as a picture: {error}") from None
    except Image.DecompressionBombError:
        raise BadInputError("image has far too many pixels") from None
    if width * height > MOST_PIXELS:
        raise BadInputError(f"image has {width} x {height} pixels; at most {MOST_PIXELS:,} in all")
    return (height, width) if turned else (width, height)
