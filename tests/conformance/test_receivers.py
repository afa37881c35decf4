"""Who is told: the submitter's newest socket, everyone, or nobody."""

from __future__ import annotations

import asyncio
import re
import struct
import uuid
from collections.abc import Callable

import pytest

from tests.conformance.client import Client
from tests.conformance.graphs import CHANCE, SlowGraph, empty_image, failing, node, preview, save
from tests.conformance.recorder import QUIET, Recorder

pytestmark = pytest.mark.conformance

FLAGS = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}


@pytest.mark.parametrize("path", ["/ws", "/api/ws"])
async def test_the_first_frame_is_the_status_with_the_sockets_id(client: Client, path):
    name = uuid.uuid4().hex
    socket = await client.connect(name, path=path)

    first = socket.frames[0]
    assert first.kind == "status"
    assert first.data == {"status": {"exec_info": {"queue_remaining": 0}}, "sid": name}


async def test_a_socket_without_an_id_is_given_one(client: Client):
    socket = await client.connect("")

    assert re.fullmatch(r"[0-9a-f]{32}", socket.frames[0].data["sid"])


async def test_a_given_id_can_be_submitted_under(client: Client):
    socket = await client.connect("")
    socket.client_id = socket.frames[0].data["sid"]

    run = await client.run(preview(), socket)
    assert "execution_success" in run.kinds


async def test_only_the_first_status_bears_the_sid(client: Client, socket: Recorder):
    await client.run(preview(), socket)

    assert ["sid" in data for data in socket.of("status")] == [True, False, False, False]


@pytest.mark.parametrize("make", [save, failing])
async def test_a_bystander_is_told_the_status_only(client: Client, socket: Recorder, make):
    bystander = await client.connect()
    await client.run(make(), socket)
    await asyncio.sleep(QUIET)

    assert bystander.kinds() == ["status"] * 4


async def test_without_client_id_everyone_is_told_progress_and_nothing_else(
    client: Client, socket: Recorder
):
    other = await client.connect()
    answer = await client.submit(save())
    await client.history(answer["prompt_id"])
    await asyncio.sleep(QUIET)

    for recorder in (socket, other):
        kinds = recorder.kinds(1)
        assert kinds == ["status"] * 2 + ["progress_state"] * 6 + ["status"]
        told = {data["prompt_id"] for data in recorder.of("progress_state")}
        assert told == {answer["prompt_id"]}


async def test_a_nodes_text_is_told_to_everyone(client: Client, socket: Recorder):
    other = await client.connect()
    graph = {
        "1": empty_image(width=40, height=30),
        "size": node("GetImageSize", image=["1", 0]),
        "3": node(
            "ImageScale",
            image=["1", 0],
            upscale_method="area",
            width=["size", 1],
            height=["size", 0],
            crop="disabled",
        ),
        "4": node("PreviewImage", images=["3", 0]),
    }
    run = await client.run(graph, socket)
    await asyncio.sleep(QUIET)

    for recorder in (socket, other):
        (content,) = recorder.of("binary")
        event, length = struct.unpack(">II", content[:8])
        assert event == 3
        assert content[8 : 8 + length] == b"size"
        assert content[8 + length :].decode().startswith("width: 40, height: 30")
    place = run.kinds.index("binary")
    assert run.frames[place - 1].data["node"] == "size"
    assert run.kinds[place + 1] == "progress_state"


async def test_without_client_id_a_failure_stands_in_the_history_only(
    client: Client, socket: Recorder
):
    answer = await client.submit(failing())
    entry = await client.history(answer["prompt_id"])
    await asyncio.sleep(QUIET)

    assert set(socket.kinds()) == {"status", "progress_state"}
    assert entry["status"]["messages"][-1][0] == "execution_error"


async def test_a_null_client_id_is_none(client: Client, socket: Recorder):
    answer = await client.submit(preview(), client_id=None)
    entry = await client.history(answer["prompt_id"])
    await asyncio.sleep(QUIET)

    assert entry["prompt"][3] == {"client_id": None}
    assert set(socket.kinds()) == {"status", "progress_state"}


async def test_a_client_id_that_is_a_number_matches_no_socket(client: Client):
    number = CHANCE.randrange(10**9)
    socket = await client.connect(str(number))
    answer = await client.submit(preview(), client_id=number)
    entry = await client.history(answer["prompt_id"])
    await asyncio.sleep(QUIET)

    assert entry["status"]["status_str"] == "success"
    assert set(socket.kinds()) == {"status"}


async def test_a_client_id_without_a_socket_does_no_harm(client: Client):
    answer = await client.submit(preview(), client_id=uuid.uuid4().hex)

    assert (await client.history(answer["prompt_id"]))["status"]["completed"] is True


async def test_a_client_id_within_extra_data_counts(client: Client, socket: Recorder):
    answer = await client.submit(preview(), extra_data={"client_id": socket.client_id})
    await socket.wait_end(answer["prompt_id"])

    assert "execution_success" in socket.kinds()


async def test_a_socket_opened_later_is_told_nothing_of_the_past(client: Client):
    name = uuid.uuid4().hex
    answer = await client.submit(preview(), client_id=name)
    await client.history(answer["prompt_id"])
    await asyncio.sleep(QUIET)
    socket = await client.connect(name)
    await asyncio.sleep(QUIET)

    assert socket.kinds() == ["status"]


