"""`/view` and `/upload`: files by the names ComfyUI's clients use, kept by their content.

What a job made and what a user sent is found here, whichever servers live. Only
what the gateway has never seen is asked of the servers: what their own input
folders hold and, where there are no users to keep apart, what else they made.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from holdfast.comfyui.gateway.desk import Desk
from holdfast.comfyui.gateway.exchange import Caller, Handler, allowed, answer
from holdfast.comfyui.gateway.guard import Refusal
from holdfast.comfyui.gateway.incoming import Kept, keep, keep_bytes, read_form
from holdfast.comfyui.gateway.passage import Passage
from holdfast.comfyui.gateway.pictures import PictureError, masked, one_channel, preview
from holdfast.comfyui.gateway.references import FOLDERS, Named, is_name, is_ours, safe_parts
from holdfast.comfyui.gateway.safe_types import headers_for

PICTURES_AT_ONCE = 2
"""Pictures decoded at a time: each may take a few hundred megabytes."""
MOST_COPIES = 1_000
"""Files of one name that differ: ``up (1).png``, ``up (2).png``, ..."""

Making = Callable[[UploadFile], Awaitable[Kept]]


class FileRoutes:
    """Shows files, and takes them in."""

    def __init__(self, desk: Desk, passage: Passage) -> None:
        self._desk = desk
        self._passage = passage
        self._decoding = asyncio.Semaphore(PICTURES_AT_ONCE)
        self._naming = asyncio.Lock()

    def listed(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        return [
            ("GET", "/view", self.view),
            ("POST", "/upload/image", self.upload_image),
            ("POST", "/upload/mask", self.upload_mask),
        ]

    # Showing ----------------------------------------------------------------------------

    async def view(self, request: Request) -> Response:
        """Show a file, as it is or as a lighter picture."""
        caller = allowed(request, "view")
        query = request.query_params
        if "filename" not in query:
            return Response(status_code=404)
        file = asked_for(query["filename"], query.get("subfolder", ""), query.get("type"))
        found = await self._desk.ask(self._find, caller.user, file)
        if found is None:
            return await self._elsewhere(request, caller, file)
        path, digest = found
        if "preview" in query or query.get("channel") in ("rgb", "a"):
            return await self._picture(request, path, file.filename)
        etag = f'"{digest}"'
        headers = {**headers_for(file.filename), "etag": etag, "cache-control": "private, no-cache"}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers={"etag": etag})
        return FileResponse(path, headers=headers, media_type=headers["content-type"])

    async def _picture(self, request: Request, path: Path, name: str) -> Response:
        query = request.query_params
        channel = query.get("channel", "")
        pixels = self._desk.limits.preview_pixels
        try:
            async with self._decoding:
                if "preview" in query:
                    kind, body = await asyncio.to_thread(
                        preview, path, query["preview"], channel, pixels=pixels
                    )
                else:
                    kind = "image/png"
                    body = await asyncio.to_thread(one_channel, path, channel, pixels=pixels)
        except PictureError as error:
            raise Refusal("no_picture", "This file cannot be shown so", str(error)) from None
        except FileNotFoundError:
            return Response(status_code=404)
        headers = headers_for(name) | {"content-type": kind}
        return Response(body, headers=headers)

    def _find(self, user: str, file: Named) -> tuple[Path, str] | None:
        store, digest = self._desk.store, None
        if file.type != "input":
            made = store.find_file(file.filename, file.subfolder, file.type, user)
            digest = None if made is None else made.sha256
        if digest is None:
            sent = store.find_upload(user, file.filename, file.subfolder, file.type)
            digest = None if sent is None else sent.sha256
        path = None if digest is None else self._desk.blobs.path(digest)
        return None if path is None or digest is None else (path, digest)

    async def _elsewhere(self, request: Request, caller: Caller, file: Named) -> Response:
        if not _may_be_asked_for(file, caller.user):
            return Response(status_code=404)
        kept = {"preview", "channel"}
        query = {name: value for name, value in request.query_params.items() if name in kept}
        query |= {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        return await self._passage.first_found(request, "/view", query, headers_for(file.filename))

    # Taking in --------------------------------------------------------------------------

    async def upload_image(self, request: Request) -> Response:
        """Keep a file; the same bytes under the same name are kept once."""
        caller = allowed(request, "run")

        async def as_it_is(upload: UploadFile) -> Kept:
            return await keep(self._desk.blobs, upload)

        return await self._take(request, caller, lambda _form: as_it_is)

    async def upload_mask(self, request: Request) -> Response:
        """Keep a picture that was there before, with another's transparency as its own."""
        caller = allowed(request, "run")

        def making(form: Any) -> Making:
            file = _original(form.get("original_ref"))

            async def combined(upload: UploadFile) -> Kept:
                return await self._masked(caller, file, upload)

            return combined

        return await self._take(request, caller, making)

    async def _take(
        self, request: Request, caller: Caller, making: Callable[[Any], Making]
    ) -> Response:
        form = await read_form(request, self._desk.limits.upload_bytes)
        try:
            upload = form.get("image")
            if not isinstance(upload, UploadFile) or not upload.filename:
                return Response(status_code=400)
            file = asked_for(
                upload.filename, _text(form.get("subfolder")), form.get("type"), "input"
            )
            kept = await making(form)(upload)
            overwrite = _text(form.get("overwrite")).lower() in ("true", "1")
        finally:
            await form.close()
        async with self._naming:
            file = await self._named(caller.user, file, kept, overwrite=overwrite)
        told = {"name": file.filename, "subfolder": file.subfolder, "type": file.type}
        return answer(told)

    async def _named(self, user: str, file: Named, kept: Kept, *, overwrite: bool) -> Named:
        """Enter a file under its name, or under the next one that is free."""
        store = self._desk.store
        stem, suffix = _split(file.filename)
        name = file.filename
        for number in range(1, MOST_COPIES):
            there = await self._desk.ask(store.find_upload, user, name, file.subfolder, file.type)
            if there is None or overwrite or there.sha256 == kept.sha256:
                await self._desk.written(
                    store.put_upload(user, file.type, file.subfolder, name, kept.sha256, kept.size)
                )
                return Named(name, file.subfolder, file.type)
            name = f"{stem} ({number}){suffix}"
        raise Refusal("name_taken", "Too many files have this name", "Take another one")

    async def _masked(self, caller: Caller, file: Named, upload: UploadFile) -> Kept:
        mask = await keep(self._desk.blobs, upload)
        found = await self._desk.ask(self._find, caller.user, file)
        if found is None and _may_be_asked_for(file, caller.user):
            content = await self._passage.fetch_file(file, self._desk.limits.upload_bytes)
            if content is not None:
                kept = await self._desk.ask(keep_bytes, self._desk.blobs, content)
                path = self._desk.blobs.path(kept.sha256)
                found = None if path is None else (path, kept.sha256)
        mask_path = self._desk.blobs.path(mask.sha256)
        if found is None or mask_path is None:
            raise Refusal("no_picture", "The original of this mask is not here", status=400)
        try:
            async with self._decoding:
                made = await asyncio.to_thread(
                    masked, found[0], mask_path, pixels=self._desk.limits.preview_pixels
                )
        except PictureError as error:
            raise Refusal("no_picture", "The mask cannot be put in", str(error)) from None
        return await self._desk.ask(keep_bytes, self._desk.blobs, made)


