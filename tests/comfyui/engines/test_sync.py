"""The twins for plain code do what the engines do, and Ctrl-C takes the job back."""

from __future__ import annotations

import asyncio
import signal
import threading
import time

import pytest

from holdfast.comfyui import ServerUnreachableError, Workflow
from holdfast.comfyui.blocking import SyncComfyUI
from holdfast.comfyui.engines import ImageEngine, SyncImageEngine, SyncVideoEngine, VideoEngine
from holdfast.errors import BadInputError
from tests.comfyui.engines.fleet import FAST, server
from tests.comfyui.graphs import painting

SMALL = {"width": 256, "height": 256, "steps": 2}


def test_a_picture_from_plain_code():
    heard = []
    with server("sd15") as one, SyncImageEngine(one.url, **FAST) as engine:
        made = engine.generate("a", on_progress=lambda *told: heard.append(told), **SMALL)
        many = engine.generate_many(["a", "b"], **SMALL)
        assert made.image.size == (256, 256)
        assert [each.image.size for each in many] == [(256, 256)] * 2
        assert heard[-1] == (1.0, "delivered")


def test_a_clip_from_plain_code():
    with server("ltxv") as one, VideoEngine.open(one.url, **FAST) as engine:
        assert isinstance(engine, SyncVideoEngine)
        assert engine.generate("a", frames=9, **SMALL).frames == 9
        assert engine.generate_many(["a"], frames=9, **SMALL)[0].frames == 9


def test_a_workflow_from_plain_code():
    with server(models={"checkpoints": ("sd15.safetensors",)}) as one:
        with SyncComfyUI(one.url, **FAST) as comfy:
            result = comfy.run(painting())
            assert result.images[0].width == 256
            with pytest.raises(BadInputError):
                comfy.run(Workflow({"1": {"class_type": "A", "inputs": {}}}), inputs={"x": 1})


def test_errors_come_through():
    with ImageEngine.open("http://127.0.0.1:9", **(FAST | {"reach_seconds": 0.2})) as engine:
        with pytest.raises(ServerUnreachableError):
            engine.generate("a")
        with pytest.raises(BadInputError, match="steps"):
            engine.generate("a", steps=0)


def test_it_works_where_a_loop_runs_as_in_a_notebook():
    async def cell(url):
        with SyncImageEngine(url, **FAST) as engine:
            return engine.generate("a", **SMALL)

    with server("sd15") as one:
        assert asyncio.run(cell(one.url)).images


def test_a_callback_that_calls_back_is_told_not_to(caplog):
    with server("sd15") as one, SyncImageEngine(one.url, **FAST) as engine:
        made = engine.generate("a", on_progress=lambda *_: engine.generate("b"), **SMALL)
    assert made.images
    assert "inside the portal's own thread" in caplog.text


def test_ctrl_c_takes_the_job_back():
    with server("sd15", step_seconds=0.2) as one, SyncImageEngine(one.url, **FAST) as engine:
        begun = threading.Event()

        def press():
            begun.wait(10)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        threading.Thread(target=press).start()

        def hear(_share, words):
            if words.startswith("step"):
                begun.set()

        before = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            engine.generate("a", on_progress=hear, width=256, height=256, steps=500)
        assert time.monotonic() - before < 15
        made = engine.generate("b", deadline=20, **SMALL)  # the server is free again
        assert made.images
    assert engine.engine.comfy.left_behind == []


def test_closing_twice_does_no_harm():
    engine = SyncImageEngine("http://127.0.0.1:9", **FAST)
    with engine:
        pass
    engine.close()
