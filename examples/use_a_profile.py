"""Settings that suit the length of the work, in one line."""

from __future__ import annotations

import asyncio

from holdfast.pipeline.profiles import Profile
from holdfast.policies.scope import progress
from holdfast.testing import FakeClock

attempts = 0


async def render_film(minutes: int) -> str:
    global attempts  # noqa: PLW0603
    attempts += 1
    for _ in range(minutes):
        await asyncio.sleep(60)
        progress()  # says that the job is alive
    if attempts == 1:
        raise ConnectionResetError("the server was restarted in the last minute")
    return "film"


def main() -> None:
    # One GPU, jobs that may take hours, and two minutes of silence mean that it hangs.
    render = Profile.gpu_job.pipeline("render", idle=120)
    print(render.explain())

    with FakeClock() as clock:  # 80 minutes pass in a moment
        began = clock.now()
        outcome = clock.run(render.outcome(render_film, 40))
        print(f"{outcome.value} after {(clock.now() - began) / 60:.0f} minutes")
    for attempt in outcome.history:
        print(attempt)


main()
