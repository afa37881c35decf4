"""`make bench-survival`: 300 jobs, four servers, every misfortune; who delivers what."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks.survival import clients, weather
from benchmarks.survival.orders import Order, orders
from benchmarks.survival.plot import plot
from benchmarks.survival.truth import Claim, Score, score

Client = Callable[[list[str], list[Order], Path], Awaitable[dict[str, Claim]]]
CLIENTS: dict[str, Client] = {
    "Holdfast": clients.holdfast,
    "bare client": clients.bare,
    "bare client + tenacity": clients.with_tenacity,
    "comfy-cli run": clients.comfy_cli,
}
RESULTS = Path(__file__).parent.parent / "results"


async def race(
    name: str, client: Client, asked: list[Order], folder: Path, options: argparse.Namespace
) -> Score:
    """One client on four fresh servers."""
    weather.clean(folder)
    async with weather.machines(folder, len(asked), options.seed) as crew:
        began = time.monotonic()
        claims = await client([each.url for each in crew], asked, folder)
        seconds = time.monotonic() - began
        struck = sum(len(each.strikes) for each in crew)
    result = score(name, asked, claims, folder, seconds)
    print(f"  {name}: {struck} faults struck", file=sys.stderr)
    for order in asked if options.verbose else ():
        claim = claims.get(order.name)
        if order.deliverable and (claim is None or not claim.success):
            print(f"    {order.name} ({order.kind}): {claim.words if claim else 'no claim'}")
    for line in result.doubles if options.verbose else ():
        print(f"    made twice: {line}: {claims[line].words}")
    return result


def table(scores: list[Score]) -> str:
    """The result as Markdown."""
    lines = [
        "| client | delivered | of deliverable | wrong claims | duplicates | hung | all jobs | "
        "a job, median | slowest |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in scores:
        share = 100 * each.delivered / each.deliverable
        lines.append(
            f"| {each.client} | {each.delivered} of {each.deliverable} | {share:.1f} % | "
            f"{each.wrong_claims} | {each.duplicates} | {each.hung} | {each.seconds:.0f} s | "
            f"{each.median:.2f} s | {each.slowest:.1f} s |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the race."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--jobs", type=int, default=300)
    given.add_argument("--seed", type=int, default=2026)
    given.add_argument("--only", choices=CLIENTS, action="append")
    given.add_argument("--verbose", action="store_true", help="name what was lost or made twice")
    given.add_argument("--keep", action="store_true", help="store the result beside this program")
    options = given.parse_args()
    asked = orders(options.jobs, options.seed)
    scores = []
    with tempfile.TemporaryDirectory(prefix="holdfast-survival-") as folder:
        for name in options.only or CLIENTS:
            scores.append(asyncio.run(race(name, CLIENTS[name], asked, Path(folder), options)))
            print(table(scores[-1:]).splitlines()[-1], flush=True)
    print(f"\n{options.jobs} jobs, seed {options.seed}, four servers\n\n{table(scores)}")
    if options.keep:
        RESULTS.mkdir(exist_ok=True)
        told = {"jobs": options.jobs, "seed": options.seed, "scores": [asdict(s) for s in scores]}
        (RESULTS / "survival.json").write_text(json.dumps(told, indent=1) + "\n")
        (RESULTS / "survival.md").write_text(table(scores) + "\n")
        plot(scores, Path("docs/images/survival.svg"))


if __name__ == "__main__":
    main()
