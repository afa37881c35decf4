"""What a gate is and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a peer did at one gate."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True, slots=True)
class Result:
    """One peer's answer to one gate."""

    status: Status
    """Whether the promise holds; not applicable if the library has nothing to ask."""
    detail: str
    """What was seen, in a few words."""


def absent(what: str) -> Result:
    """The library has no such thing, so there is nothing to hold it to."""
    return Result(Status.NOT_APPLICABLE, f"has no {what}")


def verdict(wrong: Sequence[str], right: str) -> Result:
    """Failed with everything that was wrong, or passed with what was seen."""
    if wrong:
        return Result(Status.FAILED, "; ".join(wrong))
    return Result(Status.PASSED, right)
