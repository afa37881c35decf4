"""The HTTP side as clients see it, over real sockets, with stand-in servers behind."""

from __future__ import annotations

import asyncio
import json

import pytest

from holdfast.comfyui.standin import StandIn, StandInConfig
from holdfast.stores.jobs import JobState
from tests.comfyui.gateway.http_house import house
from tests.comfyui.graphs import node, painting, picture

BOTH = ("", "/api")
ANN, BOB = {"x-user": "ann"}, {"x-user": "bob"}


def body(workflow=None, **more):
    return {"prompt": (workflow or picture()).to_api(), "client_id": "me", **more}


@pytest.fixture(scope="module")
def server():
    with StandIn(StandInConfig(step_seconds=0.005)) as found:
        yield found


async def test_a_prompt_is_on_disk_when_it_is_answered_and_ends_in_the_history(tmp_path, server):
    async with house(tmp_path, [server]) as home:
        said = await home.client.post("/prompt", json=body(prompt_id="mine-1"))
        assert said.status_code == 200
        assert said.json() == {"prompt_id": "mine-1", "number": 1, "node_errors": {}}
        assert home.store.job("mine-1").state is JobState.QUEUED
        assert [each.id for each in home.accepted] == ["mine-1"]
        assert (await home.client.get("/prompt")).json() == {"exec_info": {"queue_remaining": 1}}
        queue = (await home.client.get("/api/queue")).json()
        ((number, job_id, graph, extra, outputs),) = queue["queue_pending"]
        assert (number, job_id, outputs) == (1, "mine-1", ["3"])
        assert graph == picture().to_api()
        assert extra["client_id"] == "me"
        assert (await home.client.get("/history/mine-1")).json() == {}
        async with home.working():
            entry = await home.ended("mine-1")
        assert entry["status"]["status_str"] == "success"
        assert entry["status"]["completed"] is True
        assert [each[0] for each in entry["status"]["messages"]][-1] == "execution_success"
        assert entry["holdfast"]["server"] == server.url
        (image,) = entry["outputs"]["3"]["images"]
        shown = await home.client.get("/view", params=image)
        assert shown.headers["content-type"] == "image/png"
        assert shown.content.startswith(b"\x89PNG")
        assert (await home.client.get("/prompt")).json() == {"exec_info": {"queue_remaining": 0}}
        listed = (await home.client.get("/api/jobs?status=completed&limit=10&offset=0")).json()
        (job,) = listed["jobs"]
        assert job["status"] == "completed"
        assert job["preview_output"] == {**image, "nodeId": "3", "mediaType": "images"}
        assert listed["pagination"] == {"offset": 0, "limit": 10, "total": 1, "has_more": False}
        whole = (await home.client.get("/api/jobs/mine-1")).json()
        assert whole["outputs"] == entry["outputs"]
        assert whole["workflow"]["prompt"] == graph


async def test_the_same_prompt_again_is_the_same_job_and_another_one_is_refused(tmp_path, server):
    async with house(tmp_path, [server]) as home:
        asked = [home.client.post("/prompt", json=body(prompt_id="x")) for _ in range(8)]
        answers = await asyncio.gather(*asked)
        assert {each.status_code for each in answers} == {200}
        assert {each.text for each in answers} == {answers[0].text}
        other = await home.client.post("/prompt", json=body(picture(color=9), prompt_id="x"))
        assert other.status_code == 400
        assert other.json()["error"]["type"] == "prompt_id_in_use"
        foreign = await home.client.post("/prompt", json=body(prompt_id="x"), headers=ANN)
        assert foreign.json()["error"]["type"] == "prompt_id_in_use"
        key = {"idempotency-key": "k1"}
        twice = [await home.client.post("/prompt", json=body(), headers=key) for _ in range(2)]
        assert twice[0].json()["prompt_id"] == twice[1].json()["prompt_id"]
        assert sum(home.store.counts().values()) == 2


async def test_a_bad_prompt_is_refused_in_the_servers_words_and_leaves_nothing(tmp_path, server):
    async with house(tmp_path, [server]) as home:
        wrong = picture().to_api()
        wrong["1"]["inputs"]["width"] = 0
        ours = await home.client.post("/prompt", json={"prompt": wrong})
        async with asyncio.timeout(10):
            theirs = await home.client.post(f"{server.url}/prompt", json={"prompt": wrong})
        assert ours.status_code == theirs.status_code == 400
        assert ours.json() == theirs.json()
        for raw in (
            b"",
            b"null",
            b'{"prompt": {"1": ',
            b'{"prompt": null}',
            b"\xff",
            b"[" * 100_000,
        ):
            said = await home.client.post("/api/prompt", content=raw)
            assert said.status_code == 400
            assert set(said.json()) == {"error", "node_errors"}
        poison = await home.client.post("/prompt", json=body() | {"client_id": ["a"]})
        assert poison.json()["error"]["type"] == "invalid_client_id"
        assert home.store.counts()[JobState.QUEUED] == 0


