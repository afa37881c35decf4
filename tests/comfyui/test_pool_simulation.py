"""Hundreds of jobs over a dozen servers on a clock that jumps: the laws of the pool."""

from __future__ import annotations

import pytest

from benchmarks import pool
from holdfast.comfyui.routing import MOST_OVERTAKERS

SERVERS, JOBS = 12, 600


@pytest.mark.parametrize("troubled", [False, True], ids=["well", "troubled"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_job_is_done_once_nobody_is_overtaken_too_far_and_nearly_nothing_is_lost(
    seed, troubled
):
    came = pool.simulate(SERVERS, JOBS, seed, troubled=troubled)
    assert came.delivered == dict.fromkeys(range(1, JOBS + 1), 1)
    assert came.most_overtaken <= MOST_OVERTAKERS * SERVERS
    assert came.most_ejected <= SERVERS // 2
    assert came.ratio >= (0.8 if troubled else 0.88)
    if not troubled:
        assert (came.attempts, came.ejections, came.downs) == (JOBS, 0, 0)


def test_the_same_seed_gives_the_same_outcome():
    one, two = (pool.simulate(6, 120, 5, troubled=True) for _ in range(2))
    assert one.seconds == two.seconds
    assert one.first_starts == two.first_starts
