"""What used to end in an error ends in a picture, and what was done for it is told."""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter

import pytest
from PIL import Image

from holdfast.comfyui import (
    Allowed,
    ComfyUI,
    FailureKind,
    Limits,
    NodeFailedError,
    OutOfMemoryError,
    OutputFile,
    PaidRunError,
    PoisonedJobError,
    RestartLimits,
    Workflow,
    WorkflowRejectedError,
    events,
)
from holdfast.comfyui.standin import Fault, StandIn, StandInConfig
from tests.comfyui.graphs import node, painting
from tests.comfyui.test_client_faults import QUICK, kinds, run_on, servers

GIB = 2**30
PIXELS = 256 * 256


def lacking(**settings) -> StandInConfig:
    """A quick server."""
    return StandInConfig(**({"step_seconds": 0.0} | settings))


def begun(seen: list[object]) -> Counter[str | None]:
    """How often a node of each class began."""
    return Counter(each.node_type for each in seen if isinstance(each, events.NodeStarted))


def pixels(file: OutputFile) -> bytes:
    """What a picture shows; its metadata tell the graph, which was changed."""
    with Image.open(io.BytesIO(file.bytes)) as picture:
        return picture.tobytes()


# Memory ---------------------------------------------------------------------------------


async def test_a_batch_of_eight_that_does_not_fit_comes_in_parts_and_in_order():
    short = Fault("out_of_memory", node="KSampler", above=4 * PIXELS, times=0)
    with servers((short,), ()) as (small, large):
        result = await run_on([small], painting(batch=8))
        whole = await run_on([large], painting(batch=8))
    assert [pixels(each) for each in result.files] == [pixels(each) for each in whole.files]
    assert [each.made for each in result.attempts][-2:] == [4, 4]
    assert len(result.degradations) == 1
    assert "batch of 8" in result.degradations[0]


async def test_the_files_of_a_batch_in_parts_are_numbered_as_one(tmp_path):
    short = Fault("out_of_memory", node="KSampler", above=PIXELS, times=0)
    with servers((short,)) as standins:
        result = await run_on(standins, painting(batch=4), output_dir=tmp_path)
    names = [f"painting_{number:02d}.png" for number in range(1, 5)]
    assert [each.filename for each in result.files] == names
    assert sorted(each.name for each in tmp_path.iterdir()) == names


