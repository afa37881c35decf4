"""A sampler's progress, and its preview pictures in both framings.

A server may make no previews (ComfyUI's default is ``--preview-method none``).
Then there are none at all; where there are some, every step has one, in the
right place and frame.
"""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

import pytest

from tests.conformance.client import Client
from tests.conformance.graphs import text_to_image
from tests.conformance.pictures import opened
from tests.conformance.recorder import QUIET, Frame, Recorder, Run

pytestmark = pytest.mark.conformance

STEPS = 4
SAMPLER = "3"
BARE = 1
"""Event of a preview without metadata."""
LABELLED = 4
"""Event of a preview with metadata."""

FLAGS = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}


def sampling(run: Run) -> list[Frame]:
    """Return the frames between the sampler's start and the next node's."""
    nodes = [index for index, frame in enumerate(run.frames) if frame.kind == "executing"]
    (start,) = (
        place for place, index in enumerate(nodes) if run.frames[index].data["node"] == SAMPLER
    )
    return list(run.frames[nodes[start] + 1 : nodes[start + 1]])


def names(frames: list[Frame]) -> list[str | int]:
    """Return the frames' types, for binary ones their event."""
    return [frame.event if frame.kind == "binary" else frame.kind for frame in frames]


def steps_of(*parts: str | int) -> list[str | int]:
    """Return what a sampler's frames are if each step is told in ``parts``."""
    return [*parts] * STEPS + ["progress_state"] * 2


def picture(content: bytes) -> Any:
    """Return a preview's picture, which must be a JPEG or PNG."""
    found = opened(content)
    assert found.format in {"JPEG", "PNG"}
    return found


def binaries(run: Run) -> list[Frame]:
    return [frame for frame in run.frames if frame.kind == "binary"]


async def test_progress_counts_the_steps(client: Client, socket: Recorder, checkpoint: str):
    run = await client.run(text_to_image(checkpoint, STEPS), socket)

    assert run.of("progress") == [
        {"value": value, "max": STEPS, "prompt_id": run.prompt_id, "node": SAMPLER}
        for value in range(1, STEPS + 1)
    ]


async def test_progress_state_follows_the_steps(client: Client, socket: Recorder, checkpoint: str):
    run = await client.run(text_to_image(checkpoint, STEPS), socket)

    entries = [
        frame.data["nodes"][SAMPLER] for frame in sampling(run) if frame.kind == "progress_state"
    ]
    *steps, finished, _ = entries
    found = [(entry["value"], entry["max"], entry["state"]) for entry in steps]
    assert found == [(value, STEPS, "running") for value in range(1, STEPS + 1)]
    assert (finished["value"], finished["max"], finished["state"]) == (STEPS, STEPS, "finished")


async def test_only_the_sampler_tells_progress(client: Client, socket: Recorder, checkpoint: str):
    run = await client.run(text_to_image(checkpoint, STEPS), socket)

    assert {data["node"] for data in run.of("progress")} == {SAMPLER}
    # The loader and what it feeds may be cached by the test before.
    assert {*run.executing, *run.cached} == {"3", "4", "5", "6", "7", "8", "9", None}
    assert run.executing[-4:] == ["3", "8", "9", None]


async def test_previews_without_the_handshake_are_bare_and_follow_progress(
    client: Client, socket: Recorder, checkpoint: str
):
    run = await client.run(text_to_image(checkpoint, STEPS), socket)

    assert names(sampling(run)) in (
        steps_of("progress_state", "progress"),
        steps_of("progress_state", "progress", BARE),
    )
    for frame in binaries(run):
        event, kind = struct.unpack(">II", frame.data[:8])
        assert event == BARE
        assert picture(frame.data[8:]).format == {1: "JPEG", 2: "PNG"}[kind]


@pytest.mark.parametrize(
    "flags",
    [{}, {"supports_preview_metadata": False}, {"supports_preview_metadata": "yes"}],
    ids=repr,
)
async def test_previews_stay_bare_unless_metadata_is_wished_for(
    client: Client, socket: Recorder, checkpoint: str, flags
):
    await socket.send({"type": "feature_flags", "data": flags})
    await socket.wait_kind("feature_flags")
    run = await client.run(text_to_image(checkpoint, STEPS), socket)

    assert {frame.event for frame in binaries(run)} <= {BARE}


async def test_previews_after_the_handshake_bear_metadata_and_precede_progress(
    client: Client, socket: Recorder, checkpoint: str
):
    await socket.send(FLAGS)
    await socket.wait_kind("feature_flags")
    run = await client.run(text_to_image(checkpoint, STEPS), socket)

    assert names(sampling(run)) in (
        steps_of("progress_state", "progress"),
        steps_of("progress_state", LABELLED, "progress"),
    )
    for frame in binaries(run):
        event, length = struct.unpack(">II", frame.data[:8])
        assert event == LABELLED
        label = json.loads(frame.data[8 : 8 + length])
        found = picture(frame.data[8 + length :])
        assert label == {
            "node_id": SAMPLER,
            "prompt_id": run.prompt_id,
            "display_node_id": SAMPLER,
            "parent_node_id": None,
            "real_node_id": SAMPLER,
            "image_type": f"image/{found.format.lower()}",
        }


async def test_a_bystander_is_shown_no_previews(client: Client, socket: Recorder, checkpoint: str):
    bystander = await client.connect()
    await client.run(text_to_image(checkpoint, STEPS), socket)
    await asyncio.sleep(QUIET)

    assert set(bystander.kinds()) == {"status"}


async def test_without_client_id_everyone_is_shown_bare_previews_and_progress(
    client: Client, socket: Recorder, checkpoint: str
):
    flagged = await client.connect()
    await flagged.send(FLAGS)
    await flagged.wait_kind("feature_flags")
    answer = await client.submit(text_to_image(checkpoint, STEPS))
    await client.history(answer["prompt_id"])
    await asyncio.sleep(QUIET)

    for recorder in (socket, flagged):
        values = [data["value"] for data in recorder.of("progress")]
        assert values == list(range(1, STEPS + 1))
        assert {frame.event for frame in recorder.frames if frame.kind == "binary"} <= {BARE}
        told = {"status", "progress", "progress_state", "binary", "feature_flags"}
        assert set(recorder.kinds()) <= told
    assert len(socket.of("binary")) == len(flagged.of("binary")) in {0, STEPS}


async def test_flags_are_gone_with_their_socket(client: Client, socket: Recorder, checkpoint: str):
    await socket.send(FLAGS)
    await socket.wait_kind("feature_flags")
    await socket.close()
    await asyncio.sleep(QUIET)
    again = await client.connect(socket.client_id)
    run = await client.run(text_to_image(checkpoint, STEPS), again)

    assert {frame.event for frame in binaries(run)} <= {BARE}


async def test_a_sampled_picture_can_be_viewed(client: Client, checkpoint: str):
    run = await client.run(text_to_image(checkpoint))

    (image,) = run.outputs()["9"]["images"]
    assert opened((await client.get("/view", **image)).body).size == (64, 64)
