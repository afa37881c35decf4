"""Jobs that find no server wait on disk, through a restart of ours, and run when one is back."""

from __future__ import annotations

import asyncio

from holdfast.comfyui import ComfyUI, OfflineJobs, WorkflowRejectedError
from holdfast.comfyui.standin import StandIn
from tests.comfyui.graphs import picture
from tests.comfyui.test_client_faults import QUICK


async def test_what_finds_no_server_is_put_off_and_done_when_one_is_back(tmp_path):
    folder, pictures = tmp_path / "later", tmp_path / "pictures"
    with StandIn() as server:
        await asyncio.to_thread(server.kill)
        settings = {"patience": QUICK, "reach_seconds": 0.3, "call_seconds": 0.5}
        async with ComfyUI(server.url, **settings) as comfy:
            jobs = OfflineJobs(comfy, folder)
            for color in (1, 2):
                came = await jobs.run(picture(color), name=f"p{color}", output_dir=pictures)
                assert came is None
            assert (await jobs.catch_up()).left == 2
        await asyncio.to_thread(server.restart)
        async with ComfyUI(server.url, **settings) as comfy:  # as after a restart of ours
            jobs = OfflineJobs(comfy, folder)
            assert len(jobs) == 2
            came = await jobs.catch_up()
            assert [len(each.files) for each in came.delivered] == [1, 1]
            assert (came.left, came.dead, len(jobs)) == (0, 0, 0)
            now = await jobs.run(picture(3), name="p3", output_dir=pictures)
    assert now is not None
    assert sorted(each.name for each in pictures.iterdir()) == ["p1.png", "p2.png", "p3.png"]


async def test_what_fails_for_its_own_reasons_is_not_put_off(tmp_path):
    wrong = picture().with_inputs({"1.width": 0})
    with StandIn() as server:
        async with ComfyUI(server.url, patience=QUICK) as comfy:
            jobs = OfflineJobs(comfy, tmp_path / "later")
            try:
                await jobs.run(wrong)
            except WorkflowRejectedError:
                pass
            else:
                raise AssertionError("it was to be refused")
            jobs.put_off(wrong)
            jobs.put_off(picture())
            came = [await jobs.catch_up() for _ in range(5)]
    assert sum(each.dead for each in came) == 1
    assert sum(len(each.delivered) for each in came) == 1
