"""One worker and too much work: what matters most goes first, the hopeless is refused at once."""

from __future__ import annotations

import asyncio

from holdfast import Deadline, LoadShedder, LoadShedError

gpu = LoadShedder(limit=1, max_queue=2, name="gpu")


@gpu
async def render(name: str) -> str:
    await asyncio.sleep(0.05)
    return name


async def ask(name: str, priority: int) -> None:
    try:
        with LoadShedder.priority(priority):
            print("done:", await render(name))
    except LoadShedError as error:
        print(f"refused: {name}: {error}")


async def main() -> None:
    for name in ("first", "second", "third"):
        await render(name)  # so that it knows how long a picture takes
    await asyncio.gather(
        ask("running already", 5),
        ask("preview", 9),
        ask("batch", 7),
        ask("paying customer", 0),
    )
    try:
        with Deadline.after(0.02):
            await render("too late")
    except LoadShedError as error:
        print(f"refused: too late: {error}")
    print(gpu.snapshot())


asyncio.run(main())
