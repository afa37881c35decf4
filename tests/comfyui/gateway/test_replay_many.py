"""A client that queues job after job: what one job costs must not grow with those before it."""

from __future__ import annotations

import time

from holdfast.comfyui.gateway.replay import Replay, ReplayLimits
from holdfast.comfyui.gateway.saying import Said, Sort

ME = ("ann", "c")
OF_A_JOB = (Sort.START, Sort.CACHED, Sort.EXECUTING, Sort.PROGRESS, Sort.EXECUTED, Sort.END)


def run(replay: Replay, job: str, now: float, *, heard: bool = True) -> None:
    """One whole job, told to its client or not."""
    replay.restart(ME, job)
    for sort in OF_A_JOB:
        number = replay.keep(ME, Said("x" * 50, sort, job), now)
        if heard:
            replay.told(ME, number, now)
    replay.settle(ME, job, now)


def jobs(replay: Replay, now: float) -> set[str]:
    return {each.said.job for each in replay.missed(ME, now)}


def test_the_thousandth_job_of_a_minute_is_as_quick_as_the_first():
    replay = Replay()
    began = time.perf_counter()
    for number in range(3_000):
        run(replay, f"{number}", number / 50)
    assert time.perf_counter() - began < 10  # it was minutes when each looked at all before it


def test_what_was_certainly_heard_is_given_up_while_the_client_stays():
    replay = Replay(ReplayLimits(doubt_seconds=10))
    run(replay, "unheard", 0, heard=False)
    run(replay, "heard", 1)
    run(replay, "new", 30)
    assert jobs(replay, 30) == {"unheard"}
    replay.left(ME, 30, broken=True)
    assert jobs(replay, 30) == {"unheard", "new"}
    size = replay.size
    run(replay, "later", 3_000)
    replay.left(ME, 3_000, broken=True)
    assert jobs(replay, 3_000) == {"unheard", "later"}
    assert replay.size == size


def test_what_nobody_heard_is_given_up_in_the_end_even_if_doubt_lasts_longer():
    replay = Replay(ReplayLimits(seconds=20, doubt_seconds=30))
    run(replay, "old", 0, heard=False)
    run(replay, "new", 21, heard=False)
    assert jobs(replay, 21) == {"new"}
