"""What is not run again: the nodes of the last graph, by their content."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.client import Client
from tests.conformance.graphs import (
    Graph,
    SlowGraph,
    branches,
    failing,
    half_failing,
    load_image,
    node,
    prefix,
    preview,
    save,
    text_to_image,
)
from tests.conformance.pictures import png
from tests.conformance.recorder import QUIET, Recorder

pytestmark = pytest.mark.conformance


async def free(client: Client, **what: Any) -> None:
    """Ask an idle server to free memory, and leave it the time.

    It says nothing when it has. The pause before is for its own clearing up after
    a job: what is asked during that waits for the next job.
    """
    await asyncio.sleep(QUIET)
    reply = await client.post("/free", json=what)
    assert (reply.status, reply.body) == (200, b"")
    await asyncio.sleep(QUIET)


async def test_the_same_graph_again_is_answered_from_the_cache(client: Client, socket: Recorder):
    graph = branches()
    first = await client.run(graph, socket)
    again = await client.run(graph, socket)

    assert again.kinds == [
        "status",
        "status",
        "execution_start",
        "execution_cached",
        *["executed", "progress_state"] * 2,
        "execution_success",
        "status",
        "executing",
    ]
    assert again.cached == list(graph)
    assert again.executing == [None]
    # The order of outputs is that of a set, so only which they are is compared.
    assert again.outputs() == first.outputs()
    last = again.of("progress_state")[-1]["nodes"]
    assert {name: entry["state"] for name, entry in last.items()} == {
        "5": "finished",
        "6": "finished",
    }


async def test_a_cached_runs_history_names_the_old_files(client: Client, socket: Recorder):
    graph = save()
    first = await client.run(graph, socket)
    again = await client.run(graph, socket)

    entry = await client.history(again.prompt_id)
    assert entry["outputs"] == first.outputs()
    assert set(entry["meta"]) == {"3"}


async def test_a_cached_run_writes_no_file(client: Client, socket: Recorder):
    name = prefix()
    graph = save(name)
    await client.run(graph, socket)
    await client.run(graph, socket)

    written = {"filename": f"{name}_00002_.png", "type": "output"}
    assert (await client.get("/view", **written)).status == 404


async def test_the_cache_serves_every_client(client: Client):
    graph = save()
    await client.run(graph, await client.connect())

    assert (await client.run(graph, await client.connect())).cached == ["1", "2", "3"]


async def test_only_what_changed_and_what_follows_runs_again(client: Client, socket: Recorder):
    graph = save()
    await client.run(graph, socket)
    graph["3"]["inputs"]["filename_prefix"] = prefix()
    run = await client.run(graph, socket)

    assert run.cached == ["1", "2"]
    assert run.executing == ["3", None]


async def test_a_changed_source_runs_everything_again(client: Client, socket: Recorder):
    graph = save()
    await client.run(graph, socket)
    graph["1"]["inputs"]["width"] = 80
    run = await client.run(graph, socket)

    assert run.cached == []
    assert run.executing == ["1", "2", "3", None]


async def test_another_graph_in_between_empties_the_cache(client: Client, socket: Recorder):
    # With --cache-lru a server keeps more; the suite is for its default.
    first, other = save(), save()
    await client.run(first, socket)
    await client.run(other, socket)
    run = await client.run(first, socket)

    assert run.cached == []
    (picture,) = run.outputs()["3"]["images"]
    assert picture["filename"].endswith("_00002_.png")


async def test_a_refused_graph_in_between_leaves_the_cache(client: Client, socket: Recorder):
    graph = save()
    await client.run(graph, socket)
    await client.post("/prompt", json={"prompt": {}})

    assert (await client.run(graph, socket)).cached == ["1", "2", "3"]


async def test_nodes_are_found_under_other_ids(client: Client, socket: Recorder):
    graph = save()
    renamed: Graph = {
        "a": graph["1"],
        "b": node("ImageInvert", image=["a", 0]),
        "c": node("SaveImage", images=["b", 0], **_constants(graph["3"])),
    }
    first = await client.run(graph, socket)
    run = await client.run(renamed, socket)

    assert run.cached == ["a", "b", "c"]
    assert run.outputs() == {"c": first.outputs()["3"]}


def _constants(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry["inputs"].items() if not isinstance(value, list)}


async def test_titles_do_not_matter_to_the_cache(client: Client, socket: Recorder):
    graph = save()
    await client.run(graph, socket)
    graph["1"]["_meta"] = {"title": "Mine"}

    assert (await client.run(graph, socket)).cached == ["1", "2", "3"]


async def test_an_unknown_input_makes_another_node(client: Client, socket: Recorder):
    graph = save()
    await client.run(graph, socket)
    graph["1"]["inputs"]["whatever"] = 1

    assert (await client.run(graph, socket)).cached == []


async def test_converted_values_are_the_same_node(client: Client, socket: Recorder):
    graph = save()
    await client.run(graph, socket)
    graph["1"]["inputs"]["width"] = "64"

    assert (await client.run(graph, socket)).cached == ["1", "2", "3"]


async def test_extra_data_does_not_matter_to_the_cache(client: Client, socket: Recorder):
    graph = save()
    await client.run(graph, socket)

    assert (await client.run(graph, socket, extra_data={"a": 1})).cached == ["1", "2", "3"]


async def test_nodes_of_a_failed_run_are_kept(client: Client, socket: Recorder):
    graph = failing()
    await client.run(graph, socket)
    run = await client.run(graph, socket)

    assert run.cached == ["1", "2"]
    assert run.executing == ["3", None]
    assert run.one("execution_error")["executed"] == []


async def test_cached_outputs_are_told_before_a_failure(client: Client, socket: Recorder):
    graph = half_failing()
    first = await client.run(graph, socket)
    run = await client.run(graph, socket)

    # Node 4 leads to the node that fails, and is kept like the others.
    assert run.cached == ["1", "2", "3", "4"]
    assert run.one("execution_error")["node_id"] == "5"
    # Whether the cached output's turn comes before the failure hangs on a set's order.
    assert run.outputs() in ({}, first.outputs())
    assert (await client.history(run.prompt_id))["outputs"] == first.outputs()


async def test_a_failed_node_that_is_mended_runs_with_the_rest_cached(
    client: Client, socket: Recorder
):
    graph = failing()
    await client.run(graph, socket)
    graph["3"]["inputs"]["filename_prefix"] = prefix()
    run = await client.run(graph, socket)

    assert run.cached == ["1", "2"]
    assert "execution_success" in run.kinds


async def test_nodes_of_an_interrupted_run_are_kept(
    client: Client, socket: Recorder, endless: Callable[[], SlowGraph], checkpoint: str
):
    job = endless()
    answer = await client.submit(job.graph, client_id=socket.client_id)
    await socket.wait_node(job.busy)
    await client.stop(answer["prompt_id"])
    await socket.wait_end(answer["prompt_id"])
    job.graph["3"]["inputs"]["steps"] = 1
    run = await client.run(job.graph, socket)

    assert set(run.cached) == {"4", "5", "6", "7"}
    assert run.executing == ["3", "8", "9", None]


async def test_equal_nodes_of_one_graph_run_once(client: Client, socket: Recorder):
    graph = preview()
    graph["3"] = node("PreviewImage", images=["1", 0])
    run = await client.run(graph, socket)

    # Which of the two runs is in the order of a set; the other shows what that one made.
    first, second = run.of("executed")
    assert {first["node"], second["node"]} == {"2", "3"}
    assert run.executing == ["1", first["node"], None]
    assert second["output"] == first["output"]
    meta = (await client.history(run.prompt_id))["meta"]
    assert set(meta) == {"2", "3"}
    assert {entry["node_id"] for entry in meta.values()} == {first["node"]}


async def test_a_changed_file_is_loaded_again(client: Client, socket: Recorder):
    name = f"{prefix()}.png"
    graph = load_image(name)
    await client.upload(name, png())
    await client.run(graph, socket)
    assert (await client.run(graph, socket)).cached == ["1", "2"]

    await client.upload(name, png(), overwrite="true")
    assert (await client.run(graph, socket)).cached == []


async def test_freeing_memory_empties_the_cache(client: Client, socket: Recorder):
    graph = save()
    await client.run(graph, socket)
    await free(client, free_memory=True)
    run = await client.run(graph, socket)

    assert run.cached == []
    assert run.executing == ["1", "2", "3", None]
    (picture,) = run.outputs()["3"]["images"]
    assert picture["filename"].endswith("_00002_.png")


@pytest.mark.parametrize(
    "what",
    [
        {"unload_models": True},
        {"unload_models": True, "free_memory": False},
        {"free_memory": False},
        {},
    ],
    ids=repr,
)
async def test_unloading_models_or_nothing_leaves_the_cache(client: Client, socket: Recorder, what):
    graph = save()
    await client.run(graph, socket)
    await free(client, **what)

    assert (await client.run(graph, socket)).cached == ["1", "2", "3"]


async def test_unloaded_models_are_loaded_again_without_running_their_loader(
    client: Client, socket: Recorder, checkpoint: str
):
    graph = text_to_image(checkpoint)
    await client.run(graph, socket)
    await free(client, unload_models=True)
    graph["3"]["inputs"]["seed"] += 1
    run = await client.run(graph, socket)

    assert set(run.cached) == {"4", "5", "6", "7"}
    assert "execution_success" in run.kinds


async def test_freed_models_are_loaded_by_their_loader_again(
    client: Client, socket: Recorder, checkpoint: str
):
    graph = text_to_image(checkpoint)
    await client.run(graph, socket)
    await free(client, unload_models=True, free_memory=True)
    run = await client.run(graph, socket)

    assert run.cached == []
    assert set(run.executing) == {*graph, None}


async def test_memory_is_freed_after_the_running_job(
    client: Client, socket: Recorder, endless: Callable[[], SlowGraph]
):
    job = endless()
    blocker = (await client.submit(job.graph, client_id=socket.client_id))["prompt_id"]
    await socket.wait_node(job.busy)
    reply = await client.post("/free", json={"free_memory": True})
    assert (reply.status, reply.body) == (200, b"")
    again = await client.submit(job.graph, client_id=socket.client_id)
    await client.stop(blocker)
    start = await socket.wait(
        lambda frame: frame.kind == "execution_cached" and frame.prompt_id == again["prompt_id"]
    )

    assert socket.of("execution_interrupted")[0]["prompt_id"] == blocker
    assert start.data["nodes"] == []


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]"])
async def test_a_malformed_free_request_is_an_internal_error(client: Client, body):
    reply = await client.post("/free", data=body)

    assert (reply.status, reply.content_type) == (500, "text/plain")


async def test_previews_are_cached_like_any_output(client: Client, socket: Recorder):
    graph = preview()
    first = await client.run(graph, socket)

    assert (await client.run(graph, socket)).outputs() == first.outputs()
