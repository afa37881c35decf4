"""POST /prompt: what is accepted, under which id and number, and what is not understood."""

from __future__ import annotations

import asyncio
import io
import json
import math
import uuid
from collections.abc import Callable

import pytest

from tests.conformance.client import Client
from tests.conformance.graphs import CHANCE, branches, preview, save
from tests.conformance.recorder import QUIET, Recorder

pytestmark = pytest.mark.conformance


async def test_an_accepted_graph_is_answered_with_id_number_and_no_errors(client: Client):
    answer = await client.submit(preview())

    assert set(answer) == {"prompt_id", "number", "node_errors"}
    assert str(uuid.UUID(answer["prompt_id"])) == answer["prompt_id"]
    assert isinstance(answer["number"], int)
    assert answer["node_errors"] == {}


async def test_prompt_can_be_posted_under_api(client: Client):
    reply = await client.post("/api/prompt", json={"prompt": preview()})

    assert reply.status == 200
    assert (await client.history(reply.json["prompt_id"]))["status"]["completed"] is True


async def test_numbers_rise_by_one(client: Client):
    numbers = [(await client.submit(preview()))["number"] for _ in range(3)]

    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]


async def test_a_refused_graph_uses_up_a_number(client: Client):
    before = (await client.submit(preview()))["number"]
    await client.post("/prompt", json={"prompt": {}})
    await client.post("/prompt", json={})

    assert (await client.submit(preview()))["number"] == before + 3


async def test_many_submissions_at_once_get_numbers_of_their_own(client: Client):
    answers = await asyncio.gather(*(client.submit(preview()) for _ in range(20)))

    numbers = sorted(answer["number"] for answer in answers)
    assert numbers == list(range(numbers[0], numbers[0] + 20))


@pytest.mark.parametrize(("sent", "received"), [(123456, 123456.0), ("7.5", 7.5), (-3, -3.0)])
async def test_a_number_that_is_sent_is_used_as_a_float(client: Client, sent, received):
    answer = await client.submit(preview(), number=sent)

    assert answer["number"] == received
    assert isinstance(answer["number"], float)
    assert (await client.history(answer["prompt_id"]))["prompt"][0] == received


async def test_a_number_that_is_sent_uses_up_none_of_the_servers(client: Client):
    before = (await client.submit(preview()))["number"]
    await client.submit(preview(), number=1)

    assert (await client.submit(preview()))["number"] == before + 1


async def test_not_a_number_is_accepted_and_answered_with_invalid_json(client: Client):
    graph = json.dumps(preview())
    reply = await client.post("/prompt", data=f'{{"prompt": {graph}, "number": NaN}}')

    assert reply.status == 200
    assert b": NaN" in reply.body
    assert math.isnan(reply.json["number"])


async def test_front_makes_the_number_negative(client: Client):
    before = (await client.submit(preview()))["number"]

    assert (await client.submit(preview(), front=True))["number"] == -(before + 1)
    assert (await client.submit(preview(), front=False))["number"] == before + 2


async def test_a_prompt_id_that_is_sent_is_used(client: Client):
    wanted = f"conf-{uuid.uuid4()}"

    assert (await client.submit(preview(), prompt_id=wanted))["prompt_id"] == wanted
    assert (await client.history(wanted))["prompt"][1] == wanted


@pytest.mark.parametrize("sent", [12345, None, True, 1.5, "", {"a": 1}, ["a"]], ids=repr)
async def test_a_prompt_id_of_any_kind_becomes_its_text(client: Client, sent):
    assert (await client.submit(preview(), prompt_id=sent))["prompt_id"] == str(sent)


async def test_the_same_prompt_id_twice_runs_twice_and_history_keeps_the_last(
    client: Client, socket: Recorder
):
    wanted = f"conf-{uuid.uuid4()}"
    first, second = preview(), preview()

    run = await client.run(first, socket, prompt_id=wanted)
    again = await client.run(second, socket, prompt_id=wanted)

    assert run.prompt_id == again.prompt_id == wanted
    assert again.number == run.number + 1
    entry = await client.history(wanted)
    assert entry["prompt"][0] == again.number
    assert entry["prompt"][2]["1"]["inputs"] == second["1"]["inputs"]


async def test_the_content_type_does_not_matter(client: Client):
    body = json.dumps({"prompt": preview()})
    reply = await client.post("/prompt", data=body, headers={"Content-Type": "text/plain"})

    assert reply.status == 200


async def test_unknown_keys_are_ignored(client: Client):
    assert (await client.submit(preview(), whatever=[1, 2]))["node_errors"] == {}


async def test_partial_execution_targets_choose_the_outputs(client: Client):
    run = await client.run(branches(), partial_execution_targets=["6"])

    assert set(run.outputs()) == {"6"}
    assert run.executing == ["1", "2", "3", "6", None]
    assert (await client.history(run.prompt_id))["prompt"][4] == ["6"]


async def test_partial_execution_targets_that_are_no_outputs_are_no_outputs(client: Client):
    reply = await client.post(
        "/prompt", json={"prompt": preview(), "partial_execution_targets": ["1", "77"]}
    )

    assert reply.status == 400
    assert reply.json["error"]["type"] == "prompt_no_outputs"


async def test_extra_data_is_kept_and_the_client_id_is_put_into_it(
    client: Client, socket: Recorder
):
    run = await client.run(preview(), socket, extra_data={"mine": {"a": [1]}})

    kept = (await client.history(run.prompt_id))["prompt"][3]
    assert kept == {"mine": {"a": [1]}, "client_id": socket.client_id}


