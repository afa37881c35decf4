"""What once ran out of memory, and what it then took to fit: so the next job starts there.

A lesson belongs to a server, the models a workflow loads, and its size. It
holds for everything at least as large; something smaller is tried as it is.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

from holdfast.comfyui.model_inputs import looks_like_model
from holdfast.comfyui.needs import SIZES
from holdfast.comfyui.workflow import Workflow, is_link

MOST = 2_000
"""Lessons kept; the one used longest ago goes first."""

LESSON_SECONDS = 3600.0
"""After so long a job is tried as it was given again: memory comes and goes."""


Key = tuple[str, frozenset[str]]
"""A server and the models loaded there."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """Work of some size fitted only after some changes."""

    size: float
    """The least size that was seen to need them."""
    fits: float
    """The largest single run that was seen to fit then."""
    names: frozenset[str]
    """The kinds of changes."""
    at: str = ""
    """The class of the node that ran out of memory."""
    learned_at: float = 0.0
    """Seconds of a monotonic clock."""


class Lessons:
    """Lessons by server and models. Not safe across threads."""

    def __init__(self) -> None:
        self._learned: OrderedDict[Key, Lesson] = OrderedDict()

    def learn(
        self,
        server: str,
        workflow: Workflow,
        names: frozenset[str],
        fits: float,
        *,
        at: str = "",
        now: float = 0.0,
    ) -> None:
        """``workflow``, as it was given, fitted into ``server`` with these changes.

        Args:
            server: where.
            workflow: as it was given.
            names: the kinds of changes.
            fits: the size of the largest run that was made of it.
            at: the class of the node that ran out of memory.
            now: when; seconds of a monotonic clock.
        """
        key = (server, models_of(workflow))
        known = self._learned.pop(key, None)
        size = size_of(workflow)
        if known is not None and known.names == names:
            size = min(size, known.size)
        began = known.learned_at if known is not None and known.names == names else now
        self._learned[key] = Lesson(size, fits, names, at, began)
        while len(self._learned) > MOST:
            self._learned.popitem(last=False)

    def recall(self, server: str, workflow: Workflow, now: float = 0.0) -> Lesson | None:
        """What to start with on this server; None if nothing speaks for changes.

        A lesson is forgotten after a while, so that one shortage does not shrink all that comes.
        """
        key = (server, models_of(workflow))
        known = self._learned.get(key)
        if known is None or size_of(workflow) < known.size:
            return None
        if now - known.learned_at > LESSON_SECONDS:
            del self._learned[key]
            return None
        self._learned.move_to_end(key)
        return known


def models_of(workflow: Workflow) -> frozenset[str]:
    """The model files a workflow names."""
    return frozenset(
        value
        for node in workflow.graph.values()
        for value in node["inputs"].values()
        if looks_like_model(value)
    )


def size_of(workflow: Workflow) -> float:
    """How large the work is: pixels of all frames and pictures, of the largest node of it."""
    largest = 1.0
    for node in workflow.graph.values():
        sizes = [node["inputs"].get(name) for name in SIZES]
        numbers = [
            float(value)
            for value in sizes
            if isinstance(value, int | float)
            and not isinstance(value, bool)
            and not is_link(value)
            and 0 < value < 1e9
        ]
        largest = max(largest, math.prod(numbers))
    return largest