async def test_feature_flags_are_answered_with_the_servers_own(client: Client, socket: Recorder):
    await socket.send(FLAGS)

    assert await socket.wait_kind("feature_flags") == (await client.get("/features")).json


async def test_feature_flags_are_answered_once(socket: Recorder):
    await socket.send(FLAGS)
    await socket.send(FLAGS)
    await asyncio.sleep(QUIET)

    assert len(socket.of("feature_flags")) == 1


async def test_feature_flags_need_no_data(socket: Recorder):
    await socket.send({"type": "feature_flags"})

    assert await socket.wait_kind("feature_flags")


@pytest.mark.parametrize("first", [{"type": "other"}, {}, {"data": {}}], ids=repr)
async def test_another_object_first_uses_up_the_chance_for_feature_flags(socket: Recorder, first):
    await socket.send(first)
    await socket.send(FLAGS)
    await asyncio.sleep(QUIET)

    assert socket.open
    assert socket.kinds() == ["status"]


@pytest.mark.parametrize("first", ["not json", "", "[1, 2]", '"text"', "5", "null"], ids=repr)
async def test_a_first_frame_that_is_no_object_does_not_use_up_the_chance(socket: Recorder, first):
    await socket.send(first)
    await socket.send(FLAGS)

    assert await socket.wait_kind("feature_flags")
    assert socket.kinds() == ["status", "feature_flags"]


async def test_odd_frames_do_not_disturb_a_run(client: Client, socket: Recorder):
    for payload in ("nonsense", {"type": "whatever"}, FLAGS, "[]"):
        await socket.send(payload)
    await socket.socket.send_bytes(b"\x00\x01")

    assert "execution_success" in (await client.run(preview(), socket)).kinds


async def test_of_two_sockets_with_one_id_the_newer_is_told_all(client: Client, socket: Recorder):
    newer = await client.connect(socket.client_id)
    before = len(socket.frames)
    run = await client.run(preview(), newer)
    await asyncio.sleep(QUIET)

    assert "execution_success" in run.kinds
    assert socket.frames[before:] == []
    assert socket.open


async def test_an_old_socket_that_closes_deafens_the_newer_one(client: Client, socket: Recorder):
    newer = await client.connect(socket.client_id)
    await socket.close()
    await asyncio.sleep(QUIET)
    before = len(newer.frames)
    answer = await client.submit(preview(), client_id=newer.client_id)
    await client.history(answer["prompt_id"])
    await asyncio.sleep(QUIET)

    assert newer.open
    assert newer.frames[before:] == []


async def test_a_deafened_client_hears_again_on_a_new_socket(client: Client, socket: Recorder):
    newer = await client.connect(socket.client_id)
    await socket.close()
    await newer.close()
    await asyncio.sleep(QUIET)
    again = await client.connect(socket.client_id)

    assert "execution_success" in (await client.run(preview(), again)).kinds


async def test_a_client_back_in_the_middle_of_its_run_is_told_the_node_and_the_rest(
    client: Client, socket: Recorder, endless: Callable[[], SlowGraph]
):
    job = endless()
    answer = await client.submit(job.graph, client_id=socket.client_id)
    await socket.wait_node(job.busy)
    await socket.close()
    await asyncio.sleep(QUIET / 6)
    back = await client.connect(socket.client_id)
    await back.wait_kind("progress_state")
    await client.stop(answer["prompt_id"])
    await back.wait_end(answer["prompt_id"])

    assert back.kinds()[:2] == ["status", "executing"]
    assert back.frames[0].data["status"]["exec_info"]["queue_remaining"] == 1
    told = back.frames[1].data
    assert set(told) == {"node"}
    assert told["node"] in job.busy
    assert back.of("execution_start") == back.of("execution_cached") == []
    assert back.kinds()[-3:] == ["execution_interrupted", "status", "executing"]


async def test_another_client_in_the_middle_of_a_run_is_told_the_status_only(
    client: Client, socket: Recorder, endless: Callable[[], SlowGraph]
):
    job = endless()
    answer = await client.submit(job.graph, client_id=socket.client_id)
    await socket.wait_node(job.busy)
    other = await client.connect()
    await socket.wait_kind("progress_state", len(socket.frames))
    await client.stop(answer["prompt_id"])
    await socket.wait_end(answer["prompt_id"])
    await asyncio.sleep(QUIET)

    assert other.kinds() == ["status", "status"]


async def test_a_client_back_after_the_end_is_told_the_status_only(
    client: Client, socket: Recorder
):
    await client.run(preview(), socket)
    await socket.close()
    await asyncio.sleep(QUIET / 6)
    back = await client.connect(socket.client_id)
    await asyncio.sleep(QUIET)

    assert back.kinds() == ["status"]


async def test_a_run_goes_on_when_its_client_leaves(
    client: Client, socket: Recorder, slow: Callable[[], SlowGraph]
):
    job = slow()
    answer = await client.submit(job.graph, client_id=socket.client_id)
    await socket.wait_node(job.busy)
    await socket.close()

    entry = await client.history(answer["prompt_id"])
    assert entry["status"]["status_str"] == "success"
    assert set(entry["outputs"]) == {job.output}
