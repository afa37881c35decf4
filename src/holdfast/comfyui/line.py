"""The line of jobs that wait for a server, in the order in which they first asked.

Jobs that want exactly the same stand in one row, of which only the first needs
to be looked at: with ten thousand waiting, giving a server away costs as much
as there are different wishes. Pure.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

from holdfast.comfyui.needs import Needs


@dataclass(slots=True, eq=False)
class Wish:
    """What one waiting job would take."""

    job_key: str
    turn: int
    needs: Needs
    never: frozenset[str]
    """Servers that cannot run it."""
    avoid: frozenset[str]
    """Servers it takes only from `until` on, and only if no other is free."""
    until: float
    entered: float
    """When it came to stand here, in seconds."""
    latest: int
    """The last turn that may be served before it."""
    answer: Callable[[Any], bool]
    """Called with what it gets; says whether there was still somebody to get it."""
    patient_until: float | None = None
    """Until when it waits for a better server than there is; None while it does not."""
    gone: bool = field(default=False, init=False)

    def allows(self, server: str, now: float) -> bool:
        """Whether it would take this server now."""
        return server not in self.never and (server not in self.avoid or now >= self.until)

    @property
    def row(self) -> Hashable:
        """The same for wishes that are alike; one with a past of its own stands alone."""
        if self.avoid:
            return self.job_key
        return (self.needs.signature, self.needs.models, self.never)


class Line:
    """All wishes."""

    def __init__(self) -> None:
        self._rows: dict[Hashable, list[tuple[int, int, Wish]]] = {}
        self._counts: Counter[Hashable] = Counter()
        self._where: dict[int, Hashable] = {}
        self._by_job: dict[str, Wish] = {}
        self._nevers: Counter[frozenset[str]] = Counter()
        self._avoiding: dict[int, Wish] = {}
        self._came = 0

    def __len__(self) -> int:
        return len(self._by_job)

    def __iter__(self) -> Iterator[Wish]:
        return iter(list(self._by_job.values()))

    def add(self, wish: Wish) -> None:
        """Stand in line."""
        row = wish.row
        self._came += 1
        heapq.heappush(self._rows.setdefault(row, []), (wish.turn, self._came, wish))
        self._counts[row] += 1
        self._where[id(wish)] = row
        self._by_job[wish.job_key] = wish
        self._nevers[wish.never] += 1
        if wish.avoid:
            self._avoiding[id(wish)] = wish

    def remove(self, wish: Wish) -> None:
        """Leave, with a server or without; done twice it does nothing."""
        if wish.gone:
            return
        wish.gone = True
        row = self._where.pop(id(wish))
        self._counts[row] -= 1
        if self._counts[row] == 0:
            del self._counts[row], self._rows[row]
        else:
            rest = self._rows[row]
            while rest[0][2].gone:
                heapq.heappop(rest)
        if self._by_job.get(wish.job_key) is wish:
            del self._by_job[wish.job_key]
        self._nevers[wish.never] -= 1
        if self._nevers[wish.never] == 0:
            del self._nevers[wish.never]
        self._avoiding.pop(id(wish), None)

    def of(self, job_key: str) -> Wish | None:
        """The wish of a job, if it waits."""
        return self._by_job.get(job_key)

    def heads(self) -> list[tuple[Wish, int]]:
        """The first of each row and how many stand in it, in the order of their turns."""
        found = [(rest[0][2], self._counts[row]) for row, rest in self._rows.items()]
        return sorted(found, key=lambda each: each[0].turn)

    @property
    def nevers(self) -> list[frozenset[str]]:
        """The different sets of servers that those who wait cannot use."""
        return list(self._nevers)

    @property
    def avoiding(self) -> list[Wish]:
        """Those that leave some servers alone for a while."""
        return list(self._avoiding.values())
