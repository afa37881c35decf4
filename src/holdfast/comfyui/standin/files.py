"""The endpoints about files: upload pictures, look at pictures.

The same refusals as the real server's, by the same tests of a path: 400 for a
name that climbs, 403 for a folder outside, 404 for what is not there.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
from collections.abc import Awaitable, Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from aiohttp import web

from holdfast.comfyui.standin.disk import Disk

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SPEED = "holdfast.bytes_per_second"
"""Key of a request whose answer must be slow; such an answer cannot be sent as a file."""

DOWNLOAD_ONLY = frozenset(
    {"text/html", "text/html-sandboxed", "application/xhtml+xml", "text/javascript", "text/css"}
)


class FileRoutes:
    """Uploads and views."""

    def __init__(self, disk: Disk) -> None:
        folders = disk.folders
        self._places = {
            "input": str(folders.input),
            "output": str(folders.output),
            "temp": str(folders.temp),
        }

    def listed(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        return [
            ("POST", "/upload/image", self.upload_image),
            ("POST", "/upload/mask", self.upload_mask),
            ("GET", "/view", self.view),
        ]

    async def upload_image(self, request: web.Request) -> web.Response:
        """Keep a picture; the same bytes under the same name are kept once."""
        return self._keep(await request.post(), lambda _post, data: data)

    async def upload_mask(self, request: web.Request) -> web.Response:
        """Keep a picture that was uploaded before, with another's transparency as its own."""
        return self._keep(await request.post(), self._masked)

    def _keep(self, post: Any, make: Callable[[Any, bytes], bytes]) -> web.Response:
        kind = post.get("type")
        kind = "input" if kind is None else kind
        place = self._places[kind]  # an unknown type is a 500 on the real server too
        image = post.get("image")
        if not isinstance(image, web.FileField) or not image.filename:
            return web.Response(status=400)
        name, subfolder = image.filename, post.get("subfolder", "")
        folder = Path(place, os.path.normpath(subfolder))
        path = _absolute(folder / name)
        if os.path.commonpath((place, path)) != place:
            return web.Response(status=400)
        folder.mkdir(parents=True, exist_ok=True)
        data = image.file.read()
        if post.get("overwrite") not in {"true", "1"}:
            stem, suffix = str(Path(name).with_suffix("")), Path(name).suffix
            number = 1
            while path.exists() and not _same(path, data):
                name = f"{stem} ({number}){suffix}"
                path = folder / name
                number += 1
        if not (path.exists() and _same(path, data)):
            path.write_bytes(make(post, data))
        return web.json_response({"name": name, "subfolder": subfolder, "type": kind})

    def _masked(self, post: Any, data: bytes) -> bytes:
        from PIL import Image  # noqa: PLC0415 - few servers are ever sent a mask

        reference = json.loads(post["original_ref"])
        place = self._places[reference.get("type", "output")]
        path = Path(place, reference.get("subfolder", ""), Path(reference["filename"]).name)
        with Image.open(path) as original, Image.open(BytesIO(data)) as mask:
            picture = original.convert("RGBA")
            picture.putalpha(mask.convert("RGBA").getchannel("A"))
        encoded = BytesIO()
        picture.save(encoded, format="PNG", compress_level=4)
        return encoded.getvalue()

    async def view(self, request: web.Request) -> web.StreamResponse:
        """Show a file, as it is or as a small preview."""
        query = request.rel_url.query
        path = self._find(query)
        if isinstance(path, int):
            return web.Response(status=path)
        headers = {"Content-Disposition": f'filename="{path.name}"'}
        if "preview" in query:
            kind, body = _small(path, query["preview"], query.get("channel", ""))
            return web.Response(body=body, content_type=kind, headers=headers)
        if query.get("channel") in {"rgb", "a"}:
            body = _channel(path, query["channel"])
            return web.Response(body=body, content_type="image/png", headers=headers)
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        headers["Content-Type"] = "application/octet-stream" if kind in DOWNLOAD_ONLY else kind
        if request.get(SPEED) is not None:
            return web.Response(body=_bytes(path), headers=headers)
        return web.FileResponse(path, headers=headers)

    def _find(self, query: Mapping[str, str]) -> Path | int:
        """Return the file that is asked for, or the status of the refusal."""
        if "filename" not in query:
            return 404
        name, place = self._annotated(query["filename"])
        if not name or name[0] == "/" or ".." in name:
            return 400
        if place is None:
            place = self._places.get(query.get("type", "output"))
        if place is None:
            return 400
        folder = Path(place, query.get("subfolder", ""))
        if os.path.commonpath((_absolute(folder), place)) != place:
            return 403
        path = folder / Path(name).name
        return path if path.is_file() else 404

    def _annotated(self, name: str) -> tuple[str, str | None]:
        """Split ``picture.png [input]`` into the name and the place."""
        for kind, place in self._places.items():
            if name.endswith(f"[{kind}]"):
                return name[: -len(kind) - 3], place
        return name, None


def _bytes(path: Path) -> bytes:
    return path.read_bytes()


def _absolute(path: Path) -> Path:
    # As text, without following links, because the real server judges paths so.
    return Path(os.path.abspath(path))  # noqa: PTH100


def _same(path: Path, data: bytes) -> bool:
    there = hashlib.sha256(path.read_bytes())
    return there.digest() == hashlib.sha256(data).digest()


def _small(path: Path, wish: str, channel: str) -> tuple[str, bytes]:
    from PIL import Image  # noqa: PLC0415 - only a server asked for previews pays for it

    words = wish.split(";")
    kind = words[0] if words[0] in {"webp", "jpeg"} and "a" not in channel else "webp"
    quality = int(words[-1]) if words[-1].isdigit() else 90
    encoded = BytesIO()
    with Image.open(path) as picture:
        plain = picture.convert("RGB") if kind == "jpeg" or channel == "rgb" else picture
        plain.save(encoded, format=kind, quality=quality)
    return f"image/{kind}", encoded.getvalue()


def _channel(path: Path, channel: str) -> bytes:
    from PIL import Image  # noqa: PLC0415 - only a server asked for channels pays for it

    encoded = BytesIO()
    with Image.open(path) as picture:
        if channel == "rgb":
            chosen = picture.convert("RGB")
        else:
            chosen = Image.new("RGBA", picture.size)
            has_alpha = picture.mode == "RGBA"
            chosen.putalpha(
                picture.getchannel("A") if has_alpha else Image.new("L", picture.size, 255)
            )
    chosen.save(encoded, format="PNG")
    return encoded.getvalue()
