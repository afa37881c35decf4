"""How right and how fast `classify` is: ``python -m benchmarks.classification``.

Accuracy is over the messages in ``tests/system/classification``, each labelled before the rules
were asked: those the rules were developed on, those they were tuned on, and those held out.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from holdfast.system.classification import classify

FOLDER = Path(__file__).parent.parent / "tests" / "system" / "classification"
FIELDS = ("category", "transient", "best_recovery", "severity")
COMMON: tuple[BaseException, ...] = (
    MemoryError(),
    ConnectionError("Connection refused"),
    TimeoutError("timed out"),
    ValueError("bad value"),
    RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
)


def messages() -> dict[str, list[dict[str, Any]]]:
    """The labelled messages by what they were used for."""
    read = {
        name: [json.loads(line) for line in (FOLDER / name).read_text("utf-8").splitlines()]
        for name in ("developed_on.jsonl", "corpus.jsonl")
    }
    return {
        "developed on": read["developed_on.jsonl"],
        "tuned on": [one for one in read["corpus.jsonl"] if not one["held_out"]],
        "held out": [one for one in read["corpus.jsonl"] if one["held_out"]],
    }


def right(one: dict[str, Any]) -> dict[str, bool]:
    """For each field whether what is said of a message is what its label says."""
    found = classify(
        exception_type=one["exception_type"],
        message=one["message"],
        node_type=one["node_type"],
        http_status=one["http_status"],
    )
    said = (found.category, found.transient, found.suggested_recovery, found.severity)
    return {field: value == one[field] for field, value in zip(FIELDS, said, strict=True)}


def accuracy(labelled: list[dict[str, Any]]) -> dict[str, float]:
    """For each field the part of the messages of which the right thing is said."""
    results = [right(one) for one in labelled]
    return {field: sum(one[field] for one in results) / len(results) for field in FIELDS}


def microseconds(error: BaseException, *, fresh: bool, times: int = 5_000) -> float:
    """Per call; ``fresh`` with another message each time, so that no answer is remembered."""
    text = str(error)
    errors = [type(error)(f"{text} {n}") if fresh else error for n in range(times)]
    classify(error)
    start = time.perf_counter()
    for one in errors:
        classify(one)
    return (time.perf_counter() - start) / times * 1e6


def main() -> None:
    """Print both."""
    print(f"{'':14}{'messages':>10}" + "".join(f"{field:>15}" for field in FIELDS))
    for name, labelled in messages().items():
        figures = "".join(f"{value:>15.1%}" for value in accuracy(labelled).values())
        print(f"{name:14}{len(labelled):>10}{figures}")
    print()
    print(f"{'microseconds a call':50}{'seen before':>13}{'new':>8}")
    for error in COMMON:
        seen, new = microseconds(error, fresh=False), microseconds(error, fresh=True)
        print(f"{error!r:50.50}{seen:>13.1f}{new:>8.1f}")


if __name__ == "__main__":
    main()
