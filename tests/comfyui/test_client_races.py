"""What went wrong once, or nearly: each case was seen before it was mended."""

from __future__ import annotations

import asyncio
import io
import json
import time

import aiohttp
import pytest
from aiohttp import web
from PIL import Image

from holdfast.comfyui import (
    ComfyUI,
    DeadlineError,
    FailureKind,
    OutputFile,
    Patience,
    RunResult,
    events,
    server,
)
from holdfast.comfyui.standin import Fault, StandIn, StandInConfig
from tests.comfyui.graphs import node, painting, picture
from tests.comfyui.proxies import proxied

QUICK = Patience(idle=1.2, ask=0.4, deaf=0.4, unanswered=1.5, absent=0.3, settle=2.0)


def seed_in(file: OutputFile) -> int:
    with Image.open(io.BytesIO(file.bytes)) as image:
        return json.loads(image.text["prompt"])["5"]["inputs"]["seed"]


def failures(result: RunResult) -> list[FailureKind]:
    return [each.failure.kind for each in result.attempts if each.failure is not None]


async def test_two_jobs_of_one_name_are_never_given_each_others_picture():
    freeze = Fault("freeze", node="KSampler", step=1, seconds=6.0)
    with (
        StandIn(StandInConfig(step_seconds=0.1, faults=(freeze,))) as first,
        StandIn(StandInConfig(step_seconds=0.01)) as second,
    ):
        async with ComfyUI(first.url, second.url, patience=QUICK, call_seconds=1.0) as comfy:
            one = await comfy.run(painting(), inputs={"seed": 111})
            assert one.server == second.url
            # What is left of job one on the frozen server is not what job two asked for.
            await asyncio.to_thread(second.kill)
            two = await comfy.run(painting(), inputs={"seed": 222}, deadline=30)
    assert two.server == first.url
    assert seed_in(one.images[0]) == 111
    assert seed_in(two.images[0]) == 222


async def test_a_server_that_makes_its_own_prompt_ids_runs_a_job_once():
    posts = 0

    async def forget_our_id(request: web.Request, body: bytes) -> bytes:
        nonlocal posts
        if request.path == "/prompt" and request.method == "POST":
            posts += 1
            asked = json.loads(body)
            del asked["prompt_id"]
            return json.dumps(asked).encode()
        return body

    with StandIn(StandInConfig(step_seconds=0.02)) as behind:
        async with proxied(behind.url, forget_our_id) as url, ComfyUI(url) as comfy:
            result = await comfy.run(painting(), deadline=20)
    assert posts == 1
    assert len(result.attempts) == 1


async def test_a_socket_that_goes_deaf_in_mid_run_costs_a_long_job_nothing():
    deaf = Fault("zombie_socket", node="KSampler", step=2)
    with StandIn(StandInConfig(step_seconds=0.25, faults=(deaf,))) as only:
        patience = Patience(idle=2.0, ask=0.4, deaf=0.4, unanswered=1.5)
        async with ComfyUI(only.url, patience=patience) as comfy:
            result = await comfy.run(painting(steps=16), deadline=30)
    assert failures(result) == []


async def test_a_frozen_server_holds_up_nobody_but_itself():
    with (
        StandIn(StandInConfig(step_seconds=0.0)) as frozen,
        StandIn(StandInConfig(step_seconds=0.0)) as healthy,
    ):
        frozen.freeze(15.0)
        began = time.monotonic()
        async with ComfyUI(frozen.url, healthy.url, call_seconds=5.0) as comfy:
            async with asyncio.TaskGroup() as group:
                for number in range(12):
                    group.create_task(comfy.run(picture(color=number)))
            took = time.monotonic() - began
    assert took < 4.0


async def test_a_submission_that_a_proxy_answered_502_is_looked_up_not_repeated():
    async def break_the_answer(request: web.Request, body: bytes) -> bytes | web.Response:
        if request.path == "/prompt" and request.method == "POST":
            async with (
                aiohttp.ClientSession() as session,
                session.post(f"{behind.url}/prompt", data=body) as answer,
            ):
                await answer.read()
            return web.Response(status=502, text="bad gateway")
        return body

    with StandIn(StandInConfig(step_seconds=0.02)) as behind:
        async with proxied(behind.url, break_the_answer) as url, ComfyUI(url) as comfy:
            result = await comfy.run(painting(), deadline=20)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"{behind.url}/history") as answer:
                    history = await answer.json()
    assert list(history) == [result.prompt_id]
    assert failures(result) == []


