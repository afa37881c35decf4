"""What to do after an attempt has failed. Pure: the attempts so far in, the next step out.

The order of remedies follows from how ComfyUI works:

- The server's node cache is a free checkpoint. A node that failed is tried
  once more *on the same server*, where everything before it is still there.
- Out of memory: once unchanged (the server unloads its models by itself),
  once after `/free`, then on another server.
- What lies in one server (a missing model, a full disk, a damaged file) is
  left to another server at once.
- The same error from the same node on two servers is the workflow's own: more
  tries would only burn time.
- A server that dies or stalls costs the job nothing; but a job under which
  servers keep dying is stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.policies.retry import Backoff, Retry

_SERVERS_FAULT = frozenset(
    {
        FailureKind.SERVER_DIED,
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

    node_attempts: int = 6
    """Attempts of one job that may end in errors of its nodes or outputs, over all servers.
    What lies in one server, such as a full disk, does not count; an error that repeats ends it
    sooner."""
    memory_attempts: int = 3
    """Attempts on one server that may run out of memory: unchanged, after unloading, once more."""
    interruptions: int = 3
    """How often somebody may interrupt a job before it is taken as meant."""
    deaths: int = 4
    """Servers that may die or stall while they run this job, before it is held to be the cause."""
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
}


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


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nothing sensible is left to try."""

    words: str
    failure: Failure
    """The failure to report: the one that says most, not always the last."""


Step = Again | GiveUp


def next_step(  # noqa: PLR0911 - one return for each kind of failure
    failures: Sequence[Failure],
    servers: Sequence[str],
    limits: Limits,
    chance: float,
    left: float | None = None,
) -> Step:
    """Decide what follows the last of ``failures``.

    Args:
        failures: what every attempt of this job came to, in order; each names its server.
        servers: all servers there are.
        limits: how much to try.
        chance: a random number in [0, 1), for the jitter of waits.
        left: seconds until the deadline, or None without one.
    """
    last = failures[-1]
    if last.kind is FailureKind.REJECTED:
        return _rejected(failures, servers)
    if last.kind is FailureKind.NOT_COMFYUI:
        return _elsewhere_only(failures, servers, "this is no ComfyUI server")
    if last.kind is FailureKind.DEADLINE:
        return GiveUp("the deadline has passed", last)
    if last.kind is FailureKind.OUT_OF_MEMORY:
        return _out_of_memory(failures, servers, limits)
    if last.kind is FailureKind.INTERRUPTED:
        return _interrupted(failures, limits)
    if last.kind in _SERVERS_FAULT:
        return _servers_fault(failures, limits, chance, left)
    return _jobs_fault(failures, servers, limits)


def _unable(failures: Sequence[Failure]) -> frozenset[str]:
    """Servers that have shown they cannot run this job."""
    kinds = (FailureKind.REJECTED, FailureKind.NOT_COMFYUI)
    return frozenset(each.server for each in failures if each.server and each.kind in kinds)


def _others(failures: Sequence[Failure], servers: Sequence[str]) -> list[str]:
    last, unable = failures[-1].server, _unable(failures)
    return [server for server in servers if server != last and server not in unable]


def _rejected(failures: Sequence[Failure], servers: Sequence[str]) -> Step:
    if not failures[-1].elsewhere:
        return GiveUp("the workflow itself is wrong", failures[-1])
    return _elsewhere_only(failures, servers, "this server cannot run the workflow")


def _elsewhere_only(failures: Sequence[Failure], servers: Sequence[str], why: str) -> Step:
    others = _others(failures, servers)
    if not others:
        rejected = [each for each in failures if each.kind is FailureKind.REJECTED]
        return GiveUp("no server can run it", (rejected or failures)[-1])
    return Again(f"{why}: another server", never=_unable(failures))


def _out_of_memory(failures: Sequence[Failure], servers: Sequence[str], limits: Limits) -> Step:
    here = failures[-1].server
    kind = FailureKind.OUT_OF_MEMORY
    count = {
        server: sum(each.kind is kind and each.server == server for each in failures)
        for server in servers
    }
    tries = count.get(here or "", 1)
    if tries < limits.memory_attempts and tries == 1:
        return Again("once more, unchanged: the server has unloaded its models", prefer=here)
    if tries < limits.memory_attempts:
        return Again(
            "once more on this server after unloading its models",
            prefer=here,
            remedy=Remedy.UNLOAD_MODELS,
        )
    full = frozenset(each for each, tries in count.items() if tries >= limits.memory_attempts)
    if all(server in full | _unable(failures) for server in servers):
        return GiveUp("it does not fit into the memory of any server", failures[-1])
    return Again("another server, which may have more memory", never=full | _unable(failures))


def _interrupted(failures: Sequence[Failure], limits: Limits) -> Step:
    times = sum(each.kind is FailureKind.INTERRUPTED for each in failures)
    if times >= limits.interruptions:
        return GiveUp(f"somebody stopped this job {times} times", failures[-1])
    return Again("somebody else stopped it: submitted again", never=_unable(failures))


def _servers_fault(
    failures: Sequence[Failure], limits: Limits, chance: float, left: float | None
) -> Step:
    last = failures[-1]
    killing = (FailureKind.SERVER_DIED, FailureKind.STALLED)
    deaths = sum(each.kind in killing and each.node_id is not None for each in failures)
    if deaths >= limits.deaths:
        return GiveUp(f"{deaths} servers died or stalled while running it", last)
    times = sum(each.kind in _SERVERS_FAULT for each in failures)
    wait = limits.server.wait(times, chance=chance, left=left, retry_after=last.retry_after)
    if wait is None:
        return GiveUp(f"{times} attempts failed through the servers' own fault", last)
    here = frozenset({last.server} if last.server else ())
    words = "submitted again, on another server if there is one"
    # Another server need not wait for this one to recover: the waiting is for the same one.
    return Again(words, avoid=here, never=_unable(failures), wait=wait)


def _jobs_fault(failures: Sequence[Failure], servers: Sequence[str], limits: Limits) -> Step:
    last = failures[-1]
    mine = [each for each in failures if each.kind in _JOBS_FAULT]
    same = [each for each in mine if each.signature == last.signature]
    here = sum(each.server == last.server for each in same)
    # Done with: servers that lack something, and those where this very error came up twice.
    done = _unable(failures) | {each.server for each in mine if each.elsewhere and each.server}
    if here > 1 and last.server:
        done |= {last.server}
    others = [server for server in servers if server != last.server and server not in done]
    if not last.elsewhere and len({each.server for each in same}) > 1:
        return GiveUp("it fails the same way on two servers", last)
    if sum(not each.elsewhere for each in mine) >= limits.node_attempts:
        return GiveUp(f"{limits.node_attempts} attempts failed", last)
    remedy, again = _JOBS_FAULT[last.kind]
    if here == 1 and not (last.elsewhere and others):
        return Again(f"{again} on this server", prefer=last.server, remedy=remedy)
    if others:
        return Again(f"{again} on another server", never=frozenset(done), remedy=remedy)
    return GiveUp("it fails the same way each time", last)
