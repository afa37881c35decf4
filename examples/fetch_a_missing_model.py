"""A workflow names a model that the server lacks; later its file is damaged. Pictures all the same.

Everything is on this machine: a stand-in server with a models folder, and a small file server that
breaks off in the middle of the model the first time it is asked.
"""

from __future__ import annotations

import asyncio
import http.server
import json
import struct
import tempfile
import threading
from pathlib import Path

from holdfast import Backoff, Retry
from holdfast.comfyui import ComfyUI, ComfyUIError, Workflow
from holdfast.comfyui.models import DownloadBrokenError, ModelManager, Progress
from holdfast.comfyui.standin import StandIn, StandInConfig

NAME = "lighthouse.safetensors"
NUMBERS = 1_000_000
HEADER = json.dumps(
    {
        "model.diffusion_model.input_blocks.0.0.weight": {
            "dtype": "F16",
            "shape": [NUMBERS],
            "data_offsets": [0, 2 * NUMBERS],
        }
    }
).encode()
MODEL = struct.pack("<Q", len(HEADER)) + HEADER + bytes(2 * NUMBERS)


class Files(http.server.BaseHTTPRequestHandler):
    """One model, with ranges, that breaks off once."""

    breaks_off = True

    def do_GET(self) -> None:
        given = self.headers.get("Range", "bytes=0-")
        begin = int(given.removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if begin else 200)
        self.send_header("ETag", '"the-one-and-only"')
        self.send_header("Content-Length", str(len(MODEL) - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(MODEL) - 1}/{len(MODEL)}")
        self.end_headers()
        end = len(MODEL) // 2 if Files.breaks_off else len(MODEL)
        Files.breaks_off = False
        self.wfile.write(MODEL[begin:end])

    def log_message(self, *_arguments: object) -> None:
        pass


def show(progress: Progress) -> None:
    if progress.received in (0, progress.total) or progress.words:
        print(f"  {progress.model}: {progress.share or 0:.0%} {progress.words}")


async def main(server: StandIn, models: Path, files: str) -> None:
    url = server.url
    portrait = Workflow.load(Path(__file__).with_name("portrait.json"))
    node = next(key for key, one in portrait.graph.items() if "ckpt_name" in one["inputs"])
    workflow = portrait.with_inputs({f"{node}.ckpt_name": NAME})
    manager = ModelManager(
        url,
        folder=models,
        sources={NAME: f"http://{files}/{NAME}"},
        trusted_hosts=[files],  # without this, no private address and no plain http
        retry=Retry(max_attempts=4, backoff=Backoff.fixed(0.1), on=(DownloadBrokenError,)),
        on_progress=show,
    )
    async with ComfyUI(url) as comfy:
        print("before:", (await manager.missing(workflow))[url].words)
        done = await manager.ensure(workflow)
        print("fetched:", done.fetched[0].words)
        result = await comfy.run(done.workflow(url))
        print(f"picture: {result.images[0].width} x {result.images[0].height} pixels")

        path = models / "checkpoints" / NAME
        path.write_bytes(MODEL[: len(MODEL) // 3])
        await asyncio.to_thread(server.restart)  # what it has loaded, it would go on using
        try:
            await comfy.run(workflow, inputs={"seed": 8})
        except ComfyUIError as error:
            print("damaged:", error)
        repaired = await manager.repair(NAME)
        print("mended:" if repaired.mended else "not mended:", repaired.words)
        result = await comfy.run(workflow, inputs={"seed": 8})
        print(f"picture: {result.images[0].width} x {result.images[0].height} pixels")


with tempfile.TemporaryDirectory() as root:
    folder = Path(root) / "models"
    folder.mkdir()
    mirror = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=mirror.serve_forever, daemon=True).start()
    with StandIn(
        StandInConfig(folder=Path(root), models={"loras": ("style.safetensors",)})
    ) as server:
        asyncio.run(main(server, folder, f"127.0.0.1:{mirror.server_port}"))
    mirror.shutdown()
    mirror.server_close()
