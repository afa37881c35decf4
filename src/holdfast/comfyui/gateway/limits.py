"""How much is let in: rates, sizes, numbers at once, quotas, and who is turned away first. Pure.

Memory is bounded whoever calls: a table of rates or counts holds so many names and no more. Names
whose rate has recovered are forgotten first. If there are none, newcomers share one rate, so that
somebody with a million addresses gains nothing by them.

Not safe for concurrent use: the gateway uses them from its event loop alone.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from holdfast.comfyui.gateway.caller import Quotas
from holdfast.machines.tokens import Gcra
from holdfast.policies import checks

_LOOKED_AT = 8
"""Names looked at for one that can be forgotten."""
_MINUTE = 60.0
_MINUTES = 60
_HOUR = 3_600.0
MOST_WAIT = 3_600
"""Seconds that a client is told to wait, at most."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a gateway."""

    body_bytes: int = 100 * 1024 * 1024
    """Bytes of a request's body; ComfyUI's own limit."""
    header_bytes: int = 32 * 1024
    """Bytes of a request's headers together."""
    target_bytes: int = 16 * 1024
    """Bytes of path and query together."""
    headers: int = 100
    """Headers of a request."""
    rate: float = 200.0
    """Requests a second of one key or address, in the long run."""
    burst: float = 2_000.0
    """Requests of one key or address at once; opening the page makes about 500."""
    failed_logins: float = 10.0
    """Wrong keys of one address at once; one more is forgiven every six seconds."""
    concurrent: int = 256
    """Requests of one key or address being answered at once."""
    concurrent_all: int = 4_096
    """Requests of all being answered at once."""
    sockets: int = 128
    """WebSockets of one key or address; with no key asked for, of this machine."""
    sockets_all: int = 2_048
    """WebSockets of all."""
    names: int = 10_000
    """Keys and addresses that are remembered at once."""

    def __post_init__(self) -> None:
        for name in ("body_bytes", "header_bytes", "target_bytes", "headers", "names"):
            checks.whole(name, getattr(self, name), at_least=1)
        for name in ("concurrent", "concurrent_all", "sockets", "sockets_all"):
            checks.whole(name, getattr(self, name), at_least=1)
        checks.number("rate", self.rate, above=0, unit="requests a second")
        for name in ("burst", "failed_logins"):
            checks.number(name, getattr(self, name), at_least=1)


class Rates:
    """The same rate for each of many names."""

    __slots__ = ("_burst", "_most", "_names", "_newcomers", "_per", "_rate")

    def __init__(self, rate: float, per: float, burst: float, most: int = 10_000) -> None:
        """Allow each name ``rate`` units in ``per`` seconds, and ``burst`` at once."""
        self._rate, self._per, self._burst, self._most = rate, per, burst, most
        self._names: OrderedDict[str, Gcra] = OrderedDict()
        self._newcomers = Gcra(rate, per, burst)

    def take(self, name: str, now: float) -> float:
        """Take one unit: 0.0 if it was there, else the seconds until it will be."""
        found = self._names.get(name)
        if found is None:
            found = self._room(now)
            if found is None:
                return self._newcomers.take(now)
            self._names[name] = found
        else:
            self._names.move_to_end(name)
        return found.take(now)

    def left(self, name: str, now: float) -> float:
        """Units that this name could take at once."""
        found = self._names.get(name)
        if found is not None:
            return found.available(now)
        return self._burst if len(self._names) < self._most else self._newcomers.available(now)

    def __len__(self) -> int:
        return len(self._names)

    def _room(self, now: float) -> Gcra | None:
        if len(self._names) >= self._most:
            for name in list(zip(range(_LOOKED_AT), self._names, strict=False)):
                if self._names[name[1]].available(now) >= self._burst:
                    del self._names[name[1]]
                    break
                # Still spent: look at others before it the next time.
                self._names.move_to_end(name[1])
            else:
                return None
        return Gcra(self._rate, self._per, self._burst)


class AtOnce:
    """How many are at it, of each name and of all; a name that has none is forgotten."""

    __slots__ = ("_all", "_counts", "_each", "_most")

    def __init__(self, each: int, most: int) -> None:
        self._each, self._most = each, most
        self._counts: dict[str, int] = {}
        self._all = 0

    def enter(self, name: str) -> bool:
        """One more, if there is room; True must be followed by one `leave`."""
        count = self._counts.get(name, 0)
        if count >= self._each or self._all >= self._most:
            return False
        self._counts[name] = count + 1
        self._all += 1
        return True

    def leave(self, name: str) -> None:
        """One less."""
        count = self._counts.get(name, 0)
        if count:
            self._all -= 1
        if count > 1:
            self._counts[name] = count - 1
        else:
            self._counts.pop(name, None)

    def __len__(self) -> int:
        return self._all


