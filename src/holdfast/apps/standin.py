"""`holdfast standin`: a stand-in server as a process of its own, so that it can be killed."""

from __future__ import annotations

import sys
from pathlib import Path

from holdfast.apps.exits import Exit
from holdfast.comfyui.standin import StandIn, StandInConfig, load_faults
from holdfast.errors import BadInputError


def serve(
    *,
    host: str,
    port: int,
    faults: Path | None,
    folder: Path | None,
    vram: float,
    cpu: bool,
    step_seconds: float,
    page: Path | None = None,
) -> Exit:
    """Serve until stopped with Ctrl-C or SIGTERM; returns the exit code.

    Raises:
        BadInputError: the fault file or a setting is wrong, or the port is taken.
    """
    config = StandInConfig(
        host=host,
        port=port,
        folder=folder,
        vram_bytes=int(vram * 2**30),
        device="cpu" if cpu else "cuda",
        step_seconds=step_seconds,
        page=page,
        faults=() if faults is None else load_faults(faults),
    )

    def ready(url: str) -> None:
        # Whoever started this process waits for this line to learn the address.
        sys.stdout.write(f"stand-in ComfyUI server at {url} (Ctrl-C stops it)\n")
        sys.stdout.flush()

    try:
        StandIn(config).run_forever(ready)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInputError(f"cannot listen on {host}:{port}: {reason}") from None
    return Exit.OK
