"""Gate 8: context variables, and so trace ids, reach the thread that runs the call."""

from __future__ import annotations

from contextvars import ContextVar

from benchmarks.gates.contract import Result, absent, verdict
from benchmarks.peers.contract import Peer

TRACE: ContextVar[str] = ContextVar("TRACE", default="lost")


def probe(peer: Peer) -> Result:
    """Read a context variable inside a synchronous call that has a time limit."""
    if peer.timeout_sync is None:
        return absent("synchronous timeout")
    TRACE.set("kept")
    seen = peer.timeout_sync(TRACE.get, seconds=5.0)()
    return verdict([] if seen == "kept" else ["the worker thread starts empty"], "carried along")
