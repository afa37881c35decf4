"""Which waiting job goes to which free server. Pure: bids in, one pair out.

A server that has a job's models in memory is worth more than one that must load
them first; a fast one more than a slow one; and waiting for a better one that
is busy is right only where the job is expected to be done sooner that way. All
of it is one number, the seconds until a job would be done.

Nobody starves. A job says how many turns later somebody may have come who is
served before it, so no more than so many are; and whoever has waited for a
better server as long as that was to save takes what there is.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

OVERTAKERS = 8
"""How many later jobs may go before a waiting one, for each server there is..."""
MOST_OVERTAKERS = 16
"""... and in a long line, where all wait long anyway and each model loaded holds up everybody."""
LOOK_AHEAD = 64
"""Jobs of one kind that are reckoned with when weighing whether to wait."""


@dataclass(frozen=True, slots=True)
class Bid:
    """What one server would be for one job."""

    server: str
    order: int
    """Its place in the order the servers were given in."""
    work: float
    """Expected seconds of the job there, with its models loaded."""
    load: float = 0.0
    """Expected seconds to load what is missing."""
    ready: float = 0.0
    """Expected seconds until it can begin; for a free server, until others' jobs are done."""
    used: int = 0
    """How many jobs it had."""
    last: bool = False
    """Taken only where there is no other."""

    @property
    def seconds(self) -> float:
        """Until the job would be done there."""
        return self.ready + self.load + self.work

    @property
    def rank(self) -> tuple[bool, int, int, int]:
        """The smaller, the better. Differences of a few per cent are none: these take turns."""
        return (self.last, round(math.log(self.seconds + 0.25) * 8), self.used, self.order)


@dataclass(frozen=True, slots=True)
class Seeker:
    """A job that waits, first of those that want exactly the same."""

    turn: int
    latest: int
    """The last turn that may be served before it."""
    waiting: int
    """How many wait that want the same, itself included."""
    free: tuple[Bid, ...]
    """From servers that could take it now."""
    busy: Callable[[], Sequence[Bid]]
    """From servers it might wait for; asked only if it matters."""
    loading: bool = False
    """Some server loads its models just now, for another one of those."""
    impatient: bool = False
    """It has waited for a better server for long enough."""

    @property
    def best(self) -> Bid:
        """The best of the free servers."""
        return min(self.free, key=lambda each: each.rank)


@dataclass(frozen=True, slots=True)
class Choice:
    """What was decided."""

    pair: tuple[int, str] | None
    """The turn of the job, and the server it gets; None if nobody goes anywhere now."""
    declined: tuple[tuple[int, float], ...] = ()
    """Jobs that would rather wait: turn, and the seconds that are to be saved by it."""


def overtakers(servers: int, waiting: int) -> int:
    """How many turns after one's own somebody may have come who is served before.

    Args:
        servers: how many servers there are.
        waiting: how many wait already.
    """
    return min(max(OVERTAKERS * servers, waiting // 2), MOST_OVERTAKERS * servers)


def choose(seekers: Sequence[Seeker]) -> Choice:
    """Decide who goes next, and where.

    Args:
        seekers: those with a free server, in the order of their turns.
    """
    latest: dict[str, int] = {}
    for each in seekers:
        for bid in each.free:
            latest[bid.server] = min(latest.get(bid.server, each.latest), each.latest)
    chosen = [(each, _within(each, latest)) for each in seekers]
    found = [(each, bid) for each, bid in chosen if bid is not None]
    for each, bid in found:
        if each.impatient:
            return Choice((each.turn, bid.server))
    behind = _falls_behind(found)
    if behind is not None:
        return Choice(behind)
    declined: dict[int, float] = {}
    # A server goes to a job whose models it holds before it loads those of an older one.
    for with_models in (True, False):
        for each, bid in found:
            if (bid.load <= 0) is not with_models or each.turn in declined:
                continue
            saved = saved_by_waiting(bid, each)
            if saved <= 0:
                return Choice((each.turn, bid.server), tuple(declined.items()))
            declined[each.turn] = saved
    return Choice(None, tuple(declined.items()))


def saved_by_waiting(bid: Bid, seeker: Seeker) -> float:
    """Seconds sooner that the last of those who want the same is done if nobody takes ``bid``."""
    if bid.last:
        return 0.0
    others = [each for each in seeker.busy() if not each.last]
    if not others:
        return 0.0
    # A little is not worth the risk that the other server disappoints.
    return bid.seconds * 0.95 - _drained(others, min(seeker.waiting, LOOK_AHEAD))


def _falls_behind(found: Sequence[tuple[Seeker, Bid]]) -> tuple[int, str] | None:
    """The oldest, if too few servers do its kind: one more loads its models, and one at a time.

    Else all would do so at once, when it may not be overtaken any more, and too many.
    """
    if not found:
        return None
    oldest, bid = found[0]
    if oldest.loading or bid.load <= 0:
        return None
    others = [
        each.turn
        for each, _ in found[1:]
        if any(one.server == bid.server and one.load <= 0 for one in each.free)
    ]
    if not others or 2 * (min(others) - oldest.turn) <= oldest.latest - oldest.turn:
        return None
    return (oldest.turn, bid.server) if saved_by_waiting(bid, oldest) <= 0 else None


def _within(seeker: Seeker, latest: dict[str, int]) -> Bid | None:
    open_to_it = [bid for bid in seeker.free if seeker.turn <= latest[bid.server]]
    return min(open_to_it, key=lambda each: each.rank, default=None)


def _drained(bids: Sequence[Bid], jobs: int) -> float:
    """Seconds until so many jobs are done by these servers, each job where it is done first."""
    done = 0.0
    heap = [(each.seconds, each.order, each.work) for each in bids]
    heapq.heapify(heap)
    for _ in range(jobs):
        done, order, work = heap[0]
        heapq.heapreplace(heap, (done + work, order, work))
    return done
