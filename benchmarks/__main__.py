"""`make bench`: what Holdfast costs, and what its peers cost, as ratios measured in one run.

Nothing here is a test: figures depend on the machine, ratios less so.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from pathlib import Path

from benchmarks import comfyui_runs, engine
from benchmarks.measure import Race, machine, markdown, sizes_table, table, write_json
from benchmarks.peers.__main__ import races as peer_races
from benchmarks.peers.catalogue import ADAPTERS, absence, load, version


def main() -> None:
    """Race, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--write", type=Path, help="a JSON file for the figures")
    parser.add_argument("--markdown", type=Path, help="a Markdown file for the tables")
    parser.add_argument("--only", choices=("engine", "peers", "comfyui"), help="one part alone")
    arguments = parser.parse_args()
    # Some peers log each retry; what is timed is the retry, not the log.
    logging.disable(logging.CRITICAL)
    print("  ".join(f"{name} {value}" for name, value in machine().items()))
    run: list[Race] = []
    sizes: dict[str, float] = {}
    if arguments.only in (None, "engine"):
        run += engine.run()
        sizes = engine.sizes()
        _tell_engine(run, sizes)
    if arguments.only in (None, "peers"):
        run += _peers()
    if arguments.only in (None, "comfyui"):
        asyncio.run(comfyui_runs.runs())
    if arguments.markdown is not None:
        told = ", ".join(f"{name} {value}" for name, value in machine().items())
        tables = "\n\n".join([*map(markdown, run), sizes_table(sizes)]).rstrip()
        arguments.markdown.write_text(f"Measured on {told}.\n\n{tables}\n", encoding="utf-8")
    if arguments.write is not None:
        write_json(run, sizes, arguments.write)
        print(f"\nwritten to {arguments.write}")


def _tell_engine(races: list[Race], sizes: dict[str, float]) -> None:
    for each in races:
        print(f"\n{table(each)}", flush=True)
    print("\nMemory per object (bytes), and import (milliseconds)")
    for name, size in sizes.items():
        print(f"  {name:<44} {size:>10,.0f}")
    print("\nGoals")
    for line in engine.goals(races, sizes):
        print(line)


def _peers() -> list[Race]:
    print("\nPeers")
    peers = []
    for name in ADAPTERS:
        peer = load(name)
        print(f"  {name:<16} {version(name) if peer else absence(name)}")
        if peer is not None:
            peers.append(peer)
    races = []
    for each in peer_races(peers):
        print(f"\n{table(each)}", flush=True)
        races.append(each)
    return races


if __name__ == "__main__":
    main()