def _may_be_asked_for(file: Named, user: str) -> bool:
    """Whether a file that is not here may be fetched from the servers.

    What other users made and sent lies there as well, under names that can be guessed.
    """
    return not is_ours(file.filename) and (file.type == "input" or not user)


def asked_for(filename: str, subfolder: str, given_type: object, default: str = "output") -> Named:
    """The file that is meant, by ComfyUI's rules.

    Raises:
        Refusal: no file can be called so, or it would lie outside its folder.
    """
    type_ = default if given_type in (None, "") else given_type
    for each in FOLDERS:
        if filename.endswith(f"[{each}]"):
            filename, type_ = filename[: -len(each) - 2].rstrip(" "), each
            break
    if type_ not in FOLDERS or not isinstance(type_, str):
        raise Refusal("invalid_type", f"type must be one of {', '.join(FOLDERS)}")
    if filename.startswith("/") or ".." in filename:
        raise Refusal("invalid_filename", "This is no name of a file")
    inner = safe_parts(filename)
    if not inner or not is_name(inner[-1]):
        raise Refusal("invalid_filename", "This is no name of a file")
    outer = safe_parts(subfolder)
    if outer is None:
        raise Refusal("invalid_subfolder", "The subfolder leads out of its folder", status=403)
    folder = "/".join([*outer, *inner[:-1]])
    if len(folder) > 400:
        raise Refusal("invalid_subfolder", "The subfolder's name is too long")
    return Named(inner[-1], folder, type_)


def _original(given: object) -> Named:
    try:
        said = json.loads(_text(given))
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise Refusal("invalid_form", "original_ref must be a JSON object")
    return asked_for(_text(said.get("filename")), _text(said.get("subfolder")), said.get("type"))


def _text(given: object) -> str:
    return given if isinstance(given, str) else ""


def _split(name: str) -> tuple[str, str]:
    path = PurePosixPath(name)
    return path.stem, path.suffix
