"""Gate 14: a wall clock that jumps, and a time zone, change nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

from benchmarks.gates import moved_clock
from benchmarks.gates.circuit import SyncCircuit, in_own_loop, sync_breaker
from benchmarks.gates.contract import Result, absent, verdict
from benchmarks.peers.contract import Factory, Peer

HOUR = 3_600.0
OPEN_SECONDS = 0.4


class Outlived(BaseException):
    """The retry went on after the clock had moved."""


def prepare() -> None:
    """Run before the library is imported: a movable wall clock, far from Greenwich."""
    moved_clock.install_wall()
    moved_clock.settle_in("Asia/Tokyo")


def probe(peer: Peer) -> Result:
    """Move the wall clock while a breaker is open, and while an attempt runs."""
    wrong: list[str] = []
    breaker = sync_breaker(peer)
    if breaker is not None:
        wrong += _breaker(breaker, peer)
    if peer.deadline_async is not None:
        wrong += _deadline(in_own_loop(peer.deadline_async))
    elif breaker is None:
        return absent("breaker and no deadline")
    return verdict(wrong, "jumps and zone change nothing")


def _breaker(factory: Factory, peer: Peer) -> list[str]:
    wrong = []
    circuit = SyncCircuit(factory, failures=1, open_for=OPEN_SECONDS)
    circuit.fail()
    rejection = circuit.fail()
    if peer.seconds_left is not None and rejection is not None:
        wrong += _time_told(peer.seconds_left, rejection)
    moved_clock.Moved.wall = HOUR
    if circuit.succeed():
        wrong.append("an hour forward closes the open breaker")
    moved_clock.Moved.wall = 0.0

    circuit = SyncCircuit(factory, failures=1, open_for=OPEN_SECONDS)
    circuit.fail()
    moved_clock.Moved.wall = -HOUR
    time.sleep(OPEN_SECONDS * 1.3)
    if not circuit.succeed():
        wrong.append("an hour back keeps it open for an hour")
    moved_clock.Moved.wall = 0.0
    return wrong


def _time_told(seconds_left: Callable[[BaseException], float], rejection: Exception) -> list[str]:
    try:
        left = seconds_left(rejection)
    except Exception as error:  # noqa: BLE001  one library cannot answer east of Greenwich
        return [f"in Tokyo, asking how long it stays open raises {type(error).__name__}"]
    # One library rounds up to whole seconds, which is no fault of the clock.
    if not 0 <= left <= OPEN_SECONDS + 1:
        return [f"in Tokyo it says {left:.0f} s are left of {OPEN_SECONDS}"]
    return []


def _deadline(factory: Factory) -> list[str]:
    calls = 0

    def fail() -> NoReturn:
        nonlocal calls
        calls += 1
        moved_clock.Moved.wall += HOUR
        if calls < 3:
            raise ConnectionError("busy")
        raise Outlived

    try:
        factory(fail, seconds=600.0)()
    except Outlived:
        return []
    except Exception:  # noqa: BLE001  it gave up; with which error does not matter
        return [f"an hour forward uses up a deadline of ten minutes (calls: {calls})"]
    return ["a failing call came back"]
