"""The pool over real sockets: stragglers are joined, servers come and go, status is told."""

from __future__ import annotations

import asyncio
import contextlib
import math

import aiohttp
import pytest

from holdfast.comfyui import ComfyUI, FailureKind, events
from holdfast.comfyui.hedging import Paid
from holdfast.comfyui.server import Server
from holdfast.comfyui.standin import Fault, StandIn, StandInConfig
from holdfast.comfyui.status import ServerState
from holdfast.errors import BadInputError
from tests.comfyui.graphs import painting, picture


@contextlib.contextmanager
def standins(count, *, faults=(), step_seconds=0.02):
    """Servers, the first of which has the faults."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                StandIn(StandInConfig(faults=() if number else faults, step_seconds=step_seconds))
            )
            for number in range(count)
        ]


async def learn(comfy, pairs=4):
    """Jobs two at a time, until it is known how long they take on both servers."""
    for number in range(pairs):
        await asyncio.gather(
            *(comfy.run(painting(seed=10 * number + each, steps=8)) for each in (1, 2))
        )


async def queue_of(url):
    async with ComfyUI(url) as other:
        return await other.servers[0].queue()


async def test_a_straggler_is_run_a_second_time_and_delivered_once(tmp_path):
    heard: list[object] = []
    freeze = Fault("freeze", node="KSampler", job=5, step=2, seconds=4.0)
    with standins(2, faults=(freeze,)) as (slow, fast):
        async with ComfyUI(slow.url, fast.url, hedge=2.0, on_event=heard.append) as comfy:
            await learn(comfy)
            results = await asyncio.gather(
                *(
                    comfy.run(painting(seed=seed, steps=8), name=f"j{seed}", output_dir=tmp_path)
                    for seed in (91, 92)
                )
            )
        (started,) = [each for each in heard if isinstance(each, events.HedgeStarted)]
        (ended,) = [each for each in heard if isinstance(each, events.HedgeEnded)]
        assert (started.slow_server, started.server) == (slow.url, fast.url)
        assert started.seconds >= 2 * started.usual
        assert (ended.job, ended.won) == (started.job, True)
        assert comfy.left_behind == []
        queue = await queue_of(slow.url)
        assert queue.running == queue.pending == ()
    (hedged,) = [each for each in results if len(each.attempts) == 2]
    assert hedged.server == fast.url
    assert [each.number for each in hedged.attempts] == [1, 2]
    assert hedged.attempts[0].failure.kind is FailureKind.STALLED
    assert "was faster" in hedged.attempts[0].failure.message
    assert any("started a second time" in note for note in hedged.notes)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["j91.png", "j92.png"]
    delivered = [each.job for each in heard if isinstance(each, events.JobDelivered)]
    assert delivered.count(started.job) == 1


async def test_the_first_run_wins_if_it_is_done_first_and_the_second_is_withdrawn(tmp_path):
    heard: list[object] = []
    lag = Fault("freeze", node="KSampler", job=5, step=2, seconds=1.0)
    later = Fault("freeze", node="KSampler", job=6, step=1, seconds=3.0)
    with (
        StandIn(StandInConfig(faults=(lag,), step_seconds=0.02)) as first,
        StandIn(StandInConfig(faults=(later,), step_seconds=0.02)) as second,
    ):
        settings = {"hedge": 1.5, "output_dir": tmp_path, "on_event": heard.append}
        async with ComfyUI(first.url, second.url, **settings) as comfy:
            await learn(comfy)
            results = await asyncio.gather(
                *(comfy.run(painting(seed=seed, steps=8), name=f"j{seed}") for seed in (91, 92))
            )
    ended = [each for each in heard if isinstance(each, events.HedgeEnded)]
    assert [each.won for each in ended] == [False]
    assert all(len(each.attempts) == 1 for each in results)
    assert {each.server for each in results} == {first.url, second.url}
    made = sorted(each.name for each in tmp_path.glob("j*"))
    assert made == ["j91.png", "j92.png"]


@pytest.mark.parametrize("how", ["off", "for this job", "paid"])
async def test_a_straggler_is_left_alone_when_hedging_is_off_or_would_cost_money(monkeypatch, how):
    heard: list[object] = []
    freeze = Fault("freeze", node="KSampler", job=5, step=2, seconds=1.5)
    if how == "paid":

        async def everything_costs(_self, _server, _classes):
            return True

        monkeypatch.setattr(Paid, "in_any", everything_costs)
    with standins(2, faults=(freeze,)) as both:
        urls = [each.url for each in both]
        hedge = None if how == "off" else 2.0
        async with ComfyUI(*urls, hedge=hedge, on_event=heard.append) as comfy:
            await learn(comfy)
            mine = math.inf if how == "for this job" else None
            await asyncio.gather(
                *(comfy.run(painting(seed=seed, steps=8), hedge=mine) for seed in (91, 92))
            )
    assert not [each for each in heard if isinstance(each, events.HedgeStarted)]


async def test_what_costs_money_is_read_from_the_server_and_the_unknown_counts_as_paid():
    class Asked:
        async def object_info(self, name):
            assert name not in seen, "asked twice"
            seen.append(name)
            return {name: {"input": {}, "api_node": name == "Dear"}} if name != "Unknown" else {}

    seen: list[str] = []
    paid = Paid()
    server: Server = Asked()
    assert not await paid.in_any(server, frozenset({"Cheap"}))
    assert await paid.in_any(server, frozenset({"Cheap", "Dear"}))
    assert await paid.in_any(server, frozenset({"Cheap", "Unknown"}))


async def test_a_server_added_while_jobs_wait_takes_some_of_them():
    with standins(2, step_seconds=0.05) as (first, second):
        async with ComfyUI(first.url) as comfy:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(comfy.run(painting(seed=n))) for n in range(8)]
                await asyncio.sleep(0.3)
                await comfy.add_server(second.url)
            with pytest.raises(BadInputError, match="in the pool already"):
                await comfy.add_server(second.url)
    assert {each.result().server for each in tasks} == {first.url, second.url}


async def test_a_server_removed_with_its_job_hands_it_to_another():
    heard: list[object] = []
    with standins(2, step_seconds=0.05) as (first, second):
        async with ComfyUI(first.url, second.url, on_event=heard.append) as comfy:
            job = asyncio.create_task(comfy.run(painting(steps=40)))
            await asyncio.sleep(0.8)
            await comfy.remove_server(first.url, drain=False)
            assert [each.name for each in comfy.status()] == [second.url]
            queue = await queue_of(first.url)
            assert queue.running == queue.pending == ()
            result = await job
        assert comfy.left_behind == []
    assert result.server == second.url
    lost, done = result.attempts
    assert (lost.number, lost.server, lost.failure.kind) == (1, first.url, FailureKind.LOST)
    assert "removed from the pool" in lost.failure.message
    assert (done.number, done.server, done.failure) == (2, second.url, None)
    assert any(isinstance(each, events.Withdrawn) and each.clean for each in heard)


async def test_a_server_that_is_drained_finishes_its_job_first():
    with standins(2, step_seconds=0.05) as (first, second):
        async with ComfyUI(first.url, second.url) as comfy:
            job = asyncio.create_task(comfy.run(painting(steps=20)))
            await asyncio.sleep(0.5)
            await comfy.remove_server(first.url)
            assert [each.name for each in comfy.status()] == [second.url]
            done = await asyncio.wait_for(job, 1.0)
            assert (done.server, len(done.attempts)) == (first.url, 1)
            assert (await comfy.run(picture())).server == second.url
            with pytest.raises(BadInputError, match="the last server"):
                await comfy.remove_server(second.url)


async def test_the_status_says_how_each_server_stands():
    with standins(2) as (first, dead):
        dead.kill()
        async with ComfyUI(first.url, dead.url, call_seconds=1.0) as comfy:
            assert {each.state for each in comfy.status()} == {ServerState.NEW}
            for seed in (1, 2):
                await comfy.run(painting(seed=seed))
            up, down = comfy.status()
    assert (up.state, up.busy, up.capacity, up.done, up.failed) == (ServerState.UP, 0, 1, 2, 0)
    assert up.loaded == ("sd15.safetensors",)
    assert up.seconds is not None
    assert (down.state, down.done) == (ServerState.DOWN, 0)
    assert "cannot be reached" in down.reason
    assert down.breaker == "open"


async def test_a_server_may_be_given_several_jobs_at_a_time_and_never_more():
    with standins(1, step_seconds=0.02) as (only,):
        async with ComfyUI(only.url, jobs_per_server=3) as comfy:
            await comfy.run(painting(seed=99))
            jobs = [asyncio.create_task(comfy.run(painting(seed=n, steps=10))) for n in range(8)]
            most = 0
            while not all(each.done() for each in jobs):
                most = max(most, *(each.busy for each in comfy.status()))
                await asyncio.sleep(0.01)
            results = [each.result() for each in jobs]
    assert most == 3
    assert all(len(each.attempts) == 1 for each in results)


async def test_a_server_that_was_added_is_warmed_up_before_it_gets_a_job():
    warm_up = painting(seed=77, steps=2)
    with standins(2) as (first, second):
        async with ComfyUI(first.url, warm_up=warm_up) as comfy:
            await comfy.run(painting())
            await comfy.add_server(second.url)
            for _ in range(200):
                await asyncio.sleep(0.05)
                if comfy.status()[1].state is not ServerState.NEW:
                    break
            assert comfy.status()[1].loaded == ("sd15.safetensors",)
            assert comfy.status()[1].state is ServerState.RAMPING
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{second.url}/history") as answer:
                assert len(await answer.json()) == 1


@pytest.mark.parametrize(
    "bad", [{"jobs_per_server": 0}, {"hedge": 0.5}, {"jobs_per_server": True}], ids=str
)
def test_settings_that_make_no_sense_are_refused_by_name(bad):
    with pytest.raises(BadInputError, match=next(iter(bad))):
        ComfyUI("http://gpu1:8188", **bad)