async def test_a_deadline_that_strikes_during_the_take_back_leaves_a_note():
    freeze = Fault("freeze", node="KSampler", step=3, seconds=9.0)
    with StandIn(StandInConfig(step_seconds=0.05, faults=(freeze,))) as only:
        async with ComfyUI(only.url, patience=QUICK, call_seconds=1.0) as comfy:
            with pytest.raises(DeadlineError):
                await comfy.run(painting(steps=400), deadline=4.0)
        assert [(job, url) for job, url, _why in comfy.left_behind] == [("painting", only.url)]


async def test_a_proxy_that_knows_no_backend_for_a_moment_condemns_nobody():
    away_until = 0.0

    async def away(_request: web.Request, body: bytes) -> bytes | web.Response:
        if time.monotonic() < away_until:
            return web.Response(status=404, text="404 page not found")
        return body

    with StandIn(StandInConfig(step_seconds=0.0)) as behind:
        async with proxied(behind.url, away) as url, ComfyUI(url, patience=QUICK) as comfy:
            await comfy.run(picture(1))
            away_until = time.monotonic() + 1.0
            result = await comfy.run(picture(2), deadline=20)
    assert len(result.images) == 1


async def test_a_server_busy_with_somebody_elses_job_is_not_called_unreachable():
    stall = Fault("freeze", node="KSampler", step=2, seconds=2.5)
    with StandIn(StandInConfig(step_seconds=0.1, faults=(stall,))) as only:
        seen: list[object] = []
        patience = Patience(idle=0.8, ask=0.3, deaf=0.4, unanswered=1.0, absent=0.3)
        async with ComfyUI(
            only.url,
            patience=patience,
            call_seconds=0.8,
            reach_seconds=1.5,
            canary_seconds=0.5,
            on_event=seen.append,
        ) as comfy:
            ours = asyncio.create_task(comfy.run(painting(steps=8), deadline=40))
            await asyncio.sleep(0.2)
            async with aiohttp.ClientSession() as somebody:
                body = {"prompt": painting(seed=9, steps=60).to_api(), "client_id": "else"}
                async with somebody.post(f"{only.url}/prompt", json=body) as answer:
                    assert answer.status == 200
            result = await ours
    assert FailureKind.STALLED in failures(result)
    assert any(isinstance(each, events.ServerUp) for each in seen)


async def test_a_queue_too_large_for_small_answers_is_still_read(monkeypatch):
    monkeypatch.setattr(server, "MAX_JSON_BYTES", 200_000)
    with StandIn(StandInConfig(step_seconds=0.02)) as only:
        async with ComfyUI(only.url) as comfy, aiohttp.ClientSession() as somebody:
            for number in range(10):
                body = {
                    "prompt": painting(seed=number, steps=5).to_api(),
                    "client_id": "else",
                    "extra_data": {"extra_pnginfo": {"workflow": "x" * 60_000}},
                }
                async with somebody.post(f"{only.url}/prompt", json=body) as answer:
                    assert answer.status == 200
            result = await comfy.run(picture(), deadline=30)
    assert failures(result) == []


async def test_a_queue_of_endless_parts_is_refused_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr(server, "MAX_SEPARATORS", 1_000_000)

    async def bomb(_request: web.Request, _body: bytes) -> web.Response:
        return web.Response(body=b'{"queue_running":[' + b"{}," * 700_000 + b"{}]}")

    with StandIn() as behind:
        async with proxied(behind.url, bomb) as url, ComfyUI(url) as comfy:
            with pytest.raises(server.AnswerError, match="too many parts"):
                await comfy.servers[0].queue()


async def test_one_address_written_in_three_ways_is_one_server():
    async with ComfyUI("http://gpu1:8188/", "http://gpu1:8188", "gpu1") as comfy:
        assert [each.name for each in comfy.servers] == ["http://gpu1:8188"]


async def test_a_workflow_that_shows_only_text_has_delivered_what_it_can():
    graph = picture().to_api()
    del graph["3"]
    graph["4"] = node("PreviewAny", source=["2", 0])

    async def with_text(request: web.Request, body: bytes) -> bytes | web.Response:
        if request.path.startswith("/history/"):
            prompt_id = request.path.rpartition("/")[2]
            entry = {
                "prompt": [1, prompt_id, {}, {}, ["4"]],
                "outputs": {"4": {"text": ["hello"]}},
                "status": {"messages": [["execution_success", {}]]},
            }
            return web.json_response({prompt_id: entry})
        if request.path == "/prompt":
            asked = json.loads(body)
            answer = {"prompt_id": asked["prompt_id"], "number": 1, "node_errors": {}}
            return web.json_response(answer)
        return body

    from holdfast.comfyui import Workflow

    with StandIn() as behind:
        async with proxied(behind.url, with_text) as url, ComfyUI(url) as comfy:
            result = await comfy.run(Workflow.from_api(graph), deadline=15)
    assert result.files == ()