async def test_a_job_given_up_half_way_leaves_no_file_behind(tmp_path):
    short = Fault("out_of_memory", node="KSampler", above=2 * PIXELS, times=0)
    broken = Fault("raise", node="VAEDecode", job=5, times=0)
    with servers((short, broken)) as standins:
        with pytest.raises(NodeFailedError):
            await run_on(standins, painting(batch=4), output_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_a_decode_that_does_not_fit_is_done_in_tiles_without_sampling_again():
    seen: list[object] = []
    short = Fault("out_of_memory", node="VAEDecode", times=0)
    with servers((short,)) as standins:
        result = await run_on(standins, painting(), seen)
    assert begun(seen)["KSampler"] == 1
    assert begun(seen)["VAEDecodeTiled"] == 1
    assert "tiles" in result.degradations[0]
    assert (result.images[0].width, result.images[0].height) == (256, 256)


async def test_a_server_with_more_room_comes_before_a_smaller_picture():
    with (
        StandIn(lacking(vram_bytes=round(2.3 * GIB))) as small,
        StandIn(lacking(vram_bytes=12 * GIB)) as large,
    ):
        result = await run_on([small, large], painting(size=1536, steps=1))
    assert result.server == large.url
    assert result.degradations == ()
    assert result.images[0].width == 1536


async def test_a_picture_too_large_for_every_server_is_made_smaller_and_that_is_told():
    with StandIn(lacking(vram_bytes=round(2.3 * GIB))) as server:
        result = await run_on([server], painting(size=1536, steps=1))
        assert 768 <= result.images[0].width < 1536
        assert any("1536" in words for words in result.degradations)
        with pytest.raises(OutOfMemoryError):
            async with ComfyUI(server.url, patience=QUICK) as comfy:
                await comfy.run(painting(size=1536, steps=1), strict=True)
        with pytest.raises(OutOfMemoryError):
            await run_on([server], painting(size=1536, steps=1), allowed=Allowed(smaller=False))


async def test_what_did_not_fit_once_begins_the_next_time_with_what_fitted():
    short = Fault("out_of_memory", node="KSampler", above=4 * PIXELS, times=0)
    with servers((short,)) as (server,):
        async with ComfyUI(server.url, patience=QUICK) as comfy:
            first = await comfy.run(painting(1, batch=8))
            second = await comfy.run(painting(2, batch=8))
            smaller = await comfy.run(painting(3, batch=4))
    assert kinds(first) == [FailureKind.OUT_OF_MEMORY] * 3
    assert kinds(second) == []
    assert len(second.files) == 8
    assert second.degradations == first.degradations
    assert smaller.degradations == ()


# Models ---------------------------------------------------------------------------------


async def test_a_name_is_written_the_way_the_server_writes_it():
    models = {"checkpoints": ("portraits/sd15.safetensors",)}
    workflow = painting().with_inputs({"ckpt_name": "portraits\\sd15.safetensors"})
    with StandIn(lacking(models=models)) as server:
        result = await run_on([server], workflow)
    assert kinds(result) == [FailureKind.REJECTED]
    assert "portraits/sd15.safetensors" in result.degradations[0]
    strictly = lacking(models=models)
    with StandIn(strictly) as server:
        async with ComfyUI(server.url, patience=QUICK) as comfy:
            assert (await comfy.run(workflow, strict=True)).files


async def test_a_missing_model_is_replaced_only_by_what_was_declared():
    workflow = painting().with_inputs({"ckpt_name": "sd16.safetensors"})
    with StandIn(lacking()) as server:
        with pytest.raises(WorkflowRejectedError):
            await run_on([server], workflow)
        declared = Allowed(fallbacks={"sd16.safetensors": ["sd17.safetensors", "sd15.safetensors"]})
        result = await run_on([server], workflow, allowed=declared)
        assert "sd15.safetensors" in result.degradations[0]
        async with ComfyUI(server.url, patience=QUICK, allowed=declared) as comfy:
            with pytest.raises(WorkflowRejectedError):
                await comfy.run(workflow, strict=True)


async def test_a_damaged_model_is_replaced_by_what_was_declared():
    with StandIn(lacking(corrupt_models=frozenset({"sd15.safetensors"}))) as server:
        declared = Allowed(fallbacks={"sd15.safetensors": ["sdxl.safetensors"]})
        result = await run_on([server], painting(), allowed=declared)
    assert FailureKind.NODE_ERROR in kinds(result)
    assert "sdxl.safetensors" in result.degradations[0]


async def test_a_fallback_that_is_damaged_as_well_is_followed_by_the_next_one():
    workflow = painting().with_inputs({"ckpt_name": "gone.safetensors"})
    declared = Allowed(fallbacks={"gone.safetensors": ["sd15.safetensors", "sdxl.safetensors"]})
    with StandIn(lacking(corrupt_models=frozenset({"sd15.safetensors"}))) as server:
        result = await run_on([server], workflow, allowed=declared)
        assert "sdxl.safetensors" in result.degradations[-1]
        with pytest.raises(NodeFailedError):
            # Nothing was declared for this one itself.
            await run_on([server], painting(), allowed=declared)


# The workflow ---------------------------------------------------------------------------


def sharpened() -> Workflow:
    """A painting with polish on it."""
    graph = painting().to_api()
    graph["8"] = node("ImageSharpen", image=["6", 0], sharpen_radius=1, sigma=1.0, alpha=1.0)
    graph["7"]["inputs"]["images"] = ["8", 0]
    return Workflow.from_api(graph, name="sharpened")


async def test_polish_that_no_server_has_is_left_out():
    with StandIn(lacking(without_nodes=frozenset({"ImageSharpen"}))) as server:
        result = await run_on([server], sharpened())
        assert "ImageSharpen" in result.degradations[0]
        with pytest.raises(WorkflowRejectedError):
            await run_on([server], sharpened(), allowed=Allowed(bypass=False))


async def test_polish_that_fails_everywhere_is_left_out():
    graph = painting().to_api()
    graph["8"] = node("UpscaleModelLoader", model_name="2x-plain.pth")
    graph["9"] = node("ImageUpscaleWithModel", upscale_model=["8", 0], image=["6", 0])
    graph["7"]["inputs"]["images"] = ["9", 0]
    broken = Fault("raise", node="ImageUpscaleWithModel", times=0)
    with servers((broken,), (broken,)) as standins:
        result = await run_on(standins, Workflow.from_api(graph))
    assert "ImageUpscaleWithModel" in result.degradations[0]
    assert result.images[0].width == 256


async def test_a_simpler_workflow_is_the_last_resort():
    broken = Fault("raise", node="VAEDecode", times=0)
    simple = Workflow.from_api(
        {
            "1": node("EmptyImage", width=64, height=64, batch_size=1, color=3),
            "2": node("SaveImage", images=["1", 0], filename_prefix="s"),
        },
        name="a card",
    )
    with servers((broken,)) as standins:
        result = await run_on(standins, painting(), allowed=Allowed(simpler=[simple]))
    assert result.images[0].width == 64
    assert "a card" in result.degradations[0]


async def test_a_simpler_workflow_shows_what_was_asked_for():
    graph = painting(seed=999, size=128).to_api()
    del graph["6"], graph["7"]
    graph["16"] = node("VAEDecodeTiled", samples=["5", 0], vae=["1", 2], tile_size=512, overlap=64,
                       temporal_size=64, temporal_overlap=8)  # fmt: skip
    graph["17"] = node("SaveImage", images=["16", 0], filename_prefix="s")
    allowed = Allowed(simpler=[Workflow.from_api(graph, name="tiles")])
    broken = Fault("raise", node="VAEDecode", times=0)
    asked = painting(seed=5).with_inputs({"2.text": "a red cat"})
    with servers((broken,)) as standins:
        result = await run_on(standins, asked, allowed=allowed)
    with Image.open(io.BytesIO(result.files[0].bytes)) as picture:
        ran = json.loads(picture.info["prompt"])
    assert ran["2"]["inputs"]["text"] == "a red cat"
    assert ran["5"]["inputs"]["seed"] == 5
    assert "prompt" in result.degradations[0]
    assert "seed" in result.degradations[0]


async def test_values_are_corrected_on_request_only():
    workflow = painting().with_inputs({"cfg": "7.5", "steps": 20_000})
    with StandIn(lacking()) as server:
        with pytest.raises(WorkflowRejectedError):
            await run_on([server], workflow.with_inputs({"steps": 20_000}))
        small = workflow.with_inputs({"steps": 0})
        result = await run_on([server], small, allowed=Allowed(corrections=True))
    assert "steps" in result.degradations[0]


# Results --------------------------------------------------------------------------------


async def test_a_black_picture_is_delivered_and_called_suspect():
    with servers((Fault("black_picture"),)) as standins:
        result = await run_on(standins, painting())
    (suspect,) = result.suspects
    assert "black" in suspect.suspect
    assert any("black" in each for each in result.notes)


async def test_a_black_picture_is_made_again_with_another_seed_on_request():
    with servers((Fault("black_picture"),)) as standins:
        result = await run_on(standins, painting(), allowed=Allowed(reseeds=2))
    assert kinds(result) == [FailureKind.SUSPECT]
    assert result.suspects == ()
    assert "seed" in result.degradations[0]


async def test_a_suspect_picture_is_delivered_if_no_better_one_comes(tmp_path):
    black = Fault("black_picture")
    broken = Fault("raise", node="VAEDecode", job=2, times=0)
    with servers((black, broken)) as standins:
        result = await run_on(standins, painting(), allowed=Allowed(reseeds=1), output_dir=tmp_path)
    assert [each.filename for each in result.suspects] == ["painting.png"]
    assert result.degradations == ()
    assert any("no better picture" in note for note in result.notes)
    assert [each.name for each in tmp_path.iterdir()] == ["painting.png"]


async def test_a_suspect_picture_is_delivered_when_the_time_is_up(tmp_path):
    black, frozen = Fault("black_picture"), Fault("freeze", job=2, node="KSampler", seconds=30)
    with servers((black, frozen)) as standins:
        result = await run_on(
            standins, painting(), allowed=Allowed(reseeds=1), output_dir=tmp_path, deadline=3.0
        )
    assert len(result.suspects) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["painting.png"]


async def test_of_a_suspect_and_a_better_picture_only_the_better_one_stays(tmp_path):
    with servers((Fault("black_picture"),)) as standins:
        result = await run_on(standins, painting(), allowed=Allowed(reseeds=1), output_dir=tmp_path)
    assert result.suspects == ()
    assert [each.name for each in tmp_path.iterdir()] == [result.files[0].filename]


# Servers --------------------------------------------------------------------------------


async def test_a_job_that_takes_down_server_after_server_is_quarantined():
    deadly = Fault("die", node="KSampler", restart=0.1, times=0)
    with servers((deadly,), (deadly,)) as standins:
        async with ComfyUI(
            *(each.url for each in standins), patience=QUICK, limits=Limits(deaths=3)
        ) as comfy:
            with pytest.raises(PoisonedJobError, match="3 servers died"):
                await comfy.run(painting())
            before = sum(len(each.fired) for each in standins)
            with pytest.raises(PoisonedJobError):
                await comfy.run(painting(seed=99))
            assert sum(len(each.fired) for each in standins) == before
            assert comfy.release(painting())


async def test_a_server_with_a_broken_device_gets_no_more_jobs():
    with servers((Fault("broken_device", node="KSampler"),), ()) as (broken, well):
        async with ComfyUI(broken.url, well.url, patience=QUICK, call_seconds=1.0) as comfy:
            results = [await comfy.run(painting(seed)) for seed in range(4)]
    assert kinds(results[0]) == [FailureKind.DEVICE_BROKEN]
    assert {each.server for each in results} == {well.url}
    assert [kinds(each) for each in results[1:]] == [[], [], []]


@pytest.mark.parametrize("kind", ["broken_device", "die", "dead_worker"])
async def test_a_server_is_restarted_as_its_owner_declared(kind):
    asked: list[tuple[str, str]] = []
    seen: list[object] = []
    with servers((Fault(kind, node="KSampler"),)) as (server,):

        async def restart(name: str, reason: str) -> None:
            asked.append((name, reason))
            await asyncio.to_thread(server.restart)

        async with ComfyUI(
            server.url,
            patience=QUICK,
            call_seconds=1.0,
            canary_seconds=1.0,
            restarts={server.url: restart},
            restart_limits=RestartLimits(grace=0.2, grace_ill=0.2, boot=10),
            on_event=seen.append,
        ) as comfy:
            result = await comfy.run(painting(), deadline=25)
    assert len(result.files) == 1
    assert len(asked) == 1
    assert asked[0][0] == server.url
    names = [type(each).__name__ for each in seen if "Restart" in type(each).__name__]
    assert names == ["ServerRestarting", "ServerRestarted"]


# Money ----------------------------------------------------------------------------------


async def test_what_may_have_cost_money_is_not_run_again(monkeypatch):
    def paid(workflow: Workflow, _catalog: object) -> dict[str, str]:
        return {
            each: "KSampler"
            for each, it in workflow.graph.items()
            if it["class_type"] == "KSampler"
        }

    monkeypatch.setattr("holdfast.comfyui.repair.paid_nodes", paid)
    with servers((Fault("raise", node="VAEDecode"),)) as standins:
        with pytest.raises(PaidRunError, match="KSampler"):
            await run_on(standins, painting())
    with servers((Fault("raise", node="CLIPTextEncode"),)) as standins:
        assert (await run_on(standins, painting())).files
    with servers((Fault("raise", node="VAEDecode"),)) as standins:
        assert (await run_on(standins, painting(), allowed=Allowed(rerun_paid=True))).files


async def test_a_suspect_picture_that_was_paid_for_is_delivered_and_not_paid_for_again(monkeypatch):
    monkeypatch.setattr("holdfast.comfyui.repair.paid_nodes", lambda *_: {"5": "KSampler"})
    with servers((Fault("black_picture"),)) as standins:
        result = await run_on(standins, painting(), allowed=Allowed(reseeds=2))
    assert len(result.attempts) == 1
    assert len(result.suspects) == 1
    assert any("suspect" in each for each in result.notes)


async def test_files_of_several_saving_nodes_are_named_alike_in_every_part(tmp_path):
    graph = dict(painting(batch=4).graph)
    graph["8"] = node("EmptyImage", width=64, height=64, batch_size=1, color=3)
    graph["9"] = node("SaveImage", images=["8", 0], filename_prefix="other")
    short = Fault("out_of_memory", node="KSampler", above=2 * PIXELS, times=0)
    with servers((short,)) as standins:
        workflow = Workflow.from_api(graph, name="two")
        result = await run_on(standins, workflow, output_dir=tmp_path)
    expected = [f"two_7_{number:02d}.png" for number in range(1, 5)] + ["two_9_01.png"]
    assert [each.filename for each in result.files] == expected
