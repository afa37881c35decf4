"""Bringing files home: fetched whole, checked, and written where they belong and nowhere else.

Laws:

- A file name of ours is made from the job's name, the node and a counter. What
  the server calls a file decides nothing but, at most, its extension.
- A file appears under its final name complete or not at all: it is written as
  `.part`, forced to disk, checked, and then linked to a name that was free.
  Nothing that exists is ever overwritten.
- A file counts as delivered only after its content was looked at: pictures are
  decoded, videos have their boxes walked, and every byte announced is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from holdfast.comfyui import content
from holdfast.comfyui.failures import Failure, FailureKind, clip
from holdfast.comfyui.replies import FileRef
from holdfast.comfyui.result import OutputFile
from holdfast.comfyui.server import AnswerError, Server
from holdfast.errors import BadInputError, ErrorCategory
from holdfast.stores.to_disk import give_name, sync_folder

MAX_FILE_BYTES = 8 * 2**30
"""A single output larger than this is refused."""
MAX_MEMORY_BYTES = 512 * 2**20
"""Without an output folder files stay in memory; one larger than this is refused."""

_NAME = re.compile(r"[^\w.-]+")
_STALE = re.compile(r"\..*-\w{8}\.part")
STALE_SECONDS = 86_400.0
"""A `.part` file so old was left by a process that was killed; it is removed."""
_DEVICE = re.compile(r"(?i)con|prn|aux|nul|com\d|lpt\d")
"""Names that mean devices on Windows, whatever follows the first dot."""


class OutputError(Exception):
    """A file could not be brought home; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def safe_name(text: str, limit: int = 80) -> str:
    """``text`` as part of a file name on every system: letters, digits, dot, dash, underscore.

    At most ``limit`` characters, and never more than 180 bytes.
    """
    plain = _NAME.sub("_", unicodedata.normalize("NFC", text)).strip("._")[:limit]
    name = plain.encode(errors="ignore")[:180].decode(errors="ignore").strip("._") or "output"
    return f"_{name}"[:limit] if _DEVICE.fullmatch(name.partition(".")[0]) else name


