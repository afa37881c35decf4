"""Is a file what it claims to be, and is all of it there? Answered from its bytes alone.

Pictures are decoded, every frame of them; what is too large to decode is walked
to its end instead. Videos have their top-level boxes or elements walked. A
name's ending is believed only where the content gives no hint.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import IO

from PIL import Image, ImageFile

MAX_PIXELS = 80_000_000
"""A picture of more pixels is not decoded, only walked. Pillow itself refuses from about 179
million on, and ComfyUI's upscalers do make larger ones."""
MAX_FRAMES = 5_000
"""Frames of an animation that are decoded; the rest is only walked."""

_NOISE = 1
"""Values of one band that differ by so little are alike: lossy formats round."""
_BLACK = 2

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}$")
_FORMATS = {
    "PNG": (".png", "image/png"),
    "JPEG": (".jpg", "image/jpeg"),
    "WEBP": (".webp", "image/webp"),
    "GIF": (".gif", "image/gif"),
}
_KNOWN = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".mp4", ".webm", ".mkv"})
_MARKUP = frozenset({".html", ".htm", ".svg", ".xml"})
_TAIL = 65_536


class DamagedError(Exception):
    """The content is not whole, or not what the name says. The message continues 'it ...'."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a file turned out to be."""

    suffix: str
    media_type: str
    width: int | None = None
    height: int | None = None
    plain: str = ""
    """``black`` or ``of one colour`` if every pixel of a picture is alike; empty otherwise."""


def check(file: IO[bytes], size: int, name: str) -> Content:
    """Look at a file of ``size`` bytes that somebody calls ``name``.

    Raises:
        DamagedError: it is empty, cut off, or not what it is called.
    """
    if size == 0:
        raise DamagedError("it is empty")
    head = _read(file, 0, 64)
    form = _picture_format(head)
    if form is not None:
        return _picture(file, size, form)
    if head[4:8] == b"ftyp":
        if not boxes_complete(file, size):
            raise DamagedError("the video is cut off")
        return Content(".mp4", "video/mp4")
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        if not elements_complete(file, size):
            raise DamagedError("the video is cut off")
        return Content(".webm", "video/webm")
    found = _SUFFIX.search(name)
    suffix = found.group().lower() if found else ".bin"
    page = head.lstrip().lower().startswith((b"<!doctype html", b"<html"))
    if suffix in _KNOWN or (page and suffix not in _MARKUP):
        raise DamagedError(f"it is no {suffix[1:].upper()} at all")
    return Content(suffix, "application/octet-stream")


def _picture_format(head: bytes) -> str | None:
    if head.startswith(b"\x89PNG"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"GIF8"):
        return "GIF"
    return "WEBP" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


def _picture(file: IO[bytes], size: int, form: str) -> Content:
    if not _picture_ends(file, size, form):
        raise DamagedError("it cannot be decoded: the picture is cut off")
    width, height = _webp_size(_read(file, 0, 32)) if form == "WEBP" else (0, 0)
    if width * height > MAX_PIXELS:
        return Content(*_FORMATS[form], width, height)
    Image.init()
    factory, _accept = Image.OPEN[form]
    try:
        # Not Image.open, which refuses large pictures before anybody can look at their size.
        file.seek(0)
        with factory(file, "") as picture:
            plain = _decode(picture) if picture.width * picture.height <= MAX_PIXELS else ""
            return Content(*_FORMATS[form], picture.width, picture.height, plain)
    except Exception as error:  # noqa: BLE001 - a damaged picture raises anything at all
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DamagedError(f"it cannot be decoded: {reason}") from None


def _decode(picture: ImageFile.ImageFile) -> str:
    """Decode every frame; what is the same all over, in words."""
    colours: set[tuple[int, ...] | None] = set()
    for frame in range(min(getattr(picture, "n_frames", 1), MAX_FRAMES)):
        picture.seek(frame)
        picture.load()
        if None not in colours:
            colours.add(_only_colour(picture))
    if len(colours) != 1:
        return ""
    (colour,) = colours
    if colour is None:
        return ""
    return "black" if max(colour) <= _BLACK else "of one colour"


def _only_colour(picture: Image.Image) -> tuple[int, ...] | None:
    if picture.width * picture.height <= 1:
        return None
    # Through RGB: a palette's indexes say nothing of colours, and transparency is none.
    extrema = picture.convert("RGB").getextrema()
    bands = [each for each in extrema if isinstance(each, tuple)]
    if any(highest - lowest > _NOISE for lowest, highest in bands):
        return None
    return tuple(int(highest) for _lowest, highest in bands)


def _webp_size(head: bytes) -> tuple[int, int]:
    """Width and height from a WebP's first bytes: Pillow opens none that is too large."""
    kind = head[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(head[24:27], "little")
        return width + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
    return width & 0x3FFF, height & 0x3FFF


def _picture_ends(file: IO[bytes], size: int, form: str) -> bool:
    """Whether the format's own end is there; decoders forgive its absence."""
    if form == "WEBP":
        return int.from_bytes(_read(file, 4, 4), "little") + 8 <= size
    tail = _read(file, max(0, size - _TAIL), _TAIL)
    if form == "GIF":
        return tail.rstrip(b"\0").endswith(b"\x3b")
    return (b"IEND" if form == "PNG" else b"\xff\xd9") in tail


def boxes_complete(file: IO[bytes], size: int) -> bool:
    """Whether an MP4's top-level boxes fill the file exactly, with index and media among them."""
    at, kinds = 0, set()
    while at + 8 <= size:
        head = _read(file, at, 16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:
            length = size - at
        if length < 8:
            return False
        kinds.add(kind)
        at += length
    return at == size and kinds >= {b"moov", b"mdat"}


def elements_complete(file: IO[bytes], size: int) -> bool:
    """Whether the top-level elements of a WebM (EBML) end within the file.

    A size of all ones means 'unknown', as live encoders write it; then there is nothing to check.
    """
    at = 0
    while at < size:
        head = _read(file, at, 16)
        id_length = _width(head[0], 4)
        length = _width(head[id_length], 8) if id_length and len(head) > id_length else 0
        if not id_length or not length or len(head) < id_length + length:
            return False
        bits = int.from_bytes(head[id_length : id_length + length], "big")
        value = bits & ((1 << 7 * length) - 1)
        if value == (1 << 7 * length) - 1:
            return True
        at += id_length + length + value
    return at == size


def _width(first: int, most: int) -> int:
    """How many bytes an EBML number takes, from the leading zero bits of its first; 0 if none."""
    width = 9 - first.bit_length()
    return width if width <= most else 0


def _read(file: IO[bytes], at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)
