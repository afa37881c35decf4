"""What to do after an attempt has failed. Pure: the attempts so far in, the next step out.

The order of remedies follows from how ComfyUI works:

- The server's node cache is a free checkpoint. A node that failed is tried
  once more *on the same server*, where everything before it is still there.
- Out of memory: once unchanged (the server unloads its models by itself),
  once after `/free`, then on another server.
- What lies in one server (a missing model, a full disk, a damaged file) is
  left to another server at once.
- The same error from the same node twice on one server, and on another as well, is
  the workflow's own: more tries would only burn time.
- A server that dies or stalls costs the job nothing; but a job under which
  servers keep dying is stopped.
- The workflow is changed last: only what keeps the result is changed before
  another server was tried, and before a job is given up every change that is
  allowed is tried, the cheapest first. `Situation` says what could be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.policies.backoff import Backoff
from holdfast.policies.retry import Retry

_SERVERS_FAULT = frozenset(
    {
        FailureKind.SERVER_DIED,
        FailureKind.DEVICE_BROKEN,
        FailureKind.STALLED,
        FailureKind.LOST,
        FailureKind.NEVER_ACCEPTED,
        FailureKind.SERVER_ERROR,
        FailureKind.UNREACHABLE,
    },
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much to try before giving up."""

    node_attempts: int = 8
    """Attempts of one job that may end in errors of its nodes or outputs, over all servers.
    What lies in one server, such as a full disk, does not count; an error that repeats ends it
    sooner."""
    memory_attempts: int = 3
    """Attempts on one server that may run out of memory: unchanged, after unloading, once more."""
    interruptions: int = 3
    """How often somebody may interrupt a job before it is taken as meant."""
    deaths: int = 5
    """Servers that may die or stall while they run this job, before it is held to be the cause
    and quarantined as poison."""
    deaths_unchanged: int = 2
    """Servers that may die under the same node before the job is made to need less memory: the
    system kills a process that takes too much of it, without a word."""
    changes: int = 24
    """Changes that may be made to the workflow to get a result."""
    server: Retry = field(
        default_factory=lambda: Retry(30, Backoff(0.5, maximum=15.0, base=1.6, jitter=0.25))
    )
    """Attempts that may fail through the servers' own fault, and the waits between them."""


class Remedy(StrEnum):
    """Something done on the same server before the next attempt."""

    NONE = "none"
    UNLOAD_MODELS = "unload_models"
    """`POST /free {unload_models}`: models leave the memory, the node cache stays."""
    SAVE_AGAIN = "save_again"
    """The nodes that should have left files miss the server's cache and run again."""
    RUN_AGAIN = "run_again"
    """Every node but the loaders misses the cache: what blocked the run is cached as well."""


_JOBS_FAULT = {
    FailureKind.NODE_ERROR: (Remedy.NONE, "once more"),
    FailureKind.NOTHING_MADE: (Remedy.RUN_AGAIN, "run again, past the cache,"),
    FailureKind.OUTPUT_MISSING: (Remedy.SAVE_AGAIN, "saved again, past the cache,"),
    FailureKind.OUTPUT_DAMAGED: (Remedy.SAVE_AGAIN, "saved again, past the cache,"),
    FailureKind.SUSPECT: (Remedy.NONE, "once more"),
}


@dataclass(frozen=True, slots=True)
class Offer:
    """A change to the workflow that may help, found for the failure in hand."""

    words: str
    early: bool = False
    """Whether it costs nothing worth mentioning: what is made stays the same, and no other server
    need be tried first."""
    local: bool = False
    """Whether only the node that failed is changed, so that the node cache serves the others."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known beside the failures."""

    forms: tuple[int, ...] = ()
    """For each failure, which form of the workflow it met; 0 is as it was given. Empty: all 0."""
    memory: Mapping[str, int] = field(default_factory=dict)
    """Bytes of memory of each server's device, as far as known."""
    offer: Offer | None = None
    """What could be changed next; None if nothing can, or nothing may."""


@dataclass(frozen=True, slots=True)
class Again:
    """Try again."""

    words: str
    """What is done, for the account."""
    prefer: str | None = None
    """This server first, and at once, so that its node cache is still there."""
    avoid: frozenset[str] = frozenset()
    """Not these, as long as there are others."""
    never: frozenset[str] = frozenset()
    """Not these at all: they cannot run this job."""
    wait: float = 0.0
    """Seconds to wait first."""
    remedy: Remedy = Remedy.NONE
    change: bool = False
    """Take the offer: the workflow is changed first."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nothing sensible is left to try."""

    words: str
    failure: Failure
    """The failure to report: the one that says most, not always the last."""


Step = Again | GiveUp


