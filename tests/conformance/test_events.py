"""What a job's own client is told, in which order and in which shape."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.conformance.client import Client
from tests.conformance.graphs import (
    Graph,
    branches,
    empty_image,
    failing,
    half_failing,
    load_image,
    node,
    prefix,
    preview,
    save,
)
from tests.conformance.recorder import Recorder, Run

pytestmark = pytest.mark.conformance

HEAD = ["status", "status", "execution_start", "execution_cached"]
SILENT_NODE = ["progress_state", "executing", "progress_state"]
OUTPUT_NODE = ["progress_state", "executing", "executed", "progress_state"]


def remaining(run: Run) -> list[int]:
    return [data["status"]["exec_info"]["queue_remaining"] for data in run.of("status")]


def states(data: dict[str, Any]) -> dict[str, str]:
    return {node: entry["state"] for node, entry in data["nodes"].items()}


async def test_a_successful_run_is_told_in_this_order(client: Client, socket: Recorder):
    run = await client.run(save(), socket)

    assert run.kinds == [
        *HEAD,
        *SILENT_NODE,
        *SILENT_NODE,
        *OUTPUT_NODE,
        "execution_success",
        "status",
        "executing",
    ]
    assert run.executing == ["1", "2", "3", None]


async def test_a_failed_run_is_told_in_this_order(client: Client, socket: Recorder):
    run = await client.run(failing(), socket)

    assert run.kinds == [
        *HEAD,
        *SILENT_NODE,
        *SILENT_NODE,
        "progress_state",
        "executing",
        "execution_error",
        "status",
        "executing",
    ]
    assert run.executing == ["1", "2", "3", None]


@pytest.mark.parametrize("make", [save, failing])
async def test_a_run_changes_the_status_when_put_taken_and_done(client: Client, make):
    assert remaining(await client.run(make())) == [1, 1, 0]


async def test_outputs_run_as_soon_as_they_can(client: Client, socket: Recorder):
    run = await client.run(branches(), socket)

    assert run.executing == ["1", "2", "3", "6", "4", "5", None]
    assert list(run.outputs()) == ["6", "5"]


async def test_message_shapes_of_a_successful_run(client: Client, socket: Recorder):
    name = prefix()
    run = await client.run(save(name), socket)

    assert run.of("status")[0] == {"status": {"exec_info": {"queue_remaining": 1}}}
    start = run.one("execution_start")
    assert start == {"prompt_id": run.prompt_id, "timestamp": start["timestamp"]}
    cached = run.one("execution_cached")
    assert cached == {"nodes": [], "prompt_id": run.prompt_id, "timestamp": cached["timestamp"]}
    assert run.of("executing")[0] == {
        "node": "1",
        "display_node": "1",
        "prompt_id": run.prompt_id,
    }
    assert run.of("executing")[-1] == {"node": None, "prompt_id": run.prompt_id}
    picture = {"filename": f"{name}_00001_.png", "subfolder": "", "type": "output"}
    assert run.one("executed") == {
        "node": "3",
        "display_node": "3",
        "output": {"images": [picture]},
        "prompt_id": run.prompt_id,
    }
    success = run.one("execution_success")
    assert success == {"prompt_id": run.prompt_id, "timestamp": success["timestamp"]}


async def test_timestamps_are_whole_milliseconds_and_do_not_fall(client: Client):
    run = await client.run(save())

    times = [frame.data["timestamp"] for frame in run.frames if "timestamp" in frame.data]
    assert len(times) == 3
    assert all(isinstance(stamp, int) for stamp in times)
    assert times == sorted(times)
    assert abs(times[0] / 1000 - time.time()) < 600


async def test_progress_state_adds_up_over_the_nodes(client: Client, socket: Recorder):
    run = await client.run(save(), socket)

    assert [states(data) for data in run.of("progress_state")] == [
        {"1": "running"},
        {"1": "finished"},
        {"1": "finished", "2": "running"},
        {"1": "finished", "2": "finished"},
        {"1": "finished", "2": "finished", "3": "running"},
        {"1": "finished", "2": "finished", "3": "finished"},
    ]


async def test_progress_state_entries_describe_their_node(client: Client, socket: Recorder):
    run = await client.run(preview(), socket)

    first, second = run.of("progress_state")[:2]
    entry = {
        "value": 0.0,
        "max": 1.0,
        "state": "running",
        "node_id": "1",
        "prompt_id": run.prompt_id,
        "display_node_id": "1",
        "parent_node_id": None,
        "real_node_id": "1",
    }
    assert first == {"prompt_id": run.prompt_id, "nodes": {"1": entry}}
    finished = entry | {"value": 1.0, "state": "finished"}
    assert second == {"prompt_id": run.prompt_id, "nodes": {"1": finished}}


async def test_a_failed_node_stays_running_in_progress_state(client: Client):
    run = await client.run(failing())

    assert states(run.of("progress_state")[-1])["3"] == "running"


async def test_history_is_there_once_the_end_is_told(client: Client, socket: Recorder):
    for make in (save, failing, preview):
        run = await client.run(make(), socket)
        assert run.prompt_id in (await client.get(f"/history/{run.prompt_id}")).json


async def test_saved_pictures_are_counted_up_under_their_prefix(client: Client):
    name = prefix()
    first, second = await client.run(save(name)), await client.run(save(name, batch_size=2))

    files = [
        picture["filename"] for run in (first, second) for picture in run.outputs()["3"]["images"]
    ]
    assert files == [f"{name}_0000{count}_.png" for count in (1, 2, 3)]


async def test_a_folder_in_the_prefix_becomes_the_subfolder(client: Client):
    name = prefix()
    run = await client.run(save(f"{name}/deep/pic"))

    assert run.outputs()["3"]["images"] == [
        {"filename": "pic_00001_.png", "subfolder": f"{name}/deep", "type": "output"}
    ]


async def test_previewed_pictures_are_temporary_files(client: Client):
    run = await client.run(preview())

    (picture,) = run.outputs()["2"]["images"]
    assert (picture["subfolder"], picture["type"]) == ("", "temp")
    assert picture["filename"].startswith("ComfyUI_temp_")
    assert picture["filename"].endswith(".png")


async def test_an_error_is_told_with_all_that_is_known_of_it(client: Client, socket: Recorder):
    run = await client.run(failing(), socket)

    error = run.one("execution_error")
    assert set(error) == {
        "prompt_id",
        "node_id",
        "node_type",
        "executed",
        "exception_message",
        "exception_type",
        "traceback",
        "current_inputs",
        "current_outputs",
        "timestamp",
    }
    assert (error["prompt_id"], error["node_id"]) == (run.prompt_id, "3")
    assert (error["node_type"], error["exception_type"]) == ("SaveImage", "Exception")
    assert error["exception_message"].startswith(
        "**** ERROR: Saving image outside the output folder is not allowed."
    )
    assert error["exception_message"].endswith("\n")
    assert sorted(error["executed"]) == ["1", "2"]
    # All nodes of the graph, and not only those that have outputs by now.
    assert sorted(error["current_outputs"]) == ["1", "2", "3"]
    assert error["traceback"]
    assert all(isinstance(line, str) for line in error["traceback"])
    assert {"images", "filename_prefix"} <= set(error["current_inputs"])
    assert all(isinstance(values, list) for values in error["current_inputs"].values())
    assert isinstance(error["current_inputs"]["images"][0], str)


async def test_an_error_stands_in_the_history_as_it_was_told(client: Client, socket: Recorder):
    run = await client.run(failing(), socket)

    status = (await client.history(run.prompt_id))["status"]
    assert (status["status_str"], status["completed"]) == ("error", False)
    assert [name for name, _ in status["messages"]] == [
        "execution_start",
        "execution_cached",
        "execution_error",
    ]
    assert status["messages"] == [[name, run.one(name)] for name, _ in status["messages"]]


async def test_outputs_finished_before_an_error_are_kept(client: Client, socket: Recorder):
    run = await client.run(half_failing(), socket)

    assert set(run.outputs()) == {"3"}
    assert run.one("execution_error")["node_id"] == "5"
    assert set(run.one("execution_error")["executed"]) == {"1", "2", "3", "4"}
    entry = await client.history(run.prompt_id)
    assert entry["status"]["status_str"] == "error"
    assert entry["outputs"] == run.outputs()


async def test_a_file_that_is_no_picture_fails_the_run(client: Client):
    name = f"{prefix()}.png"
    await client.upload(name, b"this is no picture")

    run = await client.run(load_image(name))
    error = run.one("execution_error")
    assert (error["node_id"], error["node_type"]) == ("1", "LoadImage")
    assert error["exception_type"] == "PIL.UnidentifiedImageError"
    assert error["exception_message"].startswith("cannot identify image file")
    assert error["executed"] == []
    assert error["current_inputs"] == {"image": [name]}


async def test_the_job_after_a_failed_one_runs_cleanly(client: Client, socket: Recorder):
    await client.run(failing(), socket)
    run = await client.run(save(), socket)

    assert run.cached == []
    assert "execution_success" in run.kinds


@pytest.mark.parametrize(
    "chain",
    [
        {
            "2": node("ImageScale", upscale_method="area", width=32, height=48, crop="center"),
            "3": node("ImageBlur", blur_radius=3, sigma=1.5),
            "4": node("ImageSharpen", sharpen_radius=1, sigma=1.0, alpha=0.5),
        },
        {
            "2": node("ImageScaleBy", upscale_method="lanczos", scale_by=2.0),
            "3": node("ImageInvert"),
            "4": node("ImageInvert"),
        },
    ],
    ids=["scale, blur, sharpen", "scale by, invert twice"],
)
async def test_chains_of_core_nodes_run_link_by_link(client: Client, chain: Graph):
    graph = {"1": empty_image()}
    for name, step in chain.items():
        inputs = step["inputs"] | {"image": [str(int(name) - 1), 0]}
        graph[name] = node(step["class_type"], **inputs)
    graph["5"] = node("PreviewImage", images=["4", 0])

    run = await client.run(graph)
    assert run.executing == ["1", "2", "3", "4", "5", None]
    assert "execution_success" in run.kinds


async def test_a_mask_can_be_made_a_picture(client: Client):
    graph = {
        "1": node("SolidMask", value=0.5, width=32, height=32),
        "2": node("MaskToImage", mask=["1", 0]),
        "3": node("SaveImage", images=["2", 0], filename_prefix=prefix()),
    }

    run = await client.run(graph)
    assert "execution_success" in run.kinds
    assert len(run.outputs()["3"]["images"]) == 1
