"""Gate 18: with the library's own defaults, jobs that take minutes are as good as any."""

from __future__ import annotations

from benchmarks.gates import moved_clock
from benchmarks.gates.circuit import SyncCircuit, in_own_loop, sync_breaker
from benchmarks.gates.contract import Result, absent, verdict
from benchmarks.peers.contract import Factory, Peer

JOBS = 200
JOB_SECONDS = 75.0
LONG_ATTEMPT_SECONDS = 40 * 60.0


def prepare() -> None:
    """Run before the library is imported: time that passes when told to."""
    moved_clock.install_all()


def probe(peer: Peer) -> Result:
    """200 good jobs of 75 s through the breaker; a failed attempt of 40 minutes under retry."""
    wrong: list[str] = []
    right: list[str] = []
    if (breaker := sync_breaker(peer)) is not None:
        done = _jobs_until_open(breaker)
        told = f"{done} of {JOBS} good jobs of {JOB_SECONDS:.0f} s get through"
        (right if done == JOBS else wrong).append(told)
    retry = peer.retry_sync
    if retry is None and peer.retry_async is not None:
        retry = in_own_loop(peer.retry_async)
    if retry is not None:
        calls = _calls(retry)
        told = "retried" if calls == 2 else "not retried"
        (right if calls == 2 else wrong).append(f"a failed attempt of 40 minutes is {told}")
    if not wrong and not right:
        return absent("breaker and no retry")
    return verdict(wrong, ", ".join(right))


def _jobs_until_open(factory: Factory) -> int:
    circuit = SyncCircuit(factory)
    for _ in range(JOBS):
        try:
            circuit.call(lambda: moved_clock.pass_time(JOB_SECONDS))
        except Exception:  # noqa: BLE001  each library rejects with a type of its own
            break
    return circuit.reached


def _calls(factory: Factory) -> int:
    calls = 0

    def attempt() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            moved_clock.pass_time(LONG_ATTEMPT_SECONDS)
            raise ConnectionError("worker lost")

    try:
        factory(attempt)()
    except Exception:  # noqa: BLE001  only the number of calls matters
        return calls
    return calls