async def test_of_two_outputs_the_good_one_runs_and_the_errors_of_the_other_are_told(
    tmp_path, server
):
    graph = picture().to_api()
    graph["7"] = node("EmptyImage", width=0, height=64, batch_size=1, color=1)
    graph["8"] = node("PreviewImage", images=["7", 0])
    async with house(tmp_path, [server]) as home:
        said = await home.client.post("/prompt", json={"prompt": graph})
        assert said.status_code == 200
        assert said.json()["node_errors"]["7"]["errors"][0]["type"] == "value_smaller_than_min"
        assert home.store.body(said.json()["prompt_id"])["targets"] == ["3"]


async def test_a_prompt_is_taken_while_no_server_can_be_reached(tmp_path):
    async with house(tmp_path, ["http://127.0.0.1:9"]) as home:
        said = await home.client.post("/prompt", json=body())
        assert said.status_code == 200
        assert (await home.client.get("/object_info")).status_code == 503
        passed = await home.client.get("/system_stats")
        assert passed.status_code == 503
        assert passed.headers["retry-after"] == "5"
        assert passed.json()["error"]["type"] == "unavailable"


async def test_what_servers_know_is_served_after_a_restart_without_them(tmp_path):
    with StandIn(StandInConfig()) as one:
        url = one.url
        async with house(tmp_path, [one]) as home:
            before = (await home.client.get("/object_info")).json()
            assert (await home.client.get("/api/object_info/KSampler")).json() == {
                "KSampler": before["KSampler"]
            }
    async with house(tmp_path, [url]) as home:
        assert (await home.client.get("/object_info")).json() == before
        unknown = {"1": node("NoSuchNode")}
        said = await home.client.post("/prompt", json={"prompt": unknown})
        assert said.json()["error"]["message"].endswith("NoSuchNode does not exist.")


async def test_models_of_all_servers_are_offered_and_one_server_that_has_it_is_enough(tmp_path):
    lacking = StandInConfig(without_models=frozenset({"sd15.safetensors"}))
    with StandIn(lacking) as one, StandIn(StandInConfig()) as two:
        async with house(tmp_path, [one, two]) as home:
            info = (await home.client.get("/object_info")).json()
            choices = info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0]
            assert "sd15.safetensors" in choices
            said = await home.client.post("/prompt", json={"prompt": painting().to_api()})
            assert said.status_code == 200
            graph = painting().to_api()
            graph["1"]["inputs"]["ckpt_name"] = "nobody-has-it.safetensors"
            said = await home.client.post("/prompt", json={"prompt": graph})
            (error,) = said.json()["node_errors"]["1"]["errors"]
            assert error["type"] == "value_not_in_list"


@pytest.mark.parametrize("prefix", BOTH)
async def test_users_see_and_cancel_only_what_is_theirs(tmp_path, server, prefix):
    async with house(tmp_path, [server]) as home:
        ids = {}
        for who in (ANN, BOB):
            said = await home.client.post(f"{prefix}/prompt", json=body(), headers=who)
            ids[who["x-user"]] = said.json()["prompt_id"]
        queue = (await home.client.get(f"{prefix}/queue", headers=ANN)).json()
        assert [each[1] for each in queue["queue_pending"]] == [ids["ann"]]
        assert (
            await home.client.get(f"{prefix}/jobs/{ids['bob']}", headers=ANN)
        ).status_code == 404
        await home.client.post(f"{prefix}/queue", json={"delete": [ids["bob"]]}, headers=ANN)
        await home.client.post(f"{prefix}/queue", json={"clear": True}, headers=ANN)
        said = await home.client.post(f"{prefix}/jobs/{ids['bob']}/cancel", headers=ANN)
        assert said.json() == {"cancelled": False}
        assert home.store.job(ids["ann"]).state is JobState.CANCELLED
        assert home.store.job(ids["bob"]).state is JobState.QUEUED
        # What never ran leaves no trace, as on a server.
        assert (await home.client.get(f"{prefix}/history", headers=ANN)).json() == {}
        batch = {"job_ids": [ids["ann"], ids["bob"]]}
        said = await home.client.post(f"{prefix}/jobs/cancel", json=batch, headers=BOB)
        assert said.json() == {"cancelled": True}
        assert home.store.job(ids["bob"]).state is JobState.CANCELLED


