"""Which files a browser may show, and which it only may save. Pure.

Files come from workflows, and workflows from anybody: a page or a drawing with
a script in it would run as if the gateway had sent it. So what is not known to
be harmless is never shown, only saved.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from pathlib import PurePosixPath
from urllib.parse import quote

_SHOWN: Mapping[str, str] = {
    ".png": "image/png",
    ".apng": "image/apng",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
    ".avif": "image/avif",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".webm": "video/webm",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".opus": "audio/opus",
    ".m4a": "audio/mp4",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json",
    ".obj": "model/obj",
    ".stl": "model/stl",
}

GUARD: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "img-src 'self' data:; media-src 'self'",
}
"""Goes with every file: whatever it is, it may run nothing."""


def headers_for(filename: str) -> dict[str, str]:
    """Media type and disposition of a file that is called so."""
    kind = _SHOWN.get(PurePosixPath(filename).suffix.lower())
    words = "" if kind else "attachment; "
    return {
        **GUARD,
        "content-type": kind or "application/octet-stream",
        "content-disposition": f"{words}{_named(filename)}",
    }


def is_active(media_type: str, path: str) -> bool:
    """Whether a browser might run something that is served so."""
    words = media_type.partition(";")[0].strip().lower()
    guess = mimetypes.guess_type(path)[0] or ""
    return any(part in each for part in _ACTIVE for each in (words, guess))


_ACTIVE = ("html", "svg", "xml", "javascript", "ecmascript", "css", "xsl", "mathml")


def _named(filename: str) -> str:
    plain = "".join(
        each if 32 <= ord(each) < 127 and each not in '"\\' else "_" for each in filename
    )
    if plain == filename:
        return f'filename="{plain}"'
    encoded = quote(filename.encode("utf-8", "replace"), safe="")
    return f"filename=\"{plain}\"; filename*=UTF-8''{encoded}"
