"""One attempt at fetching a file: where the last one stopped, if that can be trusted.

What has come is a `.part` beside the place, with a note of what it is a part
of. It is continued only if the server proves that the file is still the same
(`If-Range` with the validator of the first attempt) or its hash is known and
will be checked. A server that ignores the range, or has another file by now,
starts it anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import aiohttp

from holdfast.comfyui.failures import clip
from holdfast.comfyui.models.check import impostor
from holdfast.comfyui.models.errors import (
    DownloadBrokenError,
    DownloadRefusedError,
    ModelDamagedError,
)
from holdfast.comfyui.models.gate import Gate
from holdfast.comfyui.models.places import (
    Place,
    discard_part,
    disk_trouble,
    open_part,
    require_space,
)
from holdfast.comfyui.models.progress import Listener, Progress, tell
from holdfast.comfyui.models.sources import shown_url
from holdfast.policies import retry_after
from holdfast.ports import ambient

MOST_REDIRECTS = 8
BLOCK_BYTES = 2**20
SPACE_EVERY = 64 * 2**20
"""Bytes after which the room on the disk is looked at again."""
TELL_SECONDS = 0.25
"""Between two reports of progress, at least."""
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_WHOLE = re.compile(r"bytes \*/(\d{1,18})")
_HEX64 = re.compile(r'"?([0-9a-f]{64})"?')
_SOON = frozenset({408, 425, 429, 500, 502, 503, 504, 509, 520, 521, 522, 523, 524, 529})
"""Answers after which trying again makes sense."""


@dataclass(slots=True)
class Order:
    """What to fetch, what is known of it, and what was learned on the way."""

    url: str
    place: Place
    limit: int
    """Bytes at most."""
    size: int | None = None
    """Bytes, if somebody has declared it."""
    sha256: str | None = None
    """In hex, if somebody has declared it or the hub has said so on the way."""
    attempt: int = 0
    """Connections made."""
    pieces: int = 0
    """Of how many answers the file was put together since it was last begun."""
    total: int | None = None
    """Bytes, as the server said last."""


@dataclass(frozen=True, slots=True)
class _Answer:
    response: aiohttp.ClientResponse
    linked: str | None
    """The hash that a hub gives while it sends us on."""


async def transfer(
    session: aiohttp.ClientSession, gate: Gate, order: Order, listener: Listener | None = None
) -> None:
    """Fetch what is still missing of a file. Returns when all of it is in the part file.

    Raises:
        DownloadBrokenError: it broke off; what has come is kept.
        DownloadError: it must not, or cannot, be fetched from there.
        ModelDamagedError: what comes is no model.
    """
    order.attempt += 1
    have, validator = _had(order)
    headers = {}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    try:
        answer = await _ask(session, gate, order.url, headers)
        async with answer.response as response:
            order.sha256 = order.sha256 or answer.linked
            await _receive(order, response, have, listener)
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise _broken(order, error) from None


async def _ask(
    session: aiohttp.ClientSession, gate: Gate, url: str, headers: Mapping[str, str]
) -> _Answer:
    linked: str | None = None
    for _ in range(MOST_REDIRECTS + 1):
        gate.check(url)
        response = await session.get(
            url, headers={**headers, **gate.headers(url)}, allow_redirects=False
        )
        if response.status not in (301, 302, 303, 307, 308):
            return _Answer(response, linked)
        found = _HEX64.fullmatch(response.headers.get("x-linked-etag", ""))
        linked = found[1] if found else linked
        target = response.headers.get("Location", "")
        response.close()
        if not target:
            raise DownloadRefusedError(f"{shown_url(url)} sends us on without saying where")
        try:
            url = urljoin(url, target)
        except ValueError:
            raise DownloadRefusedError(f"{shown_url(url)} sends us nowhere") from None
    raise DownloadRefusedError(f"{shown_url(url)}: more than {MOST_REDIRECTS} redirects")


async def _receive(
    order: Order, response: aiohttp.ClientResponse, have: int, listener: Listener | None
) -> None:
    where = shown_url(order.url)
    if response.status == 416 and have:
        # Either all of it is here already, or it is a part of something else.
        found = _WHOLE.fullmatch(response.headers.get("Content-Range", ""))
        if found is not None and have == int(found[1]):
            order.total = have
            return
        discard_part(order.place)
        raise DownloadBrokenError(f"{where} has another file by now; it is begun anew")
    _check_status(response, where)
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise DownloadRefusedError(f"{where} sends the file packed ({clip(encoding, 40)})")
    begin, total = _extent(order, response, have)
    if total is not None and order.size is not None and total != order.size:
        raise ModelDamagedError(f"{where} has {total:,} bytes where {order.size:,} were expected")
    if (total or 0) > order.limit:
        raise _too_large(where, order.limit)
    if total is not None:
        require_space(order.place, total - begin)
    words = f"goes on after {begin:,} bytes" if begin else ""
    if have and not begin:
        words = "begins anew: the server has another file, or cannot go on in the middle"
    # What an earlier process left is a piece, too.
    order.pieces = max(order.pieces, 1) + 1 if begin else 1
    order.total = total
    _remember(order, response)
    stream = _Stream(order, listener, begin, words)
    await stream.take(response)
    if total is not None and stream.received < total:
        raise DownloadBrokenError(f"{where} broke off after {stream.received:,} of {total:,} bytes")


def _check_status(response: aiohttp.ClientResponse, where: str) -> None:
    status = response.status
    if status in (200, 206):
        return
    if status in _SOON:
        asked = retry_after.read(response.headers.get("Retry-After"), ambient.wall())
        raise DownloadBrokenError(f"{where} answered HTTP {status}", retry_after=asked)
    hint = {
        401: " (it wants a login: give tokens={host: token})",
        403: " (it wants a login, or terms to be accepted on its page)",
        404: " (there is no such file)",
        410: " (it is there no more)",
    }
    raise DownloadRefusedError(f"{where} answered HTTP {status}{hint.get(status, '')}")


def _extent(order: Order, response: aiohttp.ClientResponse, have: int) -> tuple[int, int | None]:
    """At which byte the answer begins, and how many the whole file has."""
    length = response.content_length
    if response.status == 200:
        return 0, length
    found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    wrong = found is None or int(found[1]) != have
    etag, known = response.headers.get("ETag"), _note(order.place).get("etag")
    if wrong or (known is not None and etag is not None and etag != known):
        discard_part(order.place)
        raise DownloadBrokenError(
            f"{shown_url(order.url)} went on with something else than was asked for; begun anew"
        )
    assert found is not None  # noqa: S101 - `wrong` has seen to it
    whole = None if found[3] == "*" else int(found[3])
    return have, whole


def _too_large(where: str, limit: int) -> DownloadRefusedError:
    return DownloadRefusedError(f"{where} is larger than the {limit:,} bytes allowed for it")


class _Stream:
    """What comes, on its way to the disk."""

    def __init__(self, order: Order, listener: Listener | None, begin: int, words: str) -> None:
        self.order, self.listener, self.words = order, listener, words
        self.received = begin
        self._block = bytearray()
        self._told = -TELL_SECONDS

    async def take(self, response: aiohttp.ClientResponse) -> None:
        place, limit = self.order.place, self.order.limit
        fresh = self.received == 0
        with disk_trouble(place):
            handle = await asyncio.to_thread(open_part, place, keep=not fresh)
        try:
            self._tell(now=True)
            async for chunk in response.content.iter_any():
                if fresh:
                    self._look_at(chunk)
                    fresh = False
                if self.received + len(self._block) + len(chunk) > limit:
                    raise _too_large(shown_url(self.order.url), limit)
                self._block += chunk
                if len(self._block) >= BLOCK_BYTES:
                    await self._write(handle)
        finally:
            # What has come is kept, however this ends.
            try:
                await self._write(handle)
            finally:
                os.close(handle)
        self._tell(now=True)

    async def _write(self, handle: int) -> None:
        block, self._block = bytes(self._block), bytearray()
        if not block:
            return
        with disk_trouble(self.order.place):
            await _to_the_end(_write_all, handle, block)
        before, self.received = self.received, self.received + len(block)
        if self.received // SPACE_EVERY != before // SPACE_EVERY:
            total = self.order.total
            require_space(self.order.place, 0 if total is None else total - self.received)
        self._tell()

    def _look_at(self, first: bytes) -> None:
        wrong = impostor(first[:512])
        if wrong is not None:
            where = shown_url(self.order.url)
            raise ModelDamagedError(f"what {where} sends {wrong[1]}")

    def _tell(self, *, now: bool = False) -> None:
        moment = ambient.now()
        if now or moment - self._told >= TELL_SECONDS:
            self._told = moment
            order = self.order
            shown = order.place.shown
            told = Progress(shown, self.received, order.total, order.attempt, self.words)
            tell(self.listener, told)


async def _to_the_end(work: Callable[[int, bytes], None], handle: int, block: bytes) -> None:
    """Run in a thread, and never leave it behind: its file would be closed under it."""
    task = asyncio.ensure_future(asyncio.to_thread(work, handle, block))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        raise


def _write_all(handle: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(handle, view) :]


def _broken(order: Order, error: BaseException) -> DownloadBrokenError | DownloadRefusedError:
    where = shown_url(order.url)
    if isinstance(error, TimeoutError):
        return DownloadBrokenError(f"{where} sent nothing for too long")
    if isinstance(error, aiohttp.InvalidURL):
        return DownloadRefusedError(f"{where} is no usable address")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return DownloadRefusedError(f"{where} cannot prove who it is (its certificate)")
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = clip(str(error.os_error.strerror or error.os_error), 200)
        return DownloadBrokenError(f"{where} cannot be reached: {reason}")
    return DownloadBrokenError(f"{where} broke off the connection")


# What was learned is kept beside the part ------------------------------------------------


def _had(order: Order) -> tuple[int, str | None]:
    """How many bytes can be gone on from, and by what the server knows the file again."""
    note, part = _note(order.place), order.place.part
    validator = note.get("etag") or note.get("last_modified")
    # Another address may have another file under the same name.
    if note.get("of") != _key(order.url) or (validator is None and order.sha256 is None):
        return 0, None
    try:
        have = 0 if part.is_symlink() else part.stat().st_size
    except OSError:
        have = 0
    return have, validator if isinstance(validator, str) else None


def _key(url: str) -> str:
    # Not the address itself: it may hold a token.
    return hashlib.sha256(url.encode(errors="replace")).hexdigest()


def _note(place: Place) -> dict[str, Any]:
    try:
        with place.note.open("rb") as file:
            loaded = json.loads(file.read(65_536))
    except (OSError, ValueError, RecursionError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _remember(order: Order, response: aiohttp.ClientResponse) -> None:
    etag = response.headers.get("ETag")
    # A weak one says that the file means the same, not that its bytes are the same.
    strong = etag if etag and not etag.startswith("W/") else None
    dated = None if strong else response.headers.get("Last-Modified")
    note = {"of": _key(order.url), "etag": strong, "last_modified": dated}
    with disk_trouble(order.place):
        order.place.note.unlink(missing_ok=True)
        order.place.note.write_text(json.dumps(note), encoding="utf-8")
