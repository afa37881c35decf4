"""Uploaded files on their way in: bounded, hashed while they are written, kept by their content."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.types import Message

from holdfast.comfyui.gateway.exchange import BODY_SECONDS, refuse_oversized
from holdfast.comfyui.gateway.guard import Refusal, too_large
from holdfast.stores.blobs import BlobStore

MAX_FIELDS = 50
MAX_FIELD_BYTES = 2**20
SLOWEST = 50_000
"""Bytes a second that a client must send at least."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that is in the blob store."""

    sha256: str
    size: int


async def read_form(request: Request, limit: int) -> FormData:
    """The form of a request; large files of it lie on the disk.

    Raises:
        Refusal: it is none, too large, or does not come in time.
    """
    refuse_oversized(request, limit)
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise Refusal("invalid_form", "The body must be multipart/form-data")
    taken = 0
    receive = request.receive

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise too_large(limit)
        return message

    parser = MultiPartParser(
        request.headers,
        Request(request.scope, bounded).stream(),
        max_files=4,
        max_fields=MAX_FIELDS,
        max_part_size=MAX_FIELD_BYTES,
    )
    try:
        async with asyncio.timeout(BODY_SECONDS + limit / SLOWEST):
            return await parser.parse()
    except TimeoutError:
        raise Refusal("timeout", "The form did not come in time", status=408) from None
    except (MultiPartException, HTTPException, UnicodeError, ValueError, KeyError) as error:
        words = str(getattr(error, "message", error))[:200]
        raise Refusal("invalid_form", "The form cannot be read", words) from None


async def keep(blobs: BlobStore, upload: UploadFile) -> Kept:
    """Put an uploaded file into the store.

    Raises:
        OSError: it cannot be written.
    """
    await upload.seek(0)
    return Kept(*await asyncio.to_thread(blobs.put_from, upload.file))


def keep_bytes(blobs: BlobStore, content: bytes) -> Kept:
    """Put a content into the store."""
    return Kept(blobs.put(content), len(content))
