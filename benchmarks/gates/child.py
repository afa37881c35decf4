"""`python -m benchmarks.gates.child GATE PEER`: one probe in a process of its own.

Writes one line of JSON. A probe that needs its own clocks puts them in place
before the library is imported, which is why the library is loaded here, late.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from dataclasses import asdict
from importlib import import_module

from benchmarks.gates.catalogue import gate
from benchmarks.gates.contract import Result, Status
from benchmarks.peers.catalogue import load


def answer(key: str, name: str) -> Result:
    """Ask one peer at one gate."""
    module = import_module(f"benchmarks.gates.{gate(key).module}")
    if hasattr(module, "prepare"):
        module.prepare()
    peer = load(name)
    if peer is None:
        return Result(Status.NOT_APPLICABLE, "not installed")
    try:
        result: Result = module.probe(peer)
    except Exception as error:  # noqa: BLE001  a probe that breaks is an answer, too
        return Result(Status.FAILED, f"the probe broke: {type(error).__name__}: {error}")
    return result


def main() -> None:
    """Print the answer and leave, whatever threads the probe left behind."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    print(json.dumps(asdict(answer(sys.argv[1], sys.argv[2]))), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
