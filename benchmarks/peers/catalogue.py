"""Which peers there are, and how to get at those that are installed."""

from __future__ import annotations

from importlib import import_module, metadata

from benchmarks.peers.contract import Peer

# Distribution name to adapter module, in the order of the tables.
ADAPTERS = {
    "holdfast": "holdfast",
    "interlock-cb": "interlock_cb",
    "redress": "redress_retry",
    "pyresilience": "pyresilience_config",
    "backon": "backon_retry",
    "hyx": "hyx_async",
    "tenacity": "tenacity_retry",
    "stamina": "stamina_retry",
    "backoff": "backoff_retry",
    "pybreaker": "pybreaker_circuit",
    "circuitbreaker": "circuitbreaker_circuit",
    "aiobreaker": "aiobreaker_circuit",
    "purgatory": "purgatory_circuit",
    "aiolimiter": "aiolimiter_bucket",
}


def version(name: str) -> str | None:
    """The installed version, or None if the library is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def absence(name: str) -> str:
    """Why `load` has nothing to give."""
    if version(name) is None:
        return "not installed"
    try:
        import_module(f"benchmarks.peers.{ADAPTERS[name]}")
    except ImportError as error:
        return f"installed, but not as its adapter expects: {error}"
    return "here after all"


def load(name: str) -> Peer | None:
    """The peer's adapter, or None if it cannot be used here."""
    if name not in ADAPTERS:
        raise ValueError(f"there is no peer {name!r}; there are {', '.join(ADAPTERS)}")
    try:
        peer: Peer = import_module(f"benchmarks.peers.{ADAPTERS[name]}").PEER
    except ImportError:
        return None
    return peer
