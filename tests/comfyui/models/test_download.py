"""Models fetched from servers that break off, forget, lie, and send something else."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from holdfast import Backoff, Retry
from holdfast.comfyui.models import transfer as transfer_module
from holdfast.comfyui.models.download import DownloadSettings, fetch
from holdfast.comfyui.models.errors import (
    DownloadBrokenError,
    DownloadRefusedError,
    ModelDamagedError,
    ModelError,
    NoSpaceError,
)
from holdfast.comfyui.models.gate import Gate
from holdfast.comfyui.models.places import ModelsFolder, prepare
from holdfast.comfyui.models.sources import Source
from holdfast.errors import BadInputError, ErrorCategory
from tests.comfyui.models.mirror import serving
from tests.comfyui.models.weights import large, safetensors

MODEL = large()
OTHER = large(fill=2)
PATH = "/m.safetensors"
HALF = len(MODEL) // 2


def again(attempts=4):
    return Retry(max_attempts=attempts, backoff=Backoff.none(), on=(DownloadBrokenError,))


@pytest.fixture
def one_round(monkeypatch):
    """Give up after the attempts of the policy, however far they got."""
    monkeypatch.setattr("holdfast.comfyui.models.download.WORTHWHILE_BYTES", 10**12)


def sha(content):
    return hashlib.sha256(content).hexdigest()


class Getting:
    """One model to be fetched from a mirror into a folder."""

    def __init__(self, mirror, root, *, path=PATH, tokens=None, trusted=None, **source):
        self.told = []
        gate = Gate.of([mirror.host] if trusted is None else trusted, tokens)
        self.settings = DownloadSettings(gate, again(), idle_seconds=0.5, listener=self.told.append)
        self.place = ModelsFolder(root).place("checkpoints", "m.safetensors")
        self.source = Source(mirror.url + path, "m.safetensors", **source)

    async def __call__(self, **settings):
        chosen = {name: getattr(self.settings, name) for name in ("gate", "retry", "listener")}
        chosen |= {"idle_seconds": 0.5} | settings
        return await fetch(self.place, self.source, DownloadSettings(**chosen))

    @property
    def content(self):
        return self.place.path.read_bytes()

    @property
    def leftovers(self):
        return sorted(each.name for each in self.place.path.parent.iterdir())


async def test_a_model_is_fetched_checked_and_put_in_its_place(tmp_path):
    async with serving({PATH: MODEL}) as mirror:
        get = Getting(mirror, tmp_path)
        done = await get()
    assert get.content == MODEL
    assert done.fetched
    assert done.check.ok
    assert done.check.path == get.place.path
    assert str(done.check.family) == "wan diffusion_model"
    assert get.leftovers == ["m.safetensors"]
    assert done.words.startswith(f"checkpoints/m.safetensors: {len(MODEL):,} bytes fetched from")
    last = get.told[-1]
    assert (last.received, last.total, last.share) == (len(MODEL), len(MODEL), 1.0)


async def test_it_goes_on_where_it_broke_off(tmp_path):
    async with serving({PATH: MODEL}, {"cut": HALF}, {"status": 503}) as mirror:
        get = Getting(mirror, tmp_path)
        done = await get()
        first, second, third = mirror.asked
        if_range = mirror.seen[2].headers["If-Range"]
    assert get.content == MODEL
    assert done.connections == 3
    assert first is None
    assert second == third == f"bytes={HALF}-"
    assert if_range.strip('"')
    assert any(each.words == f"goes on after {HALF:,} bytes" for each in get.told)


async def test_a_server_that_ignores_ranges_starts_it_anew(tmp_path):
    async with serving({PATH: MODEL}, {"cut": HALF}, ranges=False) as mirror:
        get = Getting(mirror, tmp_path)
        await get()
    assert get.content == MODEL
    assert get.told[-1].words.startswith("begins anew")


async def test_a_file_that_changes_on_the_way_is_never_put_together_from_two(tmp_path, one_round):
    async with serving({PATH: MODEL}, {"cut": HALF}) as mirror:
        get = Getting(mirror, tmp_path)
        with pytest.raises(DownloadBrokenError):
            await get(retry=again(1))
        mirror.files[PATH] = OTHER
        await get()
        assert mirror.asked[-1] == f"bytes={HALF}-"
    assert get.content == OTHER


async def test_a_server_that_goes_on_with_another_file_is_caught(tmp_path, one_round):
    async with serving({PATH: MODEL}, {"cut": HALF}) as mirror:
        get = Getting(mirror, tmp_path)
        with pytest.raises(DownloadBrokenError):
            await get(retry=again(1))
        mirror.files[PATH] = OTHER
        mirror.faults.append({"blind": True})  # goes on although the file has changed
        await get()
    assert get.content == OTHER


async def test_without_a_mark_of_its_own_a_part_is_not_trusted_unless_the_hash_is_known(tmp_path):
    async with serving({PATH: MODEL}, {"cut": HALF}, etags=False) as mirror:
        get = Getting(mirror, tmp_path)
        await get()
        assert mirror.asked == [None, None]
    assert get.content == MODEL

    async with serving({PATH: MODEL}, {"cut": HALF}, etags=False) as mirror:
        get = Getting(mirror, tmp_path / "..", sha256=sha(MODEL))
        get.place = ModelsFolder(tmp_path).place("loras", "m.safetensors")
        await get()
        assert mirror.asked == [None, f"bytes={HALF}-"]
    assert get.content == MODEL


async def test_a_part_put_together_wrongly_is_fetched_once_more_whole(tmp_path, one_round):
    async with serving({PATH: OTHER}, {"cut": HALF}, etags=False) as mirror:
        get = Getting(mirror, tmp_path, sha256=sha(MODEL))
        with pytest.raises(DownloadBrokenError):
            await get(retry=again(1))
        mirror.files[PATH] = MODEL
        await get()
        assert mirror.asked == [None, f"bytes={HALF}-", None]
    assert get.content == MODEL


async def test_a_part_from_another_address_is_not_gone_on_with(tmp_path, one_round):
    async with serving({PATH: MODEL, "/other": OTHER}, {"cut": HALF}) as mirror:
        get = Getting(mirror, tmp_path)
        with pytest.raises(DownloadBrokenError):
            await get(retry=again(1))
        get.source = Source(f"{mirror.url}/other", "m.safetensors", sha256=sha(OTHER))
        await get()
        assert mirror.asked == [None, None]
    assert get.content == OTHER


async def test_it_goes_on_for_as_long_as_it_gets_further(tmp_path, monkeypatch):
    monkeypatch.setattr("holdfast.comfyui.models.download.WORTHWHILE_BYTES", 1_000)
    cuts = [{"cut": 150_000}] * 12
    async with serving({PATH: MODEL}, *cuts) as mirror:
        get = Getting(mirror, tmp_path)
        done = await get(retry=again(2))
    assert get.content == MODEL
    assert done.connections == 13


async def test_it_gives_up_when_it_gets_no_further_and_keeps_what_came(tmp_path):
    async with serving({PATH: MODEL}, {"cut": HALF}, *[{"status": 502}] * 20) as mirror:
        get = Getting(mirror, tmp_path)
        with pytest.raises(DownloadBrokenError, match="HTTP 502") as raised:
            await get()
        assert raised.value.model == "m.safetensors"
        assert raised.value.category is ErrorCategory.MODEL
        assert get.leftovers == ["m.safetensors.part", "m.safetensors.part.json"]
        mirror.faults.clear()
        await get()
        assert mirror.asked[-1] == f"bytes={HALF}-"
    assert get.content == MODEL


async def test_a_server_that_falls_silent_is_left(tmp_path):
    hold = asyncio.Event()
    async with serving({PATH: MODEL}, {"cut": HALF, "hold": hold}) as mirror:
        get = Getting(mirror, tmp_path)
        await get(idle_seconds=0.2)
        hold.set()
    assert get.content == MODEL


async def test_a_length_that_is_a_lie_is_found_out(tmp_path):
    lies = [{"length": len(MODEL) + 99, "abort": True}] * 9
    async with serving({PATH: MODEL}, *lies) as mirror:
        get = Getting(mirror, tmp_path)
        await get()  # the next answer to "what follows?" is that nothing does
    assert get.content == MODEL

    short = {"length": HALF, "end": HALF}
    get.place.path.unlink()
    async with serving({PATH: MODEL}, short) as mirror:
        get = Getting(mirror, tmp_path)
        with pytest.raises(ModelDamagedError, match="is cut off"):
            await get()
        assert get.leftovers == []


async def test_a_file_without_a_length_is_judged_by_its_header(tmp_path):
    async with serving({PATH: MODEL}, {"chunked": True, "end": HALF}, {"chunked": True}) as mirror:
        get = Getting(mirror, tmp_path)
        await get()
        assert len(mirror.seen) == 2
    assert get.content == MODEL


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<!DOCTYPE html><html>Please log in</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "LFS pointer"),
        (b"not a model at all, but of some length", "does not begin as"),
        (safetensors()[:-4], "is cut off"),
    ],
)
async def test_what_is_no_model_is_told_and_not_kept(tmp_path, body, why):
    async with serving({PATH: MODEL}, {"body": body}) as mirror:
        get = Getting(mirror, tmp_path)
        with pytest.raises(ModelDamagedError, match=why):
            await get()
        assert len(mirror.seen) == 1
        assert get.leftovers == []


async def test_the_wrong_hash_is_refused(tmp_path):
    async with serving({PATH: MODEL}) as mirror:
        get = Getting(mirror, tmp_path, sha256=sha(OTHER))
        with pytest.raises(ModelDamagedError, match="has the hash"):
            await get()
        assert get.leftovers == []


async def test_what_is_larger_than_declared_or_allowed_is_not_fetched(tmp_path):
    async with serving({PATH: MODEL}) as mirror:
        with pytest.raises(DownloadRefusedError, match="larger than the 1,000 bytes"):
            await Getting(mirror, tmp_path, limit=1_000)()
        with pytest.raises(DownloadRefusedError, match="larger than the 2,000 bytes"):
            await Getting(mirror, tmp_path)(limit=2_000)
        with pytest.raises(ModelDamagedError, match="where 5,000 were expected"):
            await Getting(mirror, tmp_path, size=5_000)()
        with pytest.raises(DownloadRefusedError, match="has 5,000 bytes; 2,000 are allowed"):
            await Getting(mirror, tmp_path, size=5_000)(limit=2_000)
        mirror.faults.append({"chunked": True})
        get = Getting(mirror, tmp_path, limit=1_500_000)
        with pytest.raises(DownloadRefusedError, match="larger than"):
            await get()
        assert get.leftovers == []


async def test_no_room_is_said_before_a_byte_is_written(tmp_path, monkeypatch):
    usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil's
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**9, 10**9, 1_000))
    async with serving({PATH: MODEL}) as mirror:
        get = Getting(mirror, tmp_path)
        with pytest.raises(NoSpaceError, match=r"no room for checkpoints/m\.safetensors"):
            await get()
        assert len(mirror.seen) == 1
    assert not get.place.part.exists()


async def test_room_is_looked_at_while_it_comes(tmp_path, monkeypatch):
    usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil's
    free = iter([10**12, 1_000, 1_000])
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**12, 0, next(free)))
    monkeypatch.setattr(transfer_module, "SPACE_EVERY", 2**20)
    async with serving({PATH: MODEL}) as mirror:
        get = Getting(mirror, tmp_path)
        with pytest.raises(NoSpaceError):
            await get()
    assert 0 < get.place.part.stat().st_size < len(MODEL)


@pytest.mark.parametrize(
    ("status", "why"),
    [(401, "wants a login"), (403, "terms to be accepted"), (404, "no such file"), (418, "418")],
)
async def test_a_refusal_is_final(tmp_path, status, why):
    async with serving({PATH: MODEL}, {"status": status}) as mirror:
        with pytest.raises(DownloadRefusedError, match=why):
            await Getting(mirror, tmp_path)()
        assert len(mirror.seen) == 1


async def test_a_server_that_asks_for_time_gets_it(tmp_path):
    slow_down = {"status": 429, "headers": {"Retry-After": "7"}}
    async with serving({PATH: MODEL}, slow_down) as mirror:
        with pytest.raises(DownloadBrokenError) as raised:
            await Getting(mirror, tmp_path)(retry=again(1))
    assert raised.value.retry_after == 7.0


async def test_what_is_packed_is_refused(tmp_path):
    async with serving({PATH: MODEL}, {"headers": {"Content-Encoding": "gzip"}}) as mirror:
        with pytest.raises(DownloadRefusedError, match="packed"):
            await Getting(mirror, tmp_path)()
        assert mirror.seen[0].headers["Accept-Encoding"] == "identity"


# Redirects and logins --------------------------------------------------------------------


def sent_to(url, **headers):
    return {"status": 302, "headers": {"Location": url} | headers}


async def test_redirects_are_followed_and_a_token_stays_with_its_host(tmp_path):
    async with serving({PATH: MODEL}) as cdn, serving() as hub:
        hub.faults.append(
            sent_to(f"{cdn.url}{PATH}?signature=abc", **{"x-linked-etag": sha(MODEL)})
        )
        get = Getting(hub, tmp_path, tokens={hub.host: "hf_secret"}, trusted=[hub.host, cdn.host])
        done = await get()
        assert hub.seen[0].headers["Authorization"] == "Bearer hf_secret"
        assert "Authorization" not in cdn.seen[0].headers
    assert get.content == MODEL
    assert done.check.sha256 == sha(MODEL)


async def test_the_hash_a_hub_gives_on_the_way_is_checked(tmp_path):
    async with serving({PATH: MODEL}) as cdn, serving() as hub:
        hub.faults.append(sent_to(cdn.url + PATH, **{"x-linked-etag": f'"{sha(OTHER)}"'}))
        get = Getting(hub, tmp_path, trusted=[hub.host, cdn.host])
        with pytest.raises(ModelDamagedError, match="has the hash"):
            await get()


async def test_a_redirect_into_the_private_net_is_refused(tmp_path):
    async with serving({PATH: MODEL}) as inner, serving() as outer:
        for target in (inner.url + PATH, "https://169.254.169.254/x", "file:///etc/passwd"):
            outer.faults.append(sent_to(target))
            with pytest.raises(DownloadRefusedError):
                await Getting(outer, tmp_path)()
        assert not inner.seen


async def test_redirects_end(tmp_path):
    async with serving() as mirror:
        mirror.faults += [sent_to(PATH)] * 20
        with pytest.raises(DownloadRefusedError, match="more than 8 redirects"):
            await Getting(mirror, tmp_path)()
        assert len(mirror.seen) == 9
        mirror.faults[:] = [{"status": 302}]
        with pytest.raises(DownloadRefusedError, match="without saying where"):
            await Getting(mirror, tmp_path)()


async def test_no_error_shows_what_stands_in_a_query(tmp_path, one_round):
    async with serving({}) as mirror:
        get = Getting(mirror, tmp_path, path=f"{PATH}?token=s3cr3t")
        with pytest.raises(DownloadRefusedError) as raised:
            await get()
        assert "s3cr3t" not in str(raised.value)
        mirror.files[PATH] = MODEL
        mirror.faults.append({"cut": HALF})
        with pytest.raises(DownloadBrokenError):
            await get(retry=again(1))
    assert "s3cr3t" not in get.place.note.read_text()
    assert "s3cr3t" not in str(get.told)


async def test_nobody_there_is_told(tmp_path):
    async with serving() as mirror:
        get = Getting(mirror, tmp_path)
    with pytest.raises(DownloadBrokenError, match="cannot be reached"):
        await get()


# Once for all, and after a killing --------------------------------------------------------


async def test_many_who_want_it_fetch_it_once(tmp_path):
    async with serving({PATH: MODEL}) as mirror:
        get = Getting(mirror, tmp_path)
        done = await asyncio.gather(*(get() for _ in range(6)))
        assert len(mirror.seen) == 1
    assert sorted(each.fetched for each in done) == [False] * 5 + [True]
    assert next(each for each in done if not each.fetched).words.endswith("was there already")


async def test_what_is_there_and_damaged_is_put_aside(tmp_path):
    async with serving({PATH: MODEL}) as mirror:
        get = Getting(mirror, tmp_path)
        prepare(get.place)
        get.place.path.write_bytes(MODEL[:-5])
        done = await get()
    assert get.content == MODEL
    assert done.quarantined.path.read_bytes() == MODEL[:-5]
    assert "is cut off" in json.loads(done.quarantined.note.read_text())["why"]


async def test_a_file_of_another_size_than_declared_counts_as_damaged(tmp_path):
    async with serving({PATH: MODEL}) as mirror:
        get = Getting(mirror, tmp_path, size=len(MODEL))
        prepare(get.place)
        get.place.path.write_bytes(safetensors())
        assert (await get()).quarantined


async def test_a_listener_that_fails_changes_nothing(tmp_path):
    def listener(_progress):
        raise ValueError("mine")

    async with serving({PATH: MODEL}) as mirror:
        get = Getting(mirror, tmp_path)
        await get(listener=listener)
    assert get.content == MODEL


async def test_a_download_that_is_cancelled_can_be_gone_on_with(tmp_path):
    hold = asyncio.Event()
    cut = 2 * 2**20 + 7
    async with serving({PATH: MODEL}, {"cut": cut, "hold": hold}) as mirror:
        get = Getting(mirror, tmp_path)
        task = asyncio.create_task(get(idle_seconds=30))
        await _begun(get.place.part)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        hold.set()
        assert MODEL.startswith(get.place.part.read_bytes())
        await get()
        assert mirror.asked[-1] is not None
    assert get.content == MODEL


async def _begun(path):
    """Wait until something of the file has come."""
    for _ in range(1_000):
        if path.exists() and path.stat().st_size:
            return
        await asyncio.sleep(0.03)
    pytest.fail("nothing came")


CHILD = """
import asyncio, sys
from holdfast.comfyui.models import ModelManager
url, root, host = sys.argv[1:]
manager = ModelManager(folder=root, trusted_hosts=[host], sources={"m.safetensors": url})
print("begun", flush=True)
asyncio.run(manager.ensure("m.safetensors", folder="checkpoints"))
print("done", flush=True)
"""


async def test_a_process_killed_in_the_middle_leaves_a_part_that_another_goes_on_with(tmp_path):
    hold = asyncio.Event()
    async with serving({PATH: MODEL}, {"cut": 2 * 2**20 + 5, "hold": hold}) as mirror:
        get = Getting(mirror, tmp_path)
        arguments = [sys.executable, "-c", CHILD, mirror.url + PATH, tmp_path, mirror.host]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / "src")}
        child = subprocess.Popen(arguments, env=environment)  # noqa: ASYNC220
        try:
            await _begun(get.place.part)
            # Nobody else fetches it meanwhile: the lock is held by a process that lives.
            waiting = asyncio.create_task(get())
            await asyncio.sleep(0.5)
            assert len(mirror.seen) == 1
            child.send_signal(signal.SIGKILL)
        finally:
            await asyncio.to_thread(child.wait)
            hold.set()
        done = await waiting
        assert mirror.asked[1].startswith("bytes=")
    assert done.fetched
    assert get.content == MODEL


async def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    async with serving({PATH: MODEL}) as mirror:
        get = Getting(mirror, tmp_path)
        (tmp_path / "checkpoints").write_bytes(b"a file in the way")
        with pytest.raises(ModelError, match=r"checkpoints/m\.safetensors cannot be written"):
            await get()


@pytest.mark.parametrize(
    "settings", [{"limit": 0}, {"retry": 3}, {"idle_seconds": -1}, {"listener": 7}]
)
def test_settings_that_cannot_work_are_refused(settings):
    with pytest.raises(BadInputError):
        DownloadSettings(**settings)
