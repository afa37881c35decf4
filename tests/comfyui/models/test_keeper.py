"""Models that servers lack or cannot read, and pictures all the same."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle

import pytest

from holdfast import capture
from holdfast.comfyui import ComfyUI, NodeFailedError, Workflow, WorkflowRejectedError
from holdfast.comfyui.models import (
    DownloadBrokenError,
    ModelManager,
    ModelMissingError,
    ModelNotSeenError,
    ModelPlaceError,
    RepairModel,
    Source,
)
from holdfast.comfyui.models.mending import named_in_message
from holdfast.comfyui.plan import Limits
from holdfast.comfyui.standin import StandIn, StandInConfig
from holdfast.errors import BadInputError, ErrorCategory
from holdfast.system.recovery import RecoveryContext, RecoveryProcedure
from tests.comfyui.graphs import painting
from tests.comfyui.models.mirror import serving
from tests.comfyui.models.test_download import again, sha
from tests.comfyui.models.weights import safetensors

NAME = "SDXL/lighthouse.safetensors"
MODEL = safetensors()


def wanting(name=NAME) -> Workflow:
    return painting().with_inputs({"1.ckpt_name": name})


@contextlib.contextmanager
def server(folder, **models):
    (folder / "models").mkdir(parents=True, exist_ok=True)
    listed = {kind: tuple(names) for kind, names in models.items()}
    with StandIn(StandInConfig(folder=folder, models=listed, step_seconds=0.001)) as one:
        yield one


@contextlib.contextmanager
def managed(tmp_path, mirror, *, models=None, **options):
    """A server with a models folder of its own, and a manager that may fetch into it."""
    with server(tmp_path, **(models or {})) as one:
        settings = {
            "folder": tmp_path / "models",
            "sources": {NAME: f"{mirror.url}/m.safetensors"},
            "trusted_hosts": [mirror.host],
            "retry": again(),
            "settle_seconds": 1.0,
        }
        yield one, ModelManager(one.url, **(settings | options))


async def test_a_workflow_refused_for_a_missing_model_runs_once_it_was_fetched(tmp_path):
    async with serving({"/m.safetensors": MODEL}) as mirror:
        with managed(tmp_path, mirror) as (one, manager):
            async with ComfyUI(one.url) as comfy:
                with pytest.raises(WorkflowRejectedError, match="lighthouse"):
                    await comfy.run(wanting())
                views = await manager.missing(wanting())
                (need,) = views[one.url].missing
                assert (need.name, need.folder, need.present) == (NAME, "checkpoints", False)
                assert not views[one.url].ready

                done = await manager.ensure(wanting())

                assert done.ready == (one.url,)
                assert (tmp_path / "models" / "checkpoints" / NAME).read_bytes() == MODEL
                assert done.fetched[0].model == f"checkpoints/{NAME}"
                result = await comfy.run(done.workflow())
                assert len(result.images) == 1
                # What is there is not fetched again.
                assert not (await manager.ensure(wanting())).fetched
        assert len(mirror.seen) == 1


@pytest.mark.parametrize("content", [MODEL[:-7], b"<!DOCTYPE html><html>log in</html>"])
async def test_a_damaged_model_is_put_aside_and_fetched_anew_and_there_is_a_picture(
    tmp_path, content
):
    path = tmp_path / "models" / "checkpoints" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    async with serving({"/m.safetensors": MODEL}) as mirror:
        with managed(tmp_path, mirror) as (one, manager):
            async with ComfyUI(one.url, limits=Limits(node_attempts=1)) as comfy:
                with pytest.raises(NodeFailedError, match="looks damaged") as raised:
                    await comfy.run(wanting())
                assert raised.value.category is ErrorCategory.MODEL

                result = await manager.repair(NAME)

                assert result.mended
                assert result.verified_at is not None
                assert result.servers == (one.url,)
                assert path.read_bytes() == MODEL
                assert result.quarantined.path.read_bytes() == content
                assert json.loads(result.quarantined.note.read_text())["was"].endswith(NAME)
                assert "it was put aside as" in result.words
                assert len((await comfy.run(wanting(), inputs={"seed": 9})).images) == 1
                assert await comfy.servers[0].models("checkpoints") == [NAME]


async def test_a_whole_model_is_left_alone_and_that_is_no_repair(tmp_path):
    path = tmp_path / "models" / "checkpoints" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(MODEL)
    async with serving({"/m.safetensors": MODEL}) as mirror:
        with managed(tmp_path, mirror) as (_one, manager):
            result = await manager.repair(NAME)
            assert not result.mended
            assert result.verified_at is None
            assert "nothing was done" in result.words
            assert not mirror.seen
            forced = await manager.repair(NAME, force=True)
            assert forced.mended
            assert forced.quarantined
            assert manager.check(NAME).ok


async def test_a_server_forgets_what_it_loaded_from_the_damaged_file(tmp_path):
    path = tmp_path / "models" / "checkpoints" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(MODEL)
    async with serving({"/m.safetensors": MODEL}) as mirror:
        with managed(tmp_path, mirror) as (one, manager):
            async with ComfyUI(one.url) as comfy:
                await comfy.run(wanting())
                path.write_bytes(MODEL[:-7])
                loaded = (await comfy.servers[0].system_stats())["devices"][0]["vram_free"]
                assert (await manager.repair(NAME)).mended
                for _ in range(100):
                    stats = await comfy.servers[0].system_stats()
                    if stats["devices"][0]["vram_free"] > loaded:
                        return
                    await asyncio.sleep(0.02)
    pytest.fail("the server holds what it loaded before")


def test_every_error_is_told_as_a_model_s():
    for error in (DownloadBrokenError("x", retry_after=5), ModelMissingError("y", model="z")):
        twin = pickle.loads(pickle.dumps(error))
        assert (str(twin), twin.__dict__) == (str(error), error.__dict__)
        assert capture(error).category is ErrorCategory.MODEL
    assert "hf_" not in str(DownloadBrokenError("sent Bearer hf_" + "Ab3" * 12))


async def test_a_damage_that_only_the_hash_shows_is_mended_too(tmp_path):
    path = tmp_path / "models" / "checkpoints" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(safetensors(fill=8))
    async with serving({"/m.safetensors": MODEL}) as mirror:
        source = {NAME: f"{mirror.url}/m.safetensors"}
        with managed(tmp_path, mirror) as (_one, manager):
            assert not (await manager.repair(NAME)).mended
            known = Source(source[NAME], NAME, sha256=sha(MODEL))
            assert (await manager.repair(NAME, source=known)).mended
            assert path.read_bytes() == MODEL


async def test_a_repair_that_cannot_be_had_says_so_and_offers_the_damaged_file_no_more(tmp_path):
    path = tmp_path / "models" / "checkpoints" / NAME
    path.parent.mkdir(parents=True)
    async with serving({}) as mirror:
        with managed(tmp_path, mirror) as (_one, manager):
            path.write_bytes(MODEL[:-7])
            result = await manager.repair(NAME)
            assert not result.mended
            assert "could not be fetched anew" in result.words
            assert not path.exists()
        with managed(tmp_path, mirror, sources=None) as (one, manager):
            path.write_bytes(MODEL[:-7])
            result = await manager.repair(NAME)
            assert not result.mended
            assert "nothing says where to get it" in result.words
            views = await manager.missing(wanting())
            assert views[one.url].missing


async def test_what_a_server_does_not_list_is_not_called_mended(tmp_path):
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    async with serving({"/m.safetensors": MODEL}) as mirror:
        with managed(tmp_path, mirror, folder=elsewhere, settle_seconds=0.1) as (one, manager):
            with pytest.raises(ModelNotSeenError, match=f"models folder of {one.url}"):
                await manager.ensure(wanting())
            with pytest.raises(ModelNotSeenError):
                await manager.ensure(NAME, folder="checkpoints")
            result = await manager.repair(NAME, folder="checkpoints", force=True)
            assert not result.mended
            assert "no server lists it" in result.words


async def test_names_are_mended_per_server_and_told_as_edits(tmp_path):
    windows = server(tmp_path / "w", checkpoints=["SDXL\\lighthouse.safetensors"])
    linux = server(tmp_path / "l", checkpoints=[NAME])
    with windows as left, linux as right:
        manager = ModelManager(left.url, right.url)
        done = await manager.ensure(wanting(), everywhere=True)
        assert done.ready == (left.url, right.url)
        (edit,) = done.edits(left.url)
        assert "which is how this server writes" in edit.change.words
        assert done.edits(right.url) == ()
        for one in (left, right):
            async with ComfyUI(one.url) as comfy:
                assert (await comfy.run(done.workflow(one.url))).images


async def test_another_model_is_used_only_if_declared_and_only_if_nothing_else_helps(tmp_path):
    declared = {NAME: ["sd15.safetensors"]}
    models = {"checkpoints": ["sd15.safetensors"]}
    async with serving({"/m.safetensors": MODEL}) as mirror:
        mirror.faults = [{"status": 404}] * 2
        with managed(tmp_path, mirror, models=models, fallbacks=declared) as (one, manager):
            with pytest.raises(ModelMissingError, match="no such file"):
                await manager.ensure(wanting(), allow_fallbacks=False)
            done = await manager.ensure(wanting())
            (edit,) = done.edits(one.url)
            assert not edit.change.keeps_result
            assert "as you declared" in edit.change.words
            async with ComfyUI(one.url) as comfy:
                assert (await comfy.run(done.workflow())).images
            # The real one can be had now, and comes first.
            done = await manager.ensure(wanting())
            assert done.edits(one.url) == ()
            assert done.fetched


async def test_what_cannot_be_had_is_told_with_the_names_that_are_near(tmp_path):
    with server(tmp_path, checkpoints=["SDXL/lighthouse-v2.safetensors"]) as one:
        manager = ModelManager(one.url)
        with pytest.raises(ModelMissingError) as raised:
            await manager.ensure(wanting())
        assert "it has SDXL/lighthouse-v2.safetensors" in str(raised.value)
        assert f"nothing says where to get {NAME}" in str(raised.value)
        with pytest.raises(ModelMissingError, match="no models folder was given"):
            await manager.ensure(wanting(), source={NAME: "https://models.example/m.safetensors"})
        with pytest.raises(ModelMissingError, match="nothing says where"):
            await manager.ensure("x.safetensors", folder="loras")


async def test_nothing_is_fetched_for_a_server_that_would_lack_something_else_all_the_same(
    tmp_path,
):
    async with serving({"/m.safetensors": MODEL}) as mirror:
        with managed(tmp_path, mirror) as (one, manager):
            graph = wanting().to_api()
            lora = {"class_type": "LoraLoaderModelOnly", "inputs": {"model": ["1", 0]}}
            lora["inputs"] |= {"lora_name": "nowhere.safetensors", "strength_model": 1.0}
            workflow = Workflow.from_api(graph | {"9": lora})
            with pytest.raises(ModelMissingError, match=r"where to get nowhere\.safetensors"):
                await manager.ensure(workflow)
            odd = Workflow.from_api(graph | {"9": {"class_type": "NoSuchNode", "inputs": {}}})
            with pytest.raises(ModelMissingError, match="it has no node NoSuchNode"):
                await manager.ensure(odd)
            assert not mirror.seen
            path = tmp_path / "models" / "loras" / "somewhere.safetensors"
            path.parent.mkdir()
            path.write_bytes(MODEL)
            declared = {"nowhere.safetensors": ["somewhere.safetensors"]}
            generous = ModelManager(
                one.url,
                folder=tmp_path / "models",
                sources={NAME: f"{mirror.url}/m.safetensors"},
                trusted_hosts=[mirror.host],
                fallbacks=declared,
            )
            done = await generous.ensure(workflow)
            assert len(done.fetched) == len(done.edits(one.url)) == 1


async def test_two_files_that_could_be_meant_are_both_named(tmp_path):
    names = ["a/lighthouse.safetensors", "b/lighthouse.safetensors"]
    with server(tmp_path, checkpoints=names) as one:
        with pytest.raises(ModelMissingError, match="nothing says which is meant"):
            await ModelManager(one.url).ensure(wanting())


async def test_a_server_that_is_down_is_told_and_does_not_hinder_the_others(tmp_path):
    with server(tmp_path, checkpoints=[NAME]) as one:
        manager = ModelManager("http://127.0.0.1:1", one.url)
        views = await manager.missing(wanting())
        assert "cannot be reached" in views["http://127.0.0.1:1"].words
        assert (await manager.ensure(wanting())).ready == (one.url,)
        with pytest.raises(ModelMissingError, match="cannot be reached"):
            await manager.ensure(wanting(), everywhere=True)


async def test_a_single_model_can_be_asked_for_by_name(tmp_path):
    async with serving({"/m.safetensors": MODEL}) as mirror:
        with managed(tmp_path, mirror) as (one, manager):
            with pytest.raises(BadInputError, match="folder must say what"):
                await manager.ensure(NAME)
            done = await manager.ensure(NAME, folder="loras")
            assert done.ready == (one.url,)
            assert (tmp_path / "models" / "loras" / NAME).exists()
            with pytest.raises(BadInputError, match="no workflow"):
                done.workflow()
        alone = ModelManager(folder=tmp_path / "models")
        assert alone.check(NAME).ok
        with pytest.raises(ModelMissingError):
            alone.check("none.safetensors")
        (tmp_path / "models" / "vae" / "SDXL").mkdir(parents=True)
        (tmp_path / "models" / "vae" / NAME).write_bytes(MODEL)
        with pytest.raises(BadInputError, match=r"which .* is meant: loras/.*, vae/"):
            alone.check(NAME)


async def test_a_name_that_climbs_is_never_written(tmp_path):
    async with serving({"/m.safetensors": MODEL}) as mirror:
        with managed(tmp_path, mirror) as (_one, manager):
            with pytest.raises(ModelPlaceError, match="climbs"):
                await manager.ensure(
                    "../../x.safetensors", folder="loras", source=f"{mirror.url}/x.safetensors"
                )
            with pytest.raises(ModelMissingError):
                await manager.ensure(wanting("../../x.safetensors"))
        assert not mirror.seen


async def test_the_deadline_ends_it_and_what_came_is_kept(tmp_path):
    hold = asyncio.Event()
    big = safetensors(numbers=2_000_000)
    async with serving({"/m.safetensors": big}, {"cut": 3_000_000, "hold": hold}) as mirror:
        with managed(tmp_path, mirror) as (_one, manager):
            with pytest.raises(TimeoutError):
                await manager.ensure(wanting(), deadline=1.0)
            hold.set()
            done = await manager.ensure(wanting(), deadline=30)
            assert done.fetched
        assert mirror.asked[1].startswith("bytes=")


async def test_code_without_a_loop_has_twins(tmp_path):
    async with serving({"/m.safetensors": MODEL}) as mirror:
        with managed(tmp_path, mirror) as (one, manager):
            with pytest.raises(BadInputError, match="inside an event loop"):
                manager.missing_sync(wanting())
            views = await asyncio.to_thread(manager.missing_sync, wanting())
            assert views[one.url].missing
            done = await asyncio.to_thread(manager.ensure_sync, wanting(), everywhere=True)
            assert done.ready
            result = await asyncio.to_thread(manager.repair_sync, NAME)
            assert not result.mended


def test_settings_that_cannot_work_are_refused(tmp_path):
    with pytest.raises(BadInputError, match="server address or a models folder"):
        ModelManager()
    with pytest.raises(BadInputError, match="folder"):
        ModelManager(folder=tmp_path / "none")
    alone = ModelManager(folder=tmp_path)
    with pytest.raises(BadInputError, match="no server was given"):
        alone.missing_sync(wanting())
    with pytest.raises(BadInputError, match="no file can be reached"):
        ModelManager("http://127.0.0.1:1").check(NAME)


# As a recovery strategy ------------------------------------------------------------------


def trouble(message):
    info = capture(RuntimeError(message))
    info.category = ErrorCategory.MODEL
    return info


async def test_a_model_is_repaired_as_a_recovery_with_its_effect_seen(tmp_path):
    path = tmp_path / "models" / "checkpoints" / "m.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(MODEL[:-7])
    async with serving({"/m.safetensors": MODEL}) as mirror:
        sources = {"m.safetensors": f"{mirror.url}/m.safetensors"}
        with managed(tmp_path, mirror, sources=sources) as (_one, manager):
            procedure = RecoveryProcedure()
            procedure.register(ErrorCategory.MODEL, RepairModel(manager, cooldown=0))
            result = await procedure.recover(trouble("cannot load m.safetensors: header too large"))
            assert result.success
            assert result.strategy == "repair_model"
            assert "it was put aside" in result.notes[0]
            # Whole now: nothing is mended, so nothing is claimed.
            again_ = await procedure.recover(trouble("cannot load m.safetensors: odd"))
            assert not again_.success
            assert not (await procedure.recover(trouble("no name in it"))).success
            path.write_bytes(b"x")
            in_thread = await asyncio.to_thread(
                procedure.recover_sync, trouble("cannot load m.safetensors")
            )
            assert in_thread.success


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("Error while loading 'SDXL/base v1.safetensors'", "SDXL/base v1.safetensors"),
        ("ckpt_name: 'a/b.ckpt' not in list", "a/b.ckpt"),
        ("a.safetensors and b.safetensors", None),
        ("nothing", None),
        ("x.safetensors.part", None),
    ],
)
def test_the_model_is_the_one_the_message_names(message, name):
    assert named_in_message(trouble(message), RecoveryContext()) == name
