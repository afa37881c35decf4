"""What really happened: pictures on the servers' disks, and pictures in the client's hand.

Nobody's word is taken for it. Every saved picture carries its graph, and every
job saves under its own name.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from benchmarks.survival.orders import Order


@dataclass(slots=True)
class Claim:
    """What a client said of one job, and what it handed over."""

    name: str
    success: bool
    seconds: float
    files: list[bytes | Path] = field(default_factory=list)
    words: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """How a client did."""

    client: str
    deliverable: int
    delivered: int
    wrong_claims: int
    """Success without the pictures, or with others; failure of what was handed over whole."""
    duplicates: int
    """Whole sets of pictures on the servers' disks beyond the one that was asked for."""
    seconds: float
    """For all jobs."""
    median: float
    """Seconds until a job that was delivered was."""
    slowest: float
    hung: int
    doubles: tuple[str, ...] = ()
    """The jobs with duplicates."""


def owner(file: bytes | Path) -> str | None:
    """The job a whole, non-black picture belongs to; None if it is no such picture."""
    import io  # noqa: PLC0415

    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as picture:
            picture.load()
            graph = json.loads(picture.info["prompt"])
        return str(graph["7"]["inputs"]["filename_prefix"])
    except (OSError, ValueError, KeyError, SyntaxError):
        return None


def _whole_sets(folder: Path, pictures: dict[str, int]) -> Counter[str]:
    """How often each job's pictures lie whole on a server's disk, saved one after another.

    A run of eight of which one was lost is no whole set: it had to be made again.
    """
    sets: Counter[str] = Counter()
    for server in folder.glob("*/output"):
        whole: dict[str, list[int]] = {}
        for path in sorted(server.rglob("*.png")):
            if (name := owner(path)) in pictures:
                whole.setdefault(name, []).append(int(path.stem.split("_")[1]))
        for name, numbers in whole.items():
            run: list[int] = []
            for number in numbers:
                run = [*run, number] if run and number == run[-1] + 1 else [number]
                if len(run) == pictures[name]:
                    sets[name] += 1
                    run = []
    return sets


def score(
    client: str,
    asked: Iterable[Order],
    claims: dict[str, Claim],
    folder: Path,
    seconds: float,
) -> Score:
    """Compare what was claimed with what is there."""
    asked = list(asked)
    pictures = {order.name: order.pictures for order in asked}
    made = _whole_sets(folder, pictures)
    delivered, wrong, times, hung = 0, 0, [], 0
    for order in asked:
        claim = claims.get(order.name)
        if claim is None:
            continue
        hung += claim.words == "hung"
        whole = [owner(each) for each in claim.files] == [order.name] * order.pictures
        if claim.success and whole:
            delivered += 1
            times.append(claim.seconds)
        wrong += claim.success != whole
    doubles = {order.name: made[order.name] - 1 for order in asked}
    doubles = {name: more for name, more in doubles.items() if more > 0}
    times.sort()
    return Score(
        client,
        sum(order.deliverable for order in asked),
        delivered,
        wrong,
        sum(doubles.values()),
        seconds,
        times[len(times) // 2] if times else 0.0,
        times[-1] if times else 0.0,
        hung,
        tuple(doubles),
    )
