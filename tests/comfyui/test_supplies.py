"""A job whose model is missing or damaged waits for it, gets it, and says so."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.comfyui import Allowed, ComfyUI, FailureKind, ModelHint, WorkflowRejectedError
from holdfast.comfyui.models import ModelManager
from holdfast.comfyui.standin import StandIn, StandInConfig
from tests.comfyui.graphs import painting
from tests.comfyui.test_client_faults import QUICK, kinds

NAME = "lighthouse.safetensors"
HEADER = json.dumps(
    {
        "model.diffusion_model.input_blocks.0.0.weight": {
            "dtype": "F16",
            "shape": [1000],
            "data_offsets": [0, 2000],
        }
    }
).encode()
MODEL = struct.pack("<Q", len(HEADER)) + HEADER + bytes(2000)
WORKFLOW = painting().with_inputs({"ckpt_name": NAME})


class Shop(http.server.BaseHTTPRequestHandler):
    """One model."""

    def do_GET(self) -> None:
        found = self.path == f"/{NAME}"
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(MODEL) if found else 0))
        self.end_headers()
        if found:
            self.wfile.write(MODEL)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@contextlib.contextmanager
def serving(root: Path) -> Iterator[tuple[StandIn, Path]]:
    folder = root / "models"
    folder.mkdir()
    with StandIn(StandInConfig(folder=root, models={}, step_seconds=0.0)) as server:
        yield server, folder


def manager(url: str, folder: Path, shop: str, path: str = NAME) -> ModelManager:
    return ModelManager(
        url, folder=folder, sources={NAME: f"http://{shop}/{path}"}, trusted_hosts=[shop]
    )


async def test_a_model_no_server_has_is_fetched_while_the_job_waits(tmp_path, shop):
    with serving(tmp_path) as (server, folder):
        models = manager(server.url, folder, shop)
        async with ComfyUI(server.url, patience=QUICK, models=models) as comfy:
            result = await comfy.run(WORKFLOW, strict=True)
            again = await comfy.run(WORKFLOW)
    assert kinds(result) == [FailureKind.REJECTED]
    assert len(result.files) == 1
    (told,) = result.degradations
    assert NAME in told
    assert (kinds(again), again.degradations) == ([], ())


async def test_where_the_workflows_author_says_it_can_be_had_is_believed(tmp_path, shop):
    hint = ModelHint(NAME, f"http://{shop}/{NAME}", "checkpoints", "", "")
    odd = ModelHint("../../x", "file:///etc/passwd", "", "", "")
    with serving(tmp_path) as (server, folder):
        models = ModelManager(server.url, folder=folder, trusted_hosts=[shop])
        async with ComfyUI(server.url, patience=QUICK, models=models) as comfy:
            result = await comfy.run(replace(WORKFLOW, models_hinted=(odd, hint)))
    assert NAME in result.degradations[0]


async def test_a_damaged_model_is_mended_while_the_job_waits(tmp_path, shop):
    with serving(tmp_path) as (server, folder):
        (folder / "checkpoints").mkdir()
        path = folder / "checkpoints" / NAME
        path.write_bytes(MODEL[:-700])
        models = manager(server.url, folder, shop)
        async with ComfyUI(server.url, patience=QUICK, models=models) as comfy:
            result = await comfy.run(WORKFLOW)
        assert path.read_bytes() == MODEL
    assert FailureKind.NODE_ERROR in kinds(result)
    assert NAME in result.degradations[0]


async def test_what_cannot_be_fetched_is_told_and_the_declared_fallback_taken(tmp_path, shop):
    with serving(tmp_path) as (server, folder):
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / "other.safetensors").write_bytes(MODEL)
        models = manager(server.url, folder, shop, "not-there")
        allowed = Allowed(fallbacks={NAME: ["other.safetensors"]})
        async with ComfyUI(server.url, patience=QUICK, models=models) as comfy:
            with pytest.raises(WorkflowRejectedError):
                await comfy.run(WORKFLOW)
            result = await comfy.run(WORKFLOW, allowed=allowed)
    assert "other.safetensors" in result.degradations[0]
    assert any("not supplied" in note for note in result.notes)


async def test_it_is_asked_for_once_a_job(tmp_path, shop):
    asked = []

    class Empty(ModelManager):
        async def ensure(self, *arguments, **settings):
            asked.append(arguments)
            await asyncio.sleep(0)
            return await super().ensure(*arguments, **settings)

    with serving(tmp_path) as (server, folder):
        models = Empty(server.url, folder=folder)
        async with ComfyUI(server.url, patience=QUICK, models=models) as comfy:
            with pytest.raises(WorkflowRejectedError):
                await comfy.run(WORKFLOW)
    assert len(asked) == 1