async def test_without_the_scope_nothing_is_done(tmp_path, server):
    async with house(tmp_path, [server]) as home:
        looker = {"x-user": "eve:view"}
        for path, sent in (
            ("/prompt", body()),
            ("/queue", {"clear": True}),
            ("/interrupt", {}),
            ("/free", {"unload_models": True}),
            ("/upload/image", {}),
            ("/settings/x", {}),
        ):
            said = await home.client.post(path, json=sent, headers=looker)
            assert said.status_code == 403, path
        assert (await home.client.get("/queue", headers=looker)).status_code == 200


async def test_an_interrupt_stops_the_running_job_and_history_says_so(tmp_path):
    with StandIn(StandInConfig(step_seconds=0.2)) as slow:
        async with house(tmp_path, [slow]) as home, home.working():
            said = await home.client.post("/prompt", json=body(painting(steps=100)))
            job_id = said.json()["prompt_id"]
            async with asyncio.timeout(20):
                while not (await home.client.get("/queue")).json()["queue_running"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
            assert (await home.client.post("/interrupt")).status_code == 200
            entry = await home.ended(job_id)
            assert entry["status"]["status_str"] == "error"
            assert entry["status"]["messages"][-1][0] == "execution_interrupted"
            (job,) = (await home.client.get("/api/jobs?status=cancelled")).json()["jobs"]
            assert job["id"] == job_id


async def test_a_full_queue_is_answered_429_with_a_time(tmp_path, server):
    async with house(tmp_path, [server], store={"max_queued": 1}) as home:
        assert (await home.client.post("/prompt", json=body())).status_code == 200
        full = await home.client.post("/prompt", json=body())
        assert full.status_code == 429
        assert int(full.headers["retry-after"]) >= 1
        assert full.json()["error"]["type"] == "queue_full"


async def test_as_the_queue_fills_jobs_for_its_front_are_turned_away_last(tmp_path, server):
    async with house(tmp_path, [server], store={"max_queued": 3}) as home:
        for front, status in ((False, 200), (False, 200), (False, 429), (True, 200), (True, 429)):
            said = await home.client.post("/prompt", json=body() | {"front": front})
            assert said.status_code == status


async def test_a_key_that_comes_with_another_body_is_refused_and_with_the_same_is_not(
    tmp_path, server
):
    async with house(tmp_path, [server]) as home:
        key = {"Idempotency-Key": "k"}
        one, other = body(picture(color=1)), body(picture(color=2))
        first = await home.client.post("/prompt", json=one, headers=key)
        again = await home.client.post("/prompt", json=one, headers=key)
        assert again.json()["prompt_id"] == first.json()["prompt_id"]
        refused = await home.client.post("/prompt", json=other, headers=key)
        assert refused.status_code == 422
        assert refused.json()["error"]["type"] == "idempotency_key_reused"
        assert (await home.client.post("/prompt", json=other)).status_code == 200
        assert len(home.store.jobs()) == 2


async def test_history_is_paged_from_the_end_and_can_be_forgotten(tmp_path, server):
    async with house(tmp_path, [server]) as home:
        ids = []
        for color in range(4):
            said = await home.client.post("/prompt", json=body(picture(color=color)))
            ids.append(said.json()["prompt_id"])
        async with home.working():
            for each in ids:
                await home.ended(each)
        assert list((await home.client.get("/history")).json()) == ids
        assert list((await home.client.get("/history?max_items=2")).json()) == ids[2:]
        assert list((await home.client.get("/history?max_items=2&offset=1")).json()) == ids[1:3]
        bad = await home.client.get("/history?max_items=abc")
        assert bad.status_code == 400
        await home.client.post("/history", json={"delete": [ids[1]]})
        assert list((await home.client.get("/history")).json()) == [ids[0], *ids[2:]]
        assert (await home.client.get(f"/history/{ids[1]}")).json() == {}
        await home.client.post("/history", json={"clear": True})
        assert (await home.client.get("/history")).json() == {}
        assert (await home.client.get("/api/jobs")).json()["jobs"] == []


async def test_secrets_for_the_server_are_never_shown(tmp_path, server):
    async with house(tmp_path, [server]) as home:
        secret = {"api_key_comfy_org": "sk-1", "auth_token_comfy_org": "tok-2"}
        said = await home.client.post("/prompt", json=body(extra_data=secret))
        job_id = said.json()["prompt_id"]
        async with home.working():
            await home.ended(job_id)
        for path in ("/queue", "/history", "/api/jobs", f"/api/jobs/{job_id}"):
            text = (await home.client.get(path)).text
            assert "sk-1" not in text
            assert "tok-2" not in text
        assert json.dumps(home.store.body(job_id)).count("sk-1") == 1
