"""Small pictures of what jobs made: drawn when they are first asked for, and kept for a while.

A picture comes from a server that may have been told anything, so it is looked at before it is
decoded, and a few threads at most decode at once. What cannot be drawn is remembered, too.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

WIDTH = HEIGHT = 320
MAX_PIXELS = 64_000_000
"""Of a picture that is drawn small."""
MAX_BYTES = 128 * 2**20
"""Of a file that is looked at."""
KEPT_BYTES = 32 * 2**20
"""Of all thumbnails that are kept."""
AT_ONCE = 2
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


class Blobs(Protocol):
    """Where files lie, by what is in them."""

    def path(self, sha256: str) -> Path | None:
        """The file of that content; None if there is none."""
        ...


class Thumbnails:
    """Draws thumbnails and keeps the last ones. Safe for all threads."""

    def __init__(self, blobs: Blobs, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._blobs = blobs
        self._most = kept_bytes
        self._kept: OrderedDict[str, bytes | None] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(AT_ONCE)

    def get(self, sha256: str) -> bytes | None:
        """A WebP of at most `WIDTH` by `HEIGHT`; None if there is no such picture."""
        if not is_sha256(sha256):
            return None
        with self._lock:
            if sha256 in self._kept:
                self._kept.move_to_end(sha256)
                return self._kept[sha256]
        with self._turns:
            with self._lock:  # it may have been drawn while this one waited
                if sha256 in self._kept:
                    return self._kept[sha256]
            path = self._blobs.path(sha256)
            if path is None:
                return None  # it may come yet
            drawn = draw(path)
        with self._lock:
            self._keep(sha256, drawn)
        return drawn

    def _keep(self, sha256: str, drawn: bytes | None) -> None:
        self._kept[sha256] = drawn
        self._size += _weight(drawn)
        while self._size > self._most and self._kept:
            _, oldest = self._kept.popitem(last=False)
            self._size -= _weight(oldest)


def is_sha256(text: str) -> bool:
    """Whether it is 64 lower-case hexadecimal digits, and so can be the name of no other file."""
    return len(text) == 64 and all(each in "0123456789abcdef" for each in text)


def draw(path: Path) -> bytes | None:
    """A picture drawn small, as WebP; None if it is none, or too large."""
    from PIL import Image, ImageOps

    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        with Image.open(path, formats=_FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                return None
            picture.draft("RGB", (WIDTH, HEIGHT))  # lets a JPEG be decoded small
            picture.thumbnail((WIDTH, HEIGHT))
            upright = ImageOps.exif_transpose(picture)
            small = upright.convert("RGBA" if "A" in upright.getbands() else "RGB")
        out = io.BytesIO()
        small.save(out, "WEBP", quality=80, method=4)
    except Exception:  # noqa: BLE001 - Pillow raises whatever its decoders do on a bad file
        return None
    return out.getvalue()


def _weight(drawn: bytes | None) -> int:
    return 200 + len(drawn or b"")