class Hourly:
    """How many were counted in the last hour for each name, to the minute.

    A minute counts until the last moment of it is an hour ago, so never more than the quota pass in
    any hour.
    """

    __slots__ = ("_most", "_names")

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._names: OrderedDict[str, deque[list[float]]] = OrderedDict()

    def knows(self, name: str) -> bool:
        """Whether anything is counted for this name, be it none."""
        return name in self._names

    def begin(self, name: str, ages: Mapping[int, int], now: float) -> None:
        """Count for a name what was accepted before anything was counted here.

        Args:
            name: of which nothing is known yet.
            ages: how many were accepted so many whole minutes ago.
            now: in seconds.
        """
        counts: dict[int, int] = {}
        for age, jobs in ages.items():
            minute = math.floor(now / _MINUTE) - max(0, age)
            counts[minute] = counts.get(minute, 0) + jobs
        minutes: deque[list[float]] = deque(maxlen=_MINUTES + 2)
        minutes.extend([minute, counts[minute]] for minute in sorted(counts))
        self._keep(name, minutes)

    def wait(self, name: str, quota: int | None, now: float, jobs: int = 1) -> float:
        """Seconds until so many jobs fit into the quota: 0.0 if now, infinite if never."""
        if quota is None:
            return 0.0
        if jobs > quota:
            return math.inf
        minutes = self._minutes(name, now)
        over = sum(count for _, count in minutes) + jobs - quota
        for minute, count in minutes:
            if over <= 0:
                return 0.0
            over -= count
            if over <= 0:
                return max(_ends(minute) - now, 0.001)
        return 0.0

    def count(self, name: str, now: float, jobs: int = 1) -> None:
        """Count jobs that were accepted."""
        minutes = self._minutes(name, now)
        minute = math.floor(now / _MINUTE)
        if minutes and minutes[-1][0] >= minute:
            minutes[-1][1] += jobs
        else:
            minutes.append([minute, jobs])
        self._keep(name, minutes)

    def _keep(self, name: str, minutes: deque[list[float]]) -> None:
        self._names[name] = minutes
        self._names.move_to_end(name)
        while len(self._names) > self._most:
            self._names.popitem(last=False)

    def _minutes(self, name: str, now: float) -> deque[list[float]]:
        minutes = self._names.get(name) or deque(maxlen=_MINUTES + 2)
        while minutes and _ends(minutes[0][0]) <= now:
            minutes.popleft()
        return minutes


def _ends(minute: float) -> float:
    return (minute + 1) * _MINUTE + _HOUR


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is not let in, in the words of HTTP."""

    status: int
    reason: str
    retry_after: float | None = None
    """Seconds; None: trying again is of no use."""


def over_quota(quotas: Quotas, queued: int, priority: int, jobs: int = 1) -> Refusal | None:
    """Refuse jobs that a key may not have, as far as its queue and its priority go.

    Args:
        quotas: the key's.
        queued: jobs of its user that wait now.
        priority: what is asked for.
        jobs: how many are asked for.
    """
    if quotas.top_priority is not None and priority > quotas.top_priority:
        return Refusal(403, f"priority must be at most {quotas.top_priority} for this key")
    if quotas.max_queued is not None and queued + jobs > quotas.max_queued:
        if jobs > quotas.max_queued:
            return Refusal(403, f"this key may have at most {quotas.max_queued} jobs waiting")
        return Refusal(429, f"this key has {queued} of {quotas.max_queued} jobs waiting", 5.0)
    return None


@dataclass(frozen=True, slots=True)
class Shedding:
    """Who is turned away as the queue fills: the lowest priorities first."""

    most: int = 100_000
    """Jobs in the queue, at most."""
    begins: float = 0.8
    """How full it is when the first are turned away, as a share."""
    span: int = 100
    """Priorities from -span to span differ; beyond, they are alike."""

    def __post_init__(self) -> None:
        checks.whole("most", self.most, at_least=1)
        checks.number("begins", self.begins, at_least=0, at_most=1)
        checks.whole("span", self.span, at_least=1)

    def judge(
        self, priority: int, queued: int, jobs: int = 1, per_second: float | None = None
    ) -> Refusal | None:
        """Refuse jobs for which the queue is too long.

        Args:
            priority: theirs.
            queued: jobs that wait now.
            jobs: how many are asked for.
            per_second: jobs that end in a second, if that is known.
        """
        after = queued + jobs
        rank = (min(max(priority, -self.span), self.span) + self.span) / (2 * self.span)
        room = max(1.0, self.most * (self.begins + (1 - self.begins) * rank))
        if after <= room:
            return None
        if jobs > self.most:
            return Refusal(413, f"the queue holds {self.most} jobs at most")
        wait = 5.0 if not per_second else (after - room) / per_second
        return Refusal(429, f"{queued} jobs are waiting", min(max(wait, 1.0), 300.0))


def header_refusal(
    limits: Limits, headers: Iterable[tuple[bytes, bytes]], target_bytes: int
) -> Refusal | None:
    """Refuse requests whose head is too large."""
    if target_bytes > limits.target_bytes:
        return Refusal(414, f"the address is longer than {limits.target_bytes} bytes")
    total = 0
    for count, (name, value) in enumerate(headers, 1):
        total += len(name) + len(value)
        if count > limits.headers or total > limits.header_bytes:
            return Refusal(431, "the headers are too large")
    return None


def whole_seconds(wait: float) -> int:
    """Seconds for a Retry-After header."""
    return MOST_WAIT if wait >= MOST_WAIT else max(1, math.ceil(wait))
