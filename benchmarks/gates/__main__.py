"""`python -m benchmarks.gates`: ask every installed peer at every gate and print a table."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.gates.catalogue import GATES, Gate, gate
from benchmarks.gates.contract import Result, Status
from benchmarks.gates.report import markdown
from benchmarks.peers.catalogue import ADAPTERS, absence, load, version

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 20.0


def ask(key: str, name: str, limit: float) -> Result:
    """One probe in its own process; a hang is an answer, too."""
    command = [sys.executable, "-m", "benchmarks.gates.child", key, name]
    try:
        done = subprocess.run(  # noqa: S603  our own module
            command, cwd=ROOT, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return Result(Status.FAILED, f"no answer within {limit:g} s")
    try:
        told = json.loads(done.stdout.splitlines()[-1])
        return Result(Status(told["status"]), told["detail"])
    except (IndexError, ValueError, KeyError):
        complaint = (done.stderr.strip() or "said nothing").splitlines()[-1]
        return Result(Status.FAILED, f"the process ended with {done.returncode}: {complaint}")


def ask_all(
    gates: list[Gate], peers: list[str], limit: float, jobs: int
) -> dict[tuple[str, str], Result]:
    """Every gate, every peer, a few at a time."""
    with ThreadPoolExecutor(jobs) as pool:
        asked = {
            (gate.key, peer): pool.submit(ask, gate.key, peer, limit)
            for gate in gates
            for peer in peers
        }
        return {pair: future.result() for pair, future in asked.items()}


def main() -> None:
    """Ask and print; also to a file if told to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gates", description=__doc__)
    parser.add_argument("--peers", default=",".join(ADAPTERS), help="names, with commas")
    parser.add_argument("--gates", default=",".join(g.key for g in GATES), help="with commas")
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, help="seconds per probe")
    # Probes sleep more than they compute, yet too many at once distort their clocks.
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="probes at once")
    parser.add_argument("--write", type=Path, help="a Markdown file for the table")
    arguments = parser.parse_args()

    gates = [gate(key) for key in arguments.gates.split(",")]
    versions = {}
    for name in arguments.peers.split(","):
        if load(name) is None:
            print(f"{name}: {absence(name)}", file=sys.stderr)
        else:
            versions[name] = version(name) or ""
    answers = ask_all(gates, list(versions), arguments.limit, arguments.jobs)
    text = markdown(gates, versions, answers)
    print(text)
    if arguments.write is not None:
        arguments.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