async def test_credentials_in_extra_data_do_not_reach_the_history(client: Client):
    answer = await client.submit(
        preview(),
        extra_data={"auth_token_comfy_org": "x", "api_key_comfy_org": "y", "other": "z"},
    )

    assert (await client.history(answer["prompt_id"]))["prompt"][3] == {"other": "z"}


async def test_extra_data_that_is_a_list_is_accepted_and_fails_at_the_output(client: Client):
    # Both of ComfyUI's image outputs look up extra_pnginfo in it, which a list cannot answer.
    answer = await client.submit(preview(), extra_data=[])

    entry = await client.history(answer["prompt_id"])
    assert entry["prompt"][3] == []
    assert entry["status"]["status_str"] == "error"
    message, data = entry["status"]["messages"][-1]
    assert message == "execution_error"
    assert (data["node_id"], data["exception_type"]) == ("2", "AttributeError")


@pytest.mark.parametrize("body", ["{}", "[]", '"x"', '{"graph": {}}'])
async def test_a_body_without_a_prompt_is_no_prompt(client: Client, body):
    reply = await client.post("/prompt", data=body)

    assert reply.status == 400
    assert reply.json == {
        "error": {
            "type": "no_prompt",
            "message": "No prompt provided",
            "details": "No prompt provided",
            "extra_info": {},
        },
        "node_errors": {},
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"not json",
        b'{"prompt": "\xff"}',
        b"null",
        b"5",
        b'{"prompt": null}',
        b'{"prompt": "hello"}',
        b'{"prompt": {}, "number": "abc"}',
        b'{"prompt": {}, "number": null}',
        b'{"prompt": {"1": null}}',
        b'{"prompt": {"1": 5}}',
    ],
    ids=repr,
)
async def test_a_body_that_is_not_understood_is_an_internal_error(client: Client, body):
    reply = await client.post("/prompt", data=body)

    assert reply.status == 500
    assert reply.content_type == "text/plain"
    assert reply.text == "500 Internal Server Error\n\nServer got itself in trouble"
    assert reply.headers.get("Connection") == "close"
    assert await client.remaining() == 0


async def test_same_number_and_id_but_another_graph_is_an_internal_error_yet_queued(
    client: Client, occupy: Callable
):
    await occupy()
    name = f"conf-{uuid.uuid4()}"
    same = {"prompt_id": name, "number": CHANCE.randrange(10**6, 10**7)}

    assert (await client.post("/prompt", json={"prompt": preview()} | same)).status == 200
    reply = await client.post("/prompt", json={"prompt": preview()} | same)

    assert (reply.status, reply.content_type) == (500, "text/plain")
    assert [item[1] for item in (await client.queue())[1]] == [name, name]


async def test_same_number_and_id_and_graph_is_queued_twice(client: Client, occupy: Callable):
    await occupy()
    name = f"conf-{uuid.uuid4()}"
    body = {
        "prompt": preview(),
        "prompt_id": name,
        "number": CHANCE.randrange(10**6, 10**7),
    }

    statuses = [(await client.post("/prompt", json=body)).status for _ in range(2)]

    assert statuses == [200, 200]
    assert [item[1] for item in (await client.queue())[1]] == [name, name]


async def test_a_body_above_the_limit_is_too_large(client: Client):
    limit = (await client.get("/features")).json["max_upload_size"]
    reply = await client.post("/prompt", data=io.BytesIO(b" " * (limit + 1)))

    assert reply.status == 413
    assert reply.content_type == "text/plain"
    assert await client.remaining() == 0


async def test_jobs_run_in_the_order_they_came(client: Client, socket: Recorder):
    ids = [(await client.submit(save(), client_id=socket.client_id))["prompt_id"] for _ in range(5)]
    await socket.wait_end(ids[-1])

    assert [data["prompt_id"] for data in socket.of("execution_start")] == ids
    order = [frame.prompt_id for frame in socket.frames if frame.prompt_id]
    assert order == sorted(order, key=ids.index), "one job's messages lie between another's"


async def test_what_waits_runs_by_number_then_id(
    client: Client, socket: Recorder, occupy: Callable
):
    blocker = await occupy()
    tag = uuid.uuid4().hex
    high = CHANCE.randrange(10**6, 10**7)
    mine = {"client_id": socket.client_id}
    await client.submit(preview(), prompt_id=f"{tag}-e", number=high + 1, **mine)
    await client.submit(preview(), prompt_id=f"{tag}-d", number=high, **mine)
    await client.submit(preview(), prompt_id=f"{tag}-c", number=high, **mine)
    await client.submit(preview(), prompt_id=f"{tag}-b", **mine)
    await client.submit(preview(), prompt_id=f"{tag}-a", front=True, **mine)
    await client.stop(blocker)
    await socket.wait_end(f"{tag}-e")

    started = [data["prompt_id"][-1] for data in socket.of("execution_start")]
    assert started == ["a", "b", "c", "d", "e"]


async def test_a_refused_graph_tells_sockets_nothing(client: Client, socket: Recorder):
    before = len(socket.frames)
    await client.post("/prompt", json={"prompt": {}, "client_id": socket.client_id})
    await asyncio.sleep(QUIET)

    assert socket.frames[before:] == []
    assert await client.queue() == ([], [])
