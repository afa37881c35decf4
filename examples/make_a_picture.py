"""Say what should be seen, get a picture; when the best does not fit, a smaller one, and why.

Give your own server's address as an argument; without one, a stand-in server with too little
memory for SDXL is started.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

from holdfast.comfyui.engines import SyncImageEngine
from holdfast.comfyui.standin import StandIn, StandInConfig

SMALL_CARD = StandInConfig(vram_bytes=5 * 2**30, step_seconds=0.005)


def main(url: str) -> None:
    with SyncImageEngine(url, family="sdxl") as engine:
        result = engine.generate(
            "a lighthouse in a storm, oil painting",
            negative="text, watermark",
            width=1216,
            height=832,
            seed=7,
            on_progress=lambda share, words: print(f"{share:4.0%}  {words[:90]}"),
        )
    width, height = result.image.size
    print(f"{width} x {height} pixels by {result.recipe}, rung {result.rung}, seed {result.seed}")
    for words in result.degradations:
        print("  not as asked:", words)
    for words in result.notes:
        print("  note:", words)
    with tempfile.TemporaryDirectory() as folder:
        (path,) = result.save(Path(folder) / "pictures")
        print(f"saved as {path.name}, {path.stat().st_size:,} bytes")


with contextlib.ExitStack() as stack:
    address = sys.argv[1] if len(sys.argv) > 1 else stack.enter_context(StandIn(SMALL_CARD)).url
    main(address)