def next_step(
    failures: Sequence[Failure],
    servers: Sequence[str],
    limits: Limits,
    chance: float,
    *,
    left: float | None = None,
    situation: Situation | None = None,
) -> Step:
    """Decide what follows the last of ``failures``.

    Args:
        failures: what every attempt of this job came to, in order; each names its server.
        servers: all servers there are.
        limits: how much to try.
        chance: a random number in [0, 1), for the jitter of waits.
        left: seconds until the deadline, or None without one.
        situation: what could be changed, and what is known of the servers.
    """
    past = _Past(failures, servers, limits, situation or Situation())
    kind = past.last.kind
    if kind is FailureKind.DEADLINE:
        return GiveUp("the deadline has passed", past.last)
    if kind in _SERVERS_FAULT:
        return _servers_fault(past, chance, left)
    decide = _DECISIONS.get(kind, _jobs_fault)
    step = decide(past)
    if isinstance(step, GiveUp) and past.offer is not None and kind in _MENDABLE:
        return past.changed()
    return step


class _Past:
    """What the failures so far say about each server."""

    def __init__(
        self,
        failures: Sequence[Failure],
        servers: Sequence[str],
        limits: Limits,
        situation: Situation,
    ) -> None:
        self.failures = failures
        self.servers = servers
        self.limits = limits
        self.memory = situation.memory
        self.last = failures[-1]
        forms = situation.forms or (0,) * len(failures)
        self.changed_already = forms[-1] > 0
        self.current = [
            each for each, form in zip(failures, forms, strict=True) if form == forms[-1]
        ]
        """The failures that met the workflow in its present form."""
        self.offer = situation.offer if max(forms) < limits.changes else None

    def count(self, server: str | None, *kinds: FailureKind) -> int:
        """How many attempts on ``server``, with the workflow as it is now, ended so."""
        return sum(each.server == server and each.kind in kinds for each in self.current)

    def changed(self, remedy: Remedy = Remedy.NONE) -> Again:
        """The same again with the offered change, where the node cache is if it can be there."""
        assert self.offer is not None  # noqa: S101 - asked by whoever looked
        here = self.last.server
        alien = frozenset(
            each for each in self.servers if self.count(each, FailureKind.NOT_COMFYUI)
        )
        return Again(self.offer.words, prefer=here, never=alien, remedy=remedy, change=True)

    def roomier(self) -> frozenset[str]:
        """Servers that may have more memory than the last one, and have not run out of it."""
        have = self.memory.get(self.last.server or "", 0)
        tried = {each.server for each in self.failures if each.kind is FailureKind.OUT_OF_MEMORY}
        left = frozenset(self.servers) - self.unable() - self.lacking(2) - tried
        return frozenset(each for each in left if self.memory.get(each, have) >= have)

    def unable(self) -> frozenset[str]:
        """Servers that cannot run this job: they refuse it, or are no ComfyUI."""
        refusing = (FailureKind.REJECTED, FailureKind.NOT_COMFYUI)
        return frozenset(each for each in self.servers if self.count(each, *refusing))

    def lacking(self, times: int = 1) -> frozenset[str]:
        """Servers with a fault of their own (full disk, damaged model), seen so often."""
        mine = [each for each in self.failures if each.kind in _JOBS_FAULT and each.elsewhere]
        return frozenset(
            server
            for server in self.servers
            if sum(each.server == server for each in mine) >= times
        )

    def spent(self) -> frozenset[str]:
        """Servers on which nothing more can be hoped for."""
        full = {
            server
            for server in self.servers
            if self.count(server, FailureKind.OUT_OF_MEMORY) >= self.limits.memory_attempts
        }
        repeated = {server for server in self.servers if self._repeats_itself(server)}
        return self.unable() | self.lacking(2) | full | repeated

    def _repeats_itself(self, server: str) -> bool:
        seen = [
            each.signature
            for each in self.current
            if each.server == server and each.kind in _JOBS_FAULT
        ]
        return len(seen) > len(set(seen))

    def move(self, words: str, at_last: str, remedy: Remedy = Remedy.NONE) -> Step:
        """Another server: one without a known fault first, any that is not spent otherwise."""
        spent = self.spent()
        never = spent | self.lacking() | {self.last.server or ""}
        if all(server in never for server in self.servers):
            never = spent
        if all(server in never for server in self.servers):
            return GiveUp(at_last, self._most_telling())
        return Again(words, never=frozenset(never) & frozenset(self.servers), remedy=remedy)

    def _most_telling(self) -> Failure:
        refusals = [each for each in self.failures if each.kind is FailureKind.REJECTED]
        alien = self.last.kind is FailureKind.NOT_COMFYUI
        return refusals[-1] if alien and refusals else self.last


def _rejected(past: _Past) -> Step:
    if past.offer is not None and past.offer.early:
        return past.changed()
    if not past.last.elsewhere:
        return GiveUp("the workflow itself is wrong", past.last)
    return past.move("this server cannot run the workflow: another server", "no server can run it")


def _not_comfyui(past: _Past) -> Step:
    return past.move("this is no ComfyUI server: another server", "no server can run it")


