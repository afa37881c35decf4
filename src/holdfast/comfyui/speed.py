"""How long jobs take where: learned from what they took, and guessed where nobody knows yet.

Seconds are kept for each server and job signature, once for servers that had
the models in memory and once for what loading them adds. A server that has
never run such a job is judged by its pace: how it compares with the others.
Arithmetic only; at most `REMEMBERED` entries of each kind, the oldest go first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

WORK_GUESS = 30.0
"""Seconds of a job of which nothing at all is known."""
LOAD_GUESS = 10.0
"""Seconds that loading models takes, as long as nothing is known."""
REMEMBERED = 4_096
NEWEST_COUNTS = 0.2
"""The share of the newest observation, once there are five."""

K = TypeVar("K")


@dataclass(slots=True)
class Learned:
    """A running mean and the mean distance from it."""

    mean: float = 0.0
    """Seconds."""
    deviation: float = 0.0
    """Seconds."""
    count: int = 0

    def observe(self, value: float) -> None:
        """Take one observation in."""
        self.count += 1
        share = max(1.0 / self.count, NEWEST_COUNTS)
        self.deviation += share * (abs(value - self.mean) - self.deviation)
        if self.count == 1:
            self.deviation = value / 2
        self.mean += share * (value - self.mean)


class Speeds:
    """What was learned of all servers."""

    def __init__(self) -> None:
        self._own: dict[tuple[str, str], Learned] = {}
        self._pooled: dict[str, Learned] = {}
        self._paces: dict[str, Learned] = {}
        self._loads: dict[frozenset[str], Learned] = {}
        self._any_load = Learned()
        self._cold: dict[tuple[str, str], tuple[frozenset[str], float]] = {}

    def observe(
        self, server: str, signature: str, seconds: float, missing: frozenset[str] = frozenset()
    ) -> None:
        """A job was delivered.

        Args:
            server: where.
            signature: what kind of job.
            seconds: from its submission to its files.
            missing: the models that were not in the server's memory when it began.
        """
        seconds = max(seconds, 1e-3)
        key = (server, signature)
        if missing:
            warm = self._warm(server, signature)
            if warm is None:
                _keep(self._cold, key, (missing, seconds))
            else:
                self._loaded(server, missing, seconds - warm)
            return
        pooled = self._pooled.get(signature)
        if pooled is not None:
            _entry(self._paces, server).observe(min(max(seconds / pooled.mean, 0.05), 20.0))
        _entry(self._own, key).observe(seconds)
        _entry(self._pooled, signature).observe(seconds / self.pace(server))
        cold = self._cold.pop(key, None)
        if cold is not None:
            self._loaded(server, cold[0], cold[1] - seconds)

    def pace(self, server: str) -> float:
        """How the server compares: 1 is typical, 2 takes twice as long."""
        learned = self._paces.get(server)
        return 1.0 if learned is None else learned.mean

    def work(self, server: str, signature: str) -> float:
        """Expected seconds of such a job on this server with its models loaded."""
        warm = self._warm(server, signature)
        if warm is not None:
            return warm
        cold = self._cold.get((server, signature))
        return WORK_GUESS * self.pace(server) if cold is None else cold[1]

    def load(self, server: str, signature: str, missing: frozenset[str]) -> float:
        """Expected seconds for loading ``missing`` there; 0 for nothing."""
        if not missing:
            return 0.0
        learned = self._loads.get(missing)
        if learned is not None:
            return learned.mean * self.pace(server)
        if self._any_load.count:
            return self._any_load.mean * self.pace(server)
        cold = self._cold.get((server, signature)) or next(
            (each for each in self._cold.values() if each[0] == missing), None
        )
        # Loading took a part of a run that is known only as a whole.
        return LOAD_GUESS if cold is None else min(LOAD_GUESS, cold[1] / 2)

    def learned(self, server: str, signature: str) -> Learned | None:
        """What is known of such jobs: on this server, else on all of them."""
        own = self._own.get((server, signature))
        if own is not None and own.count >= 3:
            return own
        pooled = self._pooled.get(signature)
        if pooled is None:
            return own
        pace = self.pace(server)
        return Learned(pooled.mean * pace, pooled.deviation * pace, pooled.count)

    def usual(self, signature: str) -> float | None:
        """Seconds of such a job on a typical server, None if there was none yet."""
        pooled = self._pooled.get(signature)
        return None if pooled is None else pooled.mean

    def of_server(self, server: str) -> float | None:
        """The mean of what its kinds of jobs take, None if it has delivered nothing yet."""
        means = [each.mean for (name, _), each in self._own.items() if name == server]
        return sum(means) / len(means) if means else None

    def typical(self, server: str) -> float:
        """Seconds of a job nobody knows anything of, such as somebody else's in the queue."""
        means = [each.mean for each in self._pooled.values()]
        return (sum(means) / len(means) if means else WORK_GUESS) * self.pace(server)

    def forget(self, server: str) -> None:
        """The server is gone for good."""
        for table in (self._own, self._cold):
            for key in [each for each in table if each[0] == server]:
                del table[key]
        self._paces.pop(server, None)

    def _warm(self, server: str, signature: str) -> float | None:
        own = self._own.get((server, signature))
        if own is not None:
            return own.mean
        pooled = self._pooled.get(signature)
        return None if pooled is None else pooled.mean * self.pace(server)

    def _loaded(self, server: str, missing: frozenset[str], seconds: float) -> None:
        seconds = max(seconds, 0.0) / self.pace(server)
        _entry(self._loads, missing).observe(seconds)
        self._any_load.observe(seconds)


def _entry(table: dict[K, Learned], key: K) -> Learned:
    found = table.pop(key, None) or Learned()
    table[key] = found
    while len(table) > REMEMBERED:
        del table[next(iter(table))]
    return found


def _keep(
    table: dict[K, tuple[frozenset[str], float]], key: K, value: tuple[frozenset[str], float]
) -> None:
    table.pop(key, None)
    table[key] = value
    while len(table) > REMEMBERED:
        del table[next(iter(table))]
