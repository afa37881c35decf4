"""Files on a Hugging Face hub, asked of a hub that the test is itself."""

from __future__ import annotations

import hashlib
import importlib.util

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


@pytest.fixture
async def hub(monkeypatch):
    """A hub that sends on to a store of its own, as the real one does."""
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    async with serving({"/store": MODEL}) as store, serving() as hub:
        answers = {"sha": SHA, "error": None, "status": 302}

        async def answer(request):
            hub.seen.append(request)
            if answers["error"]:
                return web.Response(
                    status=answers["status"], headers={"X-Error-Code": answers["error"]}
                )
            if answers["status"] != 302:
                return web.Response(status=answers["status"])
            headers = {
                "Location": f"{store.url}/store",
                "X-Linked-Etag": f'"{answers["sha"]}"',
                "X-Linked-Size": str(len(MODEL)),
                "X-Repo-Commit": "c" * 40,
            }
            return web.Response(status=302, headers=headers)

        hub.answer = answer
        monkeypatch.setattr(
            "tests.comfyui.models.mirror.Mirror.answer",
            lambda self, request: (
                answer(request) if self is hub else ORIGINAL(self, request)
            ),
        )
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.answers, hub.store = answers, store
        yield hub
