"""Files on a Hugging Face hub, asked of a hub that the test is itself."""

from __future__ import annotations

import hashlib
import importlib.util
import os

import huggingface_hub
import pytest
from aiohttp import web

from holdfast.comfyui.models.download import DownloadSettings, fetch
from holdfast.comfyui.models.errors import (
    DownloadBrokenError,
    DownloadError,
    DownloadRefusedError,
    ModelDamagedError,
)
from holdfast.comfyui.models.gate import Gate
from holdfast.comfyui.models.hub import HubFile, hub_file, locate
from holdfast.comfyui.models.places import ModelsFolder
from holdfast.comfyui.models.sources import Source
from tests.comfyui.models.mirror import serving
from tests.comfyui.models.test_download import again
from tests.comfyui.models.weights import safetensors

MODEL = safetensors()
SHA = hashlib.sha256(MODEL).hexdigest()
SOURCE = Source("hf://owner/repo@v1.0/sub/m.safetensors")
RESOLVED = "/owner/repo/resolve/v1.0/sub/m.safetensors"


class Hub:
    """What the hub says; it sends on to a store of its own, as the real one does."""

    def __init__(self, store):
        self.store, self.sha, self.status, self.error = store, SHA, 302, None
        self.seen = []

    def __call__(self, request):
        self.seen.append(request)
        headers = {
            "Location": f"{self.store.url}/store",
            "X-Linked-Etag": f'"{self.sha}"',
            "X-Linked-Size": str(len(MODEL)),
            "X-Repo-Commit": "c" * 40,
        }
        if self.status != 302:
            headers = {"X-Error-Code": self.error} if self.error else {}
        return web.Response(status=self.status, headers=headers)


@pytest.fixture
async def hub(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    async with serving({"/store": MODEL}) as store, serving() as mirror:
        mirror.handler = Hub(store)
        monkeypatch.setenv("HF_ENDPOINT", mirror.url)
        yield mirror.handler


def getting(hub, root, source=SOURCE, **tokens):
    gate = Gate.of([hub.store.host], tokens)
    place = ModelsFolder(root).place("checkpoints", "m.safetensors")
    return fetch(place, source, DownloadSettings(gate, again(2)))


async def test_a_file_on_a_hub_is_found_fetched_and_checked(hub, tmp_path):
    done = await getting(hub, tmp_path)
    assert done.path.read_bytes() == MODEL
    assert done.check.sha256 == SHA
    assert [(each.method, each.path) for each in hub.seen] == [
        ("HEAD", RESOLVED),
        ("GET", RESOLVED),
    ]
    assert len(hub.store.seen) == 1


async def test_size_and_hash_are_known_before_a_byte_is_fetched(hub):
    found = await locate(SOURCE)
    assert (found.size, found.sha256) == (len(MODEL), SHA)
    assert not hub.store.seen
    hub.sha = "a-git-hash-of-a-small-file"
    assert (await locate(SOURCE)).sha256 is None


async def test_the_hub_s_login_goes_to_the_hub_alone(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_of_the_user")
    await getting(hub, tmp_path)
    assert [each.headers["Authorization"] for each in hub.seen] == ["Bearer hf_of_the_user"] * 2
    assert "Authorization" not in hub.store.seen[0].headers


async def test_the_hash_the_hub_knows_is_checked(hub, tmp_path):
    hub.sha = "0" * 64
    with pytest.raises(ModelDamagedError, match="has the hash"):
        await getting(hub, tmp_path)


async def test_a_link_to_the_hub_s_own_page_means_the_same(hub, tmp_path):
    source = Source(os.environ["HF_ENDPOINT"] + "/owner/repo/blob/main/sub/m.safetensors")
    done = await getting(hub, tmp_path, source)
    assert done.check.sha256 == SHA
    assert hub.seen[0].path == "/owner/repo/resolve/main/sub/m.safetensors"


@pytest.mark.parametrize(
    ("status", "error", "kind", "why"),
    [
        (404, "EntryNotFound", DownloadRefusedError, "owner/repo has no file sub/m.safetensors"),
        (404, "RepoNotFound", DownloadRefusedError, "is not there, or wants a login"),
        (404, "RevisionNotFound", DownloadRefusedError, "at v1.0 is not there"),
        (403, "GatedRepo", DownloadRefusedError, "asks for its terms to be accepted"),
        (403, None, DownloadRefusedError, "HTTP 403"),
        (503, None, DownloadBrokenError, "HTTP 503"),
    ],
)
async def test_what_the_hub_refuses_is_told(hub, tmp_path, *, status, error, kind, why):
    hub.status, hub.error = status, error
    with pytest.raises(kind, match=why):
        await getting(hub, tmp_path)
    assert not hub.store.seen


async def test_a_hub_that_is_not_there_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(DownloadBrokenError, match="could not be asked") as raised:
        await again(2).execute(locate, SOURCE)
    assert "attempt 2" in str(getattr(raised.value, "__notes__", ""))


async def test_without_the_library_only_its_own_addresses_need_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(DownloadError, match=r"pip install 'holdfast\[models\]'"):
        await locate(SOURCE)
    open_file = Source("https://huggingface.co/o/r/resolve/main/a.safetensors")
    assert (await locate(open_file)).url == open_file.url


def test_addresses_of_hubs_are_read():
    assert hub_file("hf://o/r/a/b.pt") == HubFile("o/r", "a/b.pt", "main")
    assert hub_file("hf://o/r@refs%2Fpr%2F1/a%20b.pt") == HubFile("o/r", "a b.pt", "refs/pr/1")
    link = "https://huggingface.co/o/r/resolve/main/a%20b.pt?download=true"
    assert hub_file(link) == HubFile("o/r", "a b.pt", "main")
    assert hub_file("https://huggingface.co.evil.example/o/r/resolve/main/a.pt") is None
    assert hub_file("https://huggingface.co/o/r") is None
    with pytest.raises(DownloadRefusedError, match="must be written hf://"):
        hub_file("hf://nobody")
