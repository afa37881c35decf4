"""`python -m benchmarks.peers`: what every installed peer costs, raced in one process."""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Race, table, write_json
from benchmarks.peers import scenarios
from benchmarks.peers.catalogue import ADAPTERS, absence, load, version
from benchmarks.peers.contract import Peer


def races(peers: list[Peer]) -> Iterator[Race]:
    """Every scenario, one after the other."""
    yield from scenarios.happy(peers)
    yield from asyncio.run(scenarios.happy_async(peers))
    yield scenarios.rejected(peers)
    yield asyncio.run(scenarios.rejected_async(peers))
    yield scenarios.retrying(peers)
    yield asyncio.run(scenarios.retrying_async(peers))
    yield from scenarios.crowd_of_threads(peers)
    yield from asyncio.run(scenarios.crowd_of_tasks(peers))


def main() -> None:
    """Race, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--peers", default=",".join(ADAPTERS), help="names, with commas")
    parser.add_argument("--write", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()

    # backoff and redress log each retry; what is timed is the retry, not the log.
    logging.disable(logging.CRITICAL)
    peers = []
    for name in arguments.peers.split(","):
        peer = load(name)
        print(f"  {name:<16} {version(name) if peer else absence(name)}")
        if peer is not None:
            peers.append(peer)
    run = []
    for each in races(peers):
        print(f"\n{table(each)}", flush=True)
        run.append(each)
    if arguments.write is not None:
        write_json(run, {}, arguments.write)
        print(f"\nwritten to {arguments.write}")


if __name__ == "__main__":
    main()
