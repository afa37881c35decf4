"""Cancelling a run at any moment leaves nothing: no task, no place taken, nothing on the server."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.comfyui import ComfyUI, DeadlineError
from holdfast.comfyui.ear import EAR
from holdfast.comfyui.standin import Fault, StandIn, StandInConfig
from tests.comfyui.graphs import painting, picture


async def test_a_run_cancelled_at_any_moment_leaves_nothing_behind(tmp_path):
    with StandIn(StandInConfig(step_seconds=0.01)) as server:
        async with ComfyUI(server.url, output_dir=tmp_path) as comfy:
            await comfy.run(painting(), name="warm")
            for moment in range(28):
                run = asyncio.create_task(comfy.run(painting(seed=moment, steps=12), name="cut"))
                await asyncio.sleep(0.008 * moment)
                run.cancel()
                done = await asyncio.wait({run}, timeout=5)
                assert run in done[0]
                queue = await comfy.servers[0].queue()
                assert queue.running == queue.pending == (), moment
                # An ear may rest until the next run; the client closes it when it is left.
                left = asyncio.all_tasks() - {asyncio.current_task()}
                assert [each.get_name() for each in left] in ([], [EAR]), moment
                names = {each.name for each in tmp_path.iterdir()}
                assert not [each for each in names if each.endswith(".part")], moment
            result = await comfy.run(painting(seed=99), name="after")
        assert asyncio.all_tasks() == {asyncio.current_task()}
    assert len(result.images) == 1


async def test_many_runs_cancelled_together_free_all_places():
    with StandIn(StandInConfig(step_seconds=0.02)) as server:
        async with ComfyUI(server.url) as comfy:
            runs = [asyncio.create_task(comfy.run(painting(seed=n, steps=30))) for n in range(8)]
            await asyncio.sleep(0.3)
            for run in runs:
                run.cancel()
            ended = await asyncio.gather(*runs, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in ended)
            assert len((await comfy.run(picture())).images) == 1


async def test_the_deadline_interrupts_a_running_job_and_says_so():
    with StandIn(StandInConfig(step_seconds=0.05)) as server:
        async with ComfyUI(server.url) as comfy:
            with pytest.raises(DeadlineError, match=r"not finished within 0\.4 s"):
                await comfy.run(painting(steps=200), deadline=0.4)
            queue = await comfy.servers[0].queue()
    assert queue.running == queue.pending == ()


async def test_somebody_elses_job_is_never_interrupted():
    with StandIn(StandInConfig(step_seconds=0.02)) as server:
        async with ComfyUI(server.url) as other, ComfyUI(server.url) as ours:
            theirs = asyncio.create_task(other.run(painting(seed=1, steps=40), name="theirs"))
            await asyncio.sleep(0.2)
            mine = asyncio.create_task(ours.run(painting(seed=2, steps=40), name="mine"))
            await asyncio.sleep(0.2)
            mine.cancel()
            with pytest.raises(asyncio.CancelledError):
                await mine
            result = await theirs
    assert len(result.attempts) == 1


async def test_the_callers_own_timeout_is_not_taken_for_ours():
    with StandIn(StandInConfig(step_seconds=0.05)) as server:
        async with ComfyUI(server.url) as comfy:
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(0.3):
                    await comfy.run(painting(steps=200), deadline=60)
    assert not isinstance(caught.value, DeadlineError)


async def test_leaving_takes_back_what_a_stalled_server_still_has():
    fault = Fault("freeze", node="KSampler", step=2, seconds=4.5)
    with StandIn(StandInConfig(faults=(fault,), step_seconds=0.3)) as server:
        async with ComfyUI(server.url, call_seconds=0.5) as comfy:
            run = asyncio.create_task(comfy.run(painting(steps=30)))
            await asyncio.sleep(1.2)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
        # Frozen for longer than the run waited; answered again before we left, or is reported.
        left = comfy.left_behind
        async with ComfyUI(server.url) as later:
            queue = await later.servers[0].queue()
    assert left or queue.running == ()