def _out_of_memory(past: _Past) -> Step:
    here, offer = past.last.server, past.offer
    tries = past.count(here, FailureKind.OUT_OF_MEMORY)
    gentle = offer is not None and offer.local and offer.early
    here_again = not past.changed_already and here not in past.spent()
    if here_again and tries == 1:
        words = "once more, unchanged: the server has unloaded its models"
        return Again(words, prefer=here, never=past.unable())
    if gentle and (here_again or past.changed_already):
        # What came before this node is in the server's cache, and stays there.
        return past.changed(Remedy.UNLOAD_MODELS)
    if here_again:
        words = "once more on this server after unloading its models"
        return Again(words, prefer=here, never=past.unable(), remedy=Remedy.UNLOAD_MODELS)
    roomier = past.roomier()
    if roomier:
        most = max(past.memory.get(each, 0) for each in roomier)
        less = frozenset(each for each in roomier if past.memory.get(each, most) < most)
        words = "another server, which may have more memory"
        return Again(words, avoid=less, never=frozenset(past.servers) - roomier)
    if offer is not None:
        return past.changed(Remedy.UNLOAD_MODELS)
    return GiveUp("it does not fit into any server's memory", past.last)


def _the_end(words: str) -> Callable[[_Past], Step]:
    return lambda past: GiveUp(words, past.last)


def _interrupted(past: _Past) -> Step:
    times = sum(each.kind is FailureKind.INTERRUPTED for each in past.failures)
    if times >= past.limits.interruptions:
        return GiveUp(f"somebody stopped this job {times} times", past.last)
    return Again("somebody else stopped it: submitted again", never=past.unable())


def _servers_fault(past: _Past, chance: float, left: float | None) -> Step:
    last, limits = past.last, past.limits
    killing = (FailureKind.SERVER_DIED, FailureKind.STALLED)
    deaths = sum(each.kind in killing and each.node_id is not None for each in past.failures)
    # A broken device fails every job until its server restarts: it counts once a server.
    deaths += len({f.server for f in past.failures if f.kind is FailureKind.DEVICE_BROKEN})
    if deaths >= limits.deaths:
        words = f"{deaths} servers died or stalled while running it: quarantined"
        return GiveUp(words, last.poisonous(deaths))
    times = sum(each.kind in _SERVERS_FAULT for each in past.failures)
    wait = limits.server.wait(times, chance=chance, retry_after=last.retry_after)
    if wait is None:
        return GiveUp(f"{times} attempts failed through the servers' own fault", last)
    alone = all(each == last.server or each in past.unable() for each in past.servers)
    if alone and left is not None and wait >= left:
        return GiveUp("the next attempt would begin after the deadline", last)
    here = frozenset({last.server} if last.server else ())
    words = "submitted again, on another server if there is one"
    # Another server need not wait for this one to recover: the waiting is for the same one.
    step = Again(words, avoid=here, never=past.unable(), wait=wait)
    under = [each.node_id for each in past.current if each.kind is FailureKind.SERVER_DIED]
    often = last.node_id is not None and under.count(last.node_id) >= limits.deaths_unchanged
    if often and past.offer is not None and past.offer.early:
        return replace(step, words=f"{words}; {past.offer.words}", change=True)
    return step


def _jobs_fault(past: _Past) -> Step:
    last = past.last
    mine = [each for each in past.failures if each.kind in _JOBS_FAULT]
    same = [each.server for each in mine if each.signature == last.signature]
    # Once each on two servers may be chance; what a server repeats, and another says too, is not.
    if not last.elsewhere and len(same) > len(set(same)) > 1:
        return GiveUp("it fails the same way on two servers", last)
    if sum(not each.elsewhere for each in mine) >= past.limits.node_attempts:
        return GiveUp(f"{past.limits.node_attempts} attempts failed", last)
    remedy, again = _JOBS_FAULT[last.kind]
    if not last.elsewhere and last.server not in past.spent():
        here = last.server
        return Again(f"{again} on this server", prefer=here, never=past.unable(), remedy=remedy)
    step = past.move(f"{again} on another server", "it fails the same way each time", remedy)
    if isinstance(step, Again) and last.server not in step.never:
        # There is no other: what this server lacks may be there the next time.
        return Again(f"{again} on this server", prefer=last.server, never=step.never, remedy=remedy)
    return step


_MENDABLE = frozenset({FailureKind.REJECTED, FailureKind.NODE_ERROR, FailureKind.SUSPECT})
"""Before a job is given up for these, the workflow is changed if it may be."""

_DECISIONS: Mapping[FailureKind, Callable[[_Past], Step]] = {
    FailureKind.REJECTED: _rejected,
    FailureKind.NOT_COMFYUI: _not_comfyui,
    FailureKind.OUT_OF_MEMORY: _out_of_memory,
    FailureKind.INTERRUPTED: _interrupted,
    FailureKind.SUSPECT: _the_end("the picture stays suspect"),
    FailureKind.POISONED: _the_end("it took down too many servers"),
    FailureKind.PAID: _the_end("it may have been paid for already: not run again"),
}
