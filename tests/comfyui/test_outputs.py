"""Files come home whole, under names of our own, into one folder, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import re
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from holdfast.comfyui import content as contents
from holdfast.comfyui import outputs
from holdfast.comfyui.address import Address
from holdfast.comfyui.failures import FailureKind
from holdfast.comfyui.outputs import OutputError, fetch, prepare_folder, safe_name
from holdfast.comfyui.replies import FileRef
from holdfast.comfyui.result import OutputFile
from holdfast.comfyui.server import AnswerError, RefusedError, Server, SilentError
from holdfast.errors import BadInputError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
relaxed = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])


def picture(form: str = "PNG", size: tuple[int, int] = (48, 32), frames: int = 1) -> bytes:
    """A picture with some noise in it, so that it has some length."""
    made = [
        Image.frombytes("RGB", size, bytes(hash_stream(f"{form}{n}", size[0] * size[1] * 3)))
        for n in range(frames)
    ]
    out = io.BytesIO()
    more = {"save_all": True, "append_images": made[1:], "duration": 50} if frames > 1 else {}
    made[0].save(out, form, **more)
    return out.getvalue()


def hash_stream(seed: str, length: int) -> bytes:
    """Noise that is the same each time."""
    return hashlib.shake_128(seed.encode()).digest(length)


def box(kind: bytes, content: bytes = b"") -> bytes:
    """An MP4 box."""
    return struct.pack(">I", 8 + len(content)) + kind + content


FTYP = box(b"ftyp", b"isom\x00\x00\x02\x00isomiso2")
MOVIE = FTYP + box(b"moov", b"m" * 100) + box(b"mdat", b"d" * 500)
PNG = picture()


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Server]:
    """A server whose `/view` is this handler."""
    app = web.Application()
    app.router.add_get("/view", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with aiohttp.ClientSession() as session:
            yield Server(Address.parse(f"127.0.0.1:{port}"), session, call_seconds=2.0)
    finally:
        await runner.cleanup()


def answering(body: bytes, **settings) -> Handler:
    """A handler that answers with this body."""

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=body, **settings)

    return handler


async def brought(
    handler: Handler, folder: Path | None, filename: str = "ComfyUI_00001_.png", **fields
) -> OutputFile:
    """A file fetched from such a server."""
    async with serving(handler) as server:
        ref = FileRef("9", filename, **fields)
        return await fetch(server, ref, folder, "portrait", seconds=5.0)


def left_in(folder: Path | None) -> list[str]:
    """What lies in a folder, hidden files included."""
    return [] if folder is None else sorted(each.name for each in folder.iterdir())


async def failure_of(
    handler: Handler, folder: Path | None, filename: str = "ComfyUI_00001_.png"
) -> OutputError:
    """Why a file could not be fetched; nothing of it may be left in the folder."""
    with pytest.raises(OutputError) as caught:
        await brought(handler, folder, filename)
    assert not left_in(folder)
    assert caught.value.failure.node_id == "9"
    assert (caught.value.failure.server or "").startswith("http://127.0.0.1")
    return caught.value


# Names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("portrait", "portrait"),
        ("My Flux Dev (v2)", "My_Flux_Dev_v2"),
        ("../../etc/passwd", "etc_passwd"),
        ("..", "output"),
        (".hidden", "hidden"),
        ("", "output"),
        ("日本", "日本"),
        ("a\x00b", "a_b"),
        ("C:\\temp\\x", "C_temp_x"),
        ("a" * 300, "a" * 80),
    ],
)
def test_any_text_becomes_a_plain_name(text, name):
    assert safe_name(text) == name


@relaxed
@given(st.text(), st.integers(1, 100))
def test_a_safe_name_is_never_empty_hidden_or_a_way_up(text, limit):
    name = safe_name(text, limit)
    assert re.fullmatch(r"[\w-][\w.-]*", name)
    assert len(name) <= max(limit, len("output"))
    assert len(name.encode()) <= 180
    assert name not in (".", "..")
    assert not name.endswith(".")
    assert Path("folder", name).parent == Path("folder")


@pytest.mark.parametrize("text", ["con", "NUL", "aux", "COM1", "lpt9"])
def test_a_safe_name_is_none_of_the_devices_that_windows_reserves(text):
    assert safe_name(text).lower() != text.lower()


# Folders --------------------------------------------------------------------------------


def test_an_output_folder_is_made_with_its_parents(tmp_path):
    folder = prepare_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert folder.is_absolute()
    assert not list(folder.iterdir())


def test_an_output_folder_that_exists_is_left_as_it_is(tmp_path):
    (tmp_path / "old.png").write_bytes(b"old")
    assert prepare_folder(tmp_path) == tmp_path.resolve()
    assert [each.name for each in tmp_path.iterdir()] == ["old.png"]


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_in_the_way_of_the_output_folder_is_named(tmp_path, below):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(BadInputError, match=r"output folder .*taken.*: cannot write there: "):
        prepare_folder(tmp_path / "taken" / below)


def test_an_output_folder_that_cannot_be_written_is_refused_with_the_reason(tmp_path, monkeypatch):
    def refuse(**_where):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(outputs.tempfile, "TemporaryFile", refuse)
    with pytest.raises(BadInputError, match="cannot write there: Permission denied"):
        prepare_folder(tmp_path)


def test_an_output_folder_with_an_impossible_name_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="output folder"):
        prepare_folder(tmp_path / ("x" * 5_000))


# Placing --------------------------------------------------------------------------------


def part(folder: Path, content: bytes) -> Path:
    """A file that has come in whole."""
    path = folder / f".portrait-{content.decode()}.part"
    path.write_bytes(content)
    return path


def test_placing_the_same_name_twice_overwrites_nothing(tmp_path):
    first = outputs._place(part(tmp_path, b"one"), tmp_path, "portrait", ".png")
    second = outputs._place(part(tmp_path, b"two"), tmp_path, "portrait", ".png")
    assert (first.name, second.name) == ("portrait.png", "portrait-2.png")
    assert (first.read_bytes(), second.read_bytes()) == (b"one", b"two")


def test_without_hard_links_nothing_is_overwritten_either(tmp_path, monkeypatch):
    def refuse(*_paths):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(outputs.os, "link", refuse)
    first = outputs._place(part(tmp_path, b"one"), tmp_path, "portrait", ".png")
    second = outputs._place(part(tmp_path, b"two"), tmp_path, "portrait", ".png")
    assert (first.name, second.name) == ("portrait.png", "portrait-2.png")
    assert (first.read_bytes(), second.read_bytes()) == (b"one", b"two")
    assert len(list(tmp_path.iterdir())) == 2


def test_many_placing_at_once_each_get_their_own_name(tmp_path):
    parts = [part(tmp_path, str(n).encode()) for n in range(16)]
    placed: list[Path] = []

    def place(each: Path) -> None:
        placed.append(outputs._place(each, tmp_path, "portrait", ".png"))

    threads = [threading.Thread(target=place, args=(each,)) for each in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.read_bytes() for path in placed} == {str(n).encode() for n in range(16)}
    assert len(set(placed)) == 16


def test_others_may_read_a_placed_file(tmp_path):
    placed = outputs._place(part(tmp_path, b"one"), tmp_path, "portrait", ".png")
    assert placed.stat().st_mode & 0o777 == 0o644


# Videos ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "complete"),
    [
        (MOVIE, True),
        (FTYP + box(b"mdat", b"d" * 9) + box(b"moov"), True),
        (FTYP + box(b"moov") + struct.pack(">I4sQ", 1, b"mdat", 20) + b"data", True),
        (FTYP + box(b"moov") + struct.pack(">I", 0) + b"mdat" + b"to the end", True),
        (MOVIE[:-1], False),
        (MOVIE[:300], False),
        (FTYP + box(b"mdat", b"d" * 500), False),
        (FTYP, False),
        (FTYP + box(b"moov", b"m" * 100), False),  # cut off just where the pictures begin
        (MOVIE + b"\x00\x00", False),
        (FTYP + box(b"moov") + struct.pack(">I4s", 3, b"mdat"), False),
        (FTYP + box(b"moov") + struct.pack(">I4sQ", 1, b"mdat", 2**60), False),
        (FTYP + box(b"moov") + struct.pack(">I4sQ", 1, b"mdat", 0), False),
        (b"", False),
        (b"\x00" * 64, False),
    ],
)
def test_a_video_is_complete_when_its_boxes_fill_the_file_and_hold_the_index(content, complete):
    assert contents.boxes_complete(io.BytesIO(content), len(content)) is complete


@relaxed
@given(st.binary(max_size=100))
def test_any_bytes_are_walked_to_an_end(content):
    assert contents.boxes_complete(io.BytesIO(content), len(content)) in (True, False)


@relaxed
@given(st.integers(0, len(MOVIE) - 1))
def test_no_shorter_part_of_a_video_is_complete(length):
    assert not contents.boxes_complete(io.BytesIO(MOVIE[:length]), length)


# What comes home ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "suffix", "media_type"),
    [
        ("PNG", ".png", "image/png"),
        ("JPEG", ".jpg", "image/jpeg"),
        ("WEBP", ".webp", "image/webp"),
        ("GIF", ".gif", "image/gif"),
    ],
)
async def test_a_picture_comes_home_whole(tmp_path, form, suffix, media_type):
    content = picture(form)
    file = await brought(answering(content), tmp_path)
    assert file.path == tmp_path / f"portrait{suffix}"
    assert file.filename == f"portrait{suffix}"
    assert file.path.read_bytes() == file.bytes == content
    assert file.data is None
    assert (file.width, file.height, file.media_type) == (48, 32, media_type)
    assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (file.node_id, file.server_name) == ("9", "ComfyUI_00001_.png")
    assert list(tmp_path.iterdir()) == [file.path]


async def test_without_a_folder_a_file_stays_in_memory():
    file = await brought(answering(PNG), None)
    assert file.path is None
    assert file.data == file.bytes == PNG
    assert file.filename == "portrait.png"


async def test_a_video_comes_home_whole(tmp_path):
    file = await brought(answering(MOVIE), tmp_path, "clip_00001.mp4")
    assert file.filename == "portrait.mp4"
    assert (file.media_type, file.width) == ("video/mp4", None)


async def test_a_file_of_another_kind_keeps_its_extension(tmp_path):
    file = await brought(answering(b"x" * 10), tmp_path, "latent_00001_.latent")
    assert file.filename == "portrait.bin"
    file = await brought(answering(b"x" * 10), tmp_path, "mesh.GLB")
    assert file.filename == "portrait.glb"
    assert file.media_type == "application/octet-stream"


async def test_a_file_is_asked_for_where_the_server_said_it_is(tmp_path):
    asked = {}

    async def handler(request: web.Request) -> web.Response:
        asked.update(request.query)
        return web.Response(body=PNG)

    await brought(handler, tmp_path, "a b&c#1.png", subfolder="x/y z", type="temp")
    assert asked == {"filename": "a b&c#1.png", "subfolder": "x/y z", "type": "temp"}


async def test_files_of_one_name_do_not_overwrite_each_other(tmp_path):
    first = await brought(answering(PNG), tmp_path)
    second = await brought(answering(picture(size=(16, 16))), tmp_path)
    assert (first.filename, second.filename) == ("portrait.png", "portrait-2.png")
    assert first.bytes == PNG


async def test_an_answer_in_pieces_without_a_length_comes_home_whole(tmp_path):
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for at in range(0, len(PNG), 1_000):
            await response.write(PNG[at : at + 1_000])
        return response

    assert (await brought(handler, tmp_path)).bytes == PNG


async def test_an_answer_compressed_on_the_way_comes_home_whole(tmp_path):
    # As a proxy may do; compressed, a picture is a little larger than plain.
    async def handler(_request: web.Request) -> web.Response:
        response = web.Response(body=PNG)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    assert (await brought(handler, tmp_path)).bytes == PNG


@pytest.mark.parametrize(
    "filename",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "..\\..\\windows\\system32\\x.png",
        "a/b.png",
        "a\x00b.png",
        ".png",
        "..",
        "",
        "x" * 3_000 + ".png",
        "a.png/../../b.png",
        "\x1b[31mred.png",
        "evil.p/ng",
        "🐙.png",
        "\ud800.png",
    ],
)
async def test_what_the_server_calls_a_file_decides_nothing(tmp_path, filename):
    folder = tmp_path / "out"
    folder.mkdir()
    file = await brought(answering(PNG), folder, filename)
    assert file.path == folder / "portrait.png"
    assert [each.name for each in folder.iterdir()] == ["portrait.png"]
    assert [each.name for each in tmp_path.iterdir()] == ["out"]
    assert len(file.server_name) < 300


async def test_a_name_no_request_can_carry_is_a_file_that_cannot_be_had(tmp_path):
    error = await failure_of(answering(PNG), tmp_path, "x" * 200_000)
    assert error.failure.kind is FailureKind.OUTPUT_MISSING
    assert len(str(error)) < 400


# What does not --------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 400, 403])
async def test_a_file_that_is_gone_is_missing(tmp_path, status):
    error = await failure_of(answering(b"", status=status), tmp_path)
    assert error.failure.kind is FailureKind.OUTPUT_MISSING
    assert "ComfyUI_00001_.png" in str(error)


@pytest.mark.parametrize("where", ["folder", "memory"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"<html><body>Please log in</body></html>", "no PNG at all"),
        (PNG[: len(PNG) // 2], "cannot be decoded"),
        (PNG[:-40], "cannot be decoded"),
        (PNG[:30], "cannot be decoded"),
        (PNG[:10], "cannot be decoded"),
        (picture("JPEG")[:-200], "cannot be decoded"),
        (MOVIE[:-1], "cut off"),
    ],
)
async def test_a_damaged_file_is_told_and_leaves_nothing(tmp_path, content, words, where):
    folder = tmp_path if where == "folder" else None
    error = await failure_of(answering(content), folder)
    assert error.failure.kind is FailureKind.OUTPUT_DAMAGED
    assert words in str(error)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
@pytest.mark.parametrize("share", [0.5, 0.9])
async def test_an_animation_cut_off_after_its_first_frame_is_damaged(tmp_path, form, share):
    whole = picture(form, frames=6)
    assert (await brought(answering(whole), None)).size == len(whole)
    error = await failure_of(answering(whole[: int(len(whole) * share)]), tmp_path)
    assert error.failure.kind is FailureKind.OUTPUT_DAMAGED


async def test_a_webm_that_is_cut_off_is_damaged(tmp_path):
    header = b"\x1a\x45\xdf\xa3\x84\x42\x82\x81w"  # EBML, 4 bytes
    segment = b"\x18\x53\x80\x67" + (0x01 << 56 | 1_000).to_bytes(8, "big") + b"s" * 1_000
    whole = header + segment
    assert (await brought(answering(whole), None, "a.webm")).media_type == "video/webm"
    error = await failure_of(answering(whole[:-500]), tmp_path, "a.webm")
    assert error.failure.kind is FailureKind.OUTPUT_DAMAGED


@pytest.mark.parametrize("filename", ["a.mp4", "a.webm", "a.gif", "a.JPG", "a.flac"])
async def test_a_web_page_is_none_of_the_files_it_is_called(tmp_path, filename):
    error = await failure_of(
        answering(b"<html>sorry</html>", content_type="text/html"), tmp_path, filename
    )
    assert error.failure.kind is FailureKind.OUTPUT_DAMAGED


async def test_a_file_announced_longer_than_it_comes_leaves_nothing(tmp_path):
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(PNG) + 500)})
        await response.prepare(request)
        await response.write(PNG)
        assert request.transport is not None
        request.transport.close()
        return response

    with pytest.raises((OutputError, SilentError)):
        await brought(handler, tmp_path)
    assert not left_in(tmp_path)


@pytest.mark.parametrize("announced", [True, False])
async def test_an_answer_that_breaks_off_leaves_nothing(tmp_path, announced):
    async def handler(request: web.Request) -> web.StreamResponse:
        headers = {"Content-Length": str(len(PNG))} if announced else {}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(PNG[:1_000])
        assert request.transport is not None
        request.transport.abort()
        return response

    with pytest.raises(SilentError):
        await brought(handler, tmp_path)
    assert not left_in(tmp_path)


async def test_an_answer_that_never_ends_is_cut_off_in_time(tmp_path):
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b"\x89PNG")
                await asyncio.sleep(0.01)
        return response

    async with serving(handler) as server:
        with pytest.raises(SilentError, match="in time"):
            await fetch(server, FileRef("9", "a.png"), tmp_path, "portrait", seconds=0.1)
    assert not left_in(tmp_path)


@pytest.mark.parametrize(("status", "retry_after"), [(500, None), (503, 7.0)])
async def test_a_servers_error_is_the_servers_own(tmp_path, status, retry_after):
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    with pytest.raises(AnswerError) as caught:
        await brought(answering(b"oops", status=status, headers=headers), tmp_path)
    assert (caught.value.status, caught.value.retry_after) == (status, retry_after)
    assert not left_in(tmp_path)


async def test_a_redirect_is_not_followed(tmp_path):
    handler = answering(b"", status=302, headers={"Location": "http://127.0.0.1:1/view"})
    with pytest.raises(AnswerError, match="302"):
        await brought(handler, tmp_path)
    assert not left_in(tmp_path)


async def test_a_server_that_is_gone_leaves_nothing(tmp_path):
    async with aiohttp.ClientSession() as session:
        server = Server(Address.parse("127.0.0.1:1"), session)
        with pytest.raises(RefusedError):
            await fetch(server, FileRef("9", "a.png"), tmp_path, "portrait", seconds=1.0)
    assert not left_in(tmp_path)


@pytest.mark.parametrize(
    ("limit", "where"), [("MAX_FILE_BYTES", "folder"), ("MAX_MEMORY_BYTES", "memory")]
)
async def test_a_file_beyond_the_limit_is_refused(tmp_path, monkeypatch, limit, where):
    monkeypatch.setattr(outputs, limit, len(PNG) - 1)
    error = await failure_of(answering(PNG), tmp_path if where == "folder" else None)
    assert error.failure.kind is FailureKind.OUTPUT_DAMAGED
    assert "larger than" in str(error)


async def test_a_file_of_exactly_the_limit_comes_home(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "MAX_FILE_BYTES", len(PNG))
    assert (await brought(answering(PNG), tmp_path)).size == len(PNG)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
async def test_a_picture_too_large_to_decode_comes_home_all_the_same(tmp_path, monkeypatch, form):
    monkeypatch.setattr(contents, "MAX_PIXELS", 48 * 32 - 1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48 * 32 // 3)  # Pillow raises beyond twice this
    file = await brought(answering(picture(form)), tmp_path)
    assert (file.width, file.height) == (48, 32)


async def test_a_picture_too_large_to_decode_is_still_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "MAX_PIXELS", 48 * 32 - 1)
    error = await failure_of(answering(PNG[:-20]), tmp_path)
    assert "cut off" in str(error)


async def test_a_disk_that_fills_up_here_is_our_own_trouble(tmp_path, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    real = outputs._open_part

    class Full:
        def __init__(self, file) -> None:
            self._file = file

        def __getattr__(self, name):
            return full if name == "write" else getattr(self._file, name)

    monkeypatch.setattr(outputs, "_open_part", lambda *args: Full(real(*args)))
    with pytest.raises(BadInputError, match="cannot write there: No space left on device"):
        await brought(answering(PNG), tmp_path)
    assert not left_in(tmp_path)


async def test_a_folder_that_has_vanished_is_our_own_trouble(tmp_path):
    with pytest.raises(BadInputError, match=r"output folder .*gone.*cannot write there"):
        await brought(answering(PNG), tmp_path / "gone")


# Cancelling -----------------------------------------------------------------------------


async def test_a_transfer_that_is_cancelled_leaves_nothing(tmp_path):
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(PNG[:1_000])
        begun.set()
        await ended.wait()
        return response

    async with serving(handler) as server:
        ref = FileRef("9", "a.png")
        task = asyncio.create_task(fetch(server, ref, tmp_path, "portrait", seconds=5.0))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        ended.set()
        assert not left_in(tmp_path)


async def test_a_check_that_is_cancelled_leaves_nothing(tmp_path, monkeypatch):
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    real = outputs._finish

    def slow(*args, **named):
        begun.set()
        go_on.wait(5.0)
        try:
            return real(*args, **named)
        finally:
            ended.set()

    monkeypatch.setattr(outputs, "_finish", slow)
    async with serving(answering(PNG)) as server:
        ref = FileRef("9", "a.png")
        task = asyncio.create_task(fetch(server, ref, tmp_path, "portrait", seconds=5.0))
        await asyncio.to_thread(begun.wait, 5.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        await asyncio.to_thread(ended.wait, 5.0)
    assert not left_in(tmp_path)
