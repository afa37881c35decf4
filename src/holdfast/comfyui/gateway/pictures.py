"""Small and partial views of pictures, and masks put into them, within bounds of memory.

What cannot be decoded, or would take too much memory decoded, is a `PictureError`.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 64_000_000
"""A larger picture is not decoded."""


class PictureError(Exception):
    """This is no picture that can be shown."""


def preview(path: Path, wish: str, channel: str, *, pixels: int = MAX_PIXELS) -> tuple[str, bytes]:
    """A lighter form of a picture: media type and content.

    Args:
        path: the picture.
        wish: ``webp;90`` or ``jpeg;75``: the format and the quality.
        channel: ``rgb``, ``rgba`` or ``a``, as in ComfyUI.
        pixels: how large it may be.

    Raises:
        PictureError: it cannot be made.
    """
    words = wish.split(";")
    kind = words[0] if words[0] in ("webp", "jpeg") and "a" not in channel else "webp"
    given = words[-1]
    quality = min(100, max(1, int(given))) if given.isdecimal() and len(given) < 5 else 90

    def write(picture: Image) -> bytes:
        plain = picture.convert("RGB") if kind == "jpeg" or channel == "rgb" else picture
        return _encoded(plain, kind, quality=quality)

    return f"image/{kind}", _with(path, write, pixels)


def one_channel(path: Path, channel: str, *, pixels: int = MAX_PIXELS) -> bytes:
    """A picture's colours (``rgb``) or its transparency (``a``), as PNG.

    Raises:
        PictureError: it cannot be made.
    """
    from PIL import Image  # noqa: PLC0415 - few requests need it

    def write(picture: Image.Image) -> bytes:
        if channel == "rgb":
            return _encoded(picture.convert("RGB"), "PNG")
        chosen = Image.new("RGBA", picture.size)
        has_alpha = picture.mode == "RGBA"
        chosen.putalpha(picture.getchannel("A") if has_alpha else Image.new("L", picture.size, 255))
        return _encoded(chosen, "PNG")

    return _with(path, write, pixels)


def masked(original: Path, mask: Path, *, pixels: int = MAX_PIXELS) -> bytes:
    """A picture with another's transparency as its own, as PNG, with the texts it carries.

    Raises:
        PictureError: one of them cannot be read, or they do not fit.
    """
    from PIL.PngImagePlugin import PngInfo  # noqa: PLC0415 - few requests need it

    def write(picture: Image) -> bytes:
        texts = PngInfo()
        for name, text in list(getattr(picture, "text", {}).items())[:50]:
            texts.add_text(name, text)
        changed = picture.convert("RGBA")

        def put(given: Image) -> bytes:
            changed.putalpha(given.convert("RGBA").getchannel("A"))
            return _encoded(changed, "PNG", compress_level=4, pnginfo=texts)

        return _with(mask, put, pixels)

    return _with(original, write, pixels)


def _encoded(picture: Image, kind: str, **options: Any) -> bytes:
    written = BytesIO()
    picture.save(written, format=kind, **options)
    return written.getvalue()


def _with(path: Path, make: Any, pixels: int) -> bytes:
    from PIL import Image  # noqa: PLC0415 - few requests need it

    try:
        with Image.open(path) as picture:
            width, height = picture.size
            if width * height > pixels:
                raise PictureError(f"it has {width} x {height} pixels, and at most {pixels} fit")
            made: bytes = make(picture)
            return made
    except FileNotFoundError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise PictureError(str(error)[:200] or type(error).__name__) from None