def content_key(content: bytes) -> str:
    """The SHA-256 of ``content``, in hex: what a file is known by wherever it goes."""
    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def _writing(folder: Path | None) -> Iterator[None]:
    """Turn this machine's own trouble with writing into one clear line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInputError(
            f"output folder {str(folder)!r}: cannot write there: {reason}"
        ) from None


def prepare_folder(folder: Path) -> Path:
    """Make the output folder and prove that it can be written to.

    Raises:
        BadInputError: it cannot be made or written; the message says why.
    """
    with _writing(folder):
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            folder.mkdir()
            return folder.resolve()  # to make it was proof enough
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        _sweep(folder)
    return folder.resolve()


def _sweep(folder: Path) -> None:
    for path in folder.glob(".*.part"):
        with contextlib.suppress(OSError):
            if _STALE.fullmatch(path.name) and time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()


async def fetch(
    server: Server, ref: FileRef, folder: Path | None, name: str, *, seconds: float
) -> OutputFile:
    """Fetch one file a server says it made.

    Args:
        server: the server that made it.
        ref: what the history says of it.
        folder: where it goes, already prepared; None keeps it in memory.
        name: what to call it, without extension.
        seconds: how long the transfer may take.

    Raises:
        OutputError: it is gone, cut off, or not what it claims to be.
        ServerCallError: the server could not be asked.
        OSError: it cannot be written here.
    """
    with contextlib.ExitStack() as stack:
        part = _open_part(folder, name, stack)
        digest, size = hashlib.sha256(), 0
        limit = MAX_MEMORY_BYTES if folder is None else MAX_FILE_BYTES
        try:
            async with server.view(
                ref.filename, ref.subfolder, ref.type, seconds=seconds
            ) as response:
                # What is compressed on the way has another length than what it holds.
                packed = "Content-Encoding" in response.headers
                announced = None if packed else response.content_length
                async for chunk in response.content.iter_any():
                    size += len(chunk)
                    if size > limit:
                        raise _damaged(server.name, ref, f"it is larger than {limit:,} bytes")
                    digest.update(chunk)
                    with _writing(folder):
                        part.write(chunk)
        except AnswerError as error:
            if error.status in (400, 403, 404):
                raise _missing(server.name, ref) from None
            raise
        if announced is not None and size < announced:
            raise _damaged(server.name, ref, f"only {size:,} of {announced:,} bytes came")
        # Decoding and fsync take their time; other jobs' sockets must not wait for them.
        return await _to_the_end(
            _finish,
            part,
            size,
            digest.hexdigest(),
            ref,
            server=server.name,
            folder=folder,
            name=name,
        )


async def _to_the_end(
    function: Callable[..., OutputFile], *args: Any, **settings: Any
) -> OutputFile:
    """Run in a thread; if cancelled meanwhile, leave no file behind that nobody knows of."""
    task = asyncio.create_task(asyncio.to_thread(function, *args, **settings))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if task.exception() is None and (path := task.result().path) is not None:
            path.unlink(missing_ok=True)
        raise


def _finish(
    part: IO[bytes],
    size: int,
    sha256: str,
    ref: FileRef,
    *,
    server: str,
    folder: Path | None,
    name: str,
) -> OutputFile:
    with _writing(folder):
        part.flush()
        try:
            checked = content.check(part, size, ref.filename)
        except content.DamagedError as error:
            raise _damaged(server, ref, str(error)) from None
        data, path = None, None
        filename = name + checked.suffix
        if folder is None:
            part.seek(0)
            data = part.read()
        else:
            os.fsync(part.fileno())
            path = _place(Path(part.name), folder, name, checked.suffix)
            filename = path.name
    return OutputFile(
        filename=filename,
        node_id=ref.node_id,
        server_name=clip(ref.filename, 255),
        list_name=clip(ref.list_name, 100),
        subfolder=clip(ref.subfolder, 400),
        kind=clip(ref.type, 20),
        size=size,
        sha256=sha256,
        media_type=checked.media_type,
        width=checked.width,
        height=checked.height,
        plain=checked.plain,
        path=path,
        data=data,
    )


def _open_part(folder: Path | None, name: str, stack: contextlib.ExitStack) -> IO[bytes]:
    if folder is None:
        return stack.enter_context(tempfile.SpooledTemporaryFile(32 * 2**20))
    with _writing(folder):
        handle, path = tempfile.mkstemp(prefix=f".{name}-", suffix=".part", dir=folder)
    os.close(handle)
    stack.callback(_remove, path)
    return stack.enter_context(Path(path).open("w+b"))


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        Path(path).unlink()


def _place(part: Path, folder: Path, name: str, suffix: str) -> Path:
    part.chmod(0o644)  # mkstemp makes files that only their owner can read
    for number in range(1, 100_000):
        target = folder / (f"{name}{suffix}" if number == 1 else f"{name}-{number}{suffix}")
        try:
            give_name(part, target)
        except FileExistsError:
            continue
        sync_folder(folder)
        return target
    raise FileExistsError(f"{folder / name}{suffix} and 99,999 variants of it exist")


def _missing(server: str, ref: FileRef) -> OutputError:
    return OutputError(
        Failure(
            FailureKind.OUTPUT_MISSING,
            f"node {ref.node_id} reports the file {clip(ref.filename, 120)!r}, "
            "but the server no longer has it",
            server,
            ref.node_id,
            category=ErrorCategory.WORKFLOW,
        )
    )


def _damaged(server: str, ref: FileRef, why: str) -> OutputError:
    return OutputError(
        Failure(
            FailureKind.OUTPUT_DAMAGED,
            f"the file {clip(ref.filename, 120)!r} of node {ref.node_id} is damaged: {why}",
            server,
            ref.node_id,
            category=ErrorCategory.WORKFLOW,
        )
    )
