"""A dashboard over a store with an hour's work in it, in a process of its own.

NiceGUI has one app in a process, which cannot be set up twice, so the tests of the pages never
start it in their own. Started as ``python -m tests.apps.dashboard.site FOLDER PORT``; the cookie
``who`` says who looks: nobody in particular, ``reader`` or ``ada``. A key whose name stands in
``FOLDER/revoked`` is good for nothing any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import random
import sys
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI
from PIL import Image
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.apps.dashboard import mount
from holdfast.apps.dashboard.live_servers import Ticker
from holdfast.apps.dashboard.live_source import LiveSource
from holdfast.comfyui import ComfyUI
from holdfast.comfyui.failures import ComfyUIError
from holdfast.comfyui.standin import StandIn, StandInConfig
from holdfast.comfyui.standin.painter import Recipe, paint
from holdfast.error_info import ErrorInfo
from holdfast.errors import ErrorCategory, ErrorSeverity
from holdfast.ports import ambient
from holdfast.stores.blobs import BlobStore
from holdfast.stores.jobs import Claim, JobState, JobStore, NewFile, NewJob
from holdfast.system.error_handling import ErrorHandlingSystem
from tests.comfyui.graphs import painting

HOSTILE = '<img src=x onerror="document.title=1">'
PROMPTS = (
    "a lighthouse in a storm, oil on canvas",
    "balloons over blue mountains at dawn",
    "a quiet harbour in winter, ink and wash",
    "desert ridges under two suns",
    "an orchard in fog, soft light",
)
MODELS = ("sd_xl_base_1.0", "flux1-dev-fp8", "qwen_image_fp8")


@dataclass(frozen=True)
class Key:
    """A caller as the gateway would leave it."""

    user: str
    scopes: tuple[str, ...]

    def can(self, scope: str) -> bool:
        return scope in self.scopes


KEYS = {
    "reader": Key("ada", ("dashboard",)),
    "ada": Key("ada", ("dashboard", "run", "cancel")),
    "stranger": Key("eve", ("run",)),
}


class Door:
    """Stands for the gateway's access check."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            key = KEYS.get(HTTPConnection(scope).cookies.get("who", ""))
            if key is not None:
                scope.setdefault("state", {})["caller"] = key
        await self.app(scope, receive, send)


class Past:
    """Writes jobs as they would have come and gone over the last hour."""

    def __init__(self, store: JobStore, blobs: BlobStore) -> None:
        self.store, self.blobs = store, blobs
        self.dice = random.Random(7)
        self.at = time.time() - 3_550

    def write(self) -> None:
        real = ambient.wall
        ambient.wall = lambda: self.at
        try:
            number = 0
            while self.at < time.time() - 240:
                self.one(number)
                number += 1
            self.at = time.time() - 120
            self.waiting()
        finally:
            ambient.wall = real

    def job(self, number: int, name: str = "") -> NewJob:
        prompt = PROMPTS[number % len(PROMPTS)]
        graph = painting(number, steps=28, size=1024).to_api()
        return NewJob(
            payload={"graph": graph, "extra_data": {}},
            name=name or f"{prompt.split(',')[0]} {number:03}",
            user="ada" if number % 3 else "bob",
            prompt=prompt,
            seed=str(1_000_000 + 7_919 * number),
            model=MODELS[number % len(MODELS)],
            signature=MODELS[number % len(MODELS)],
        )

    def one(self, number: int) -> None:
        (job,) = self.store.accept([self.job(number)]).result()
        self.at += 1 + self.dice.random() * 6
        (claim,) = self.store.claim("gateway-1").result()
        server = f"http://gpu{1 + number % 3}:8188"
        self.tell(job.id, "attempt", number=1, server=server)
        attempts = []
        took = 9 + self.dice.random() * 14
        if number % 11 == 8:
            self.at += 4
            self.dead(claim, server)
            return
        if number % 6 == 5:
            attempts.append(self.stumble(job.id, server))
            server = f"http://gpu{1 + (number + 1) % 3}:8188"
            self.tell(job.id, "attempt", number=2, server=server)
        self.at += took
        degraded = ["VAE decoded in tiles, because memory ran out"] if attempts else []
        attempts.append({"number": len(attempts) + 1, "server": server, "seconds": took,
                         "error": None, "recovery": "", "made": 1})  # fmt: skip
        outcome = {"status": "delivered", "server": server, "seconds": took,
                   "attempts": attempts, "degradations": degraded, "notes": []}  # fmt: skip
        self.store.settle(
            job.id, claim.fence, JobState.DELIVERED, outcome, files=[self.picture(number)],
            summary=f"1 file from {server}",
        ).result()  # fmt: skip

    def stumble(self, job: str, server: str) -> dict:
        self.at += 6
        error = "CUDA out of memory at VAEDecode: tried to allocate 4.50 GiB"
        recovery = "freed the server's memory, then decoded in tiles elsewhere"
        self.tell(job, "failed_attempt", number=1, server=server, error=error)
        self.tell(job, "recovery", recovery=recovery)
        self.tell(job, "degraded", words="VAE decoded in tiles")
        return {"number": 1, "server": server, "seconds": 6.0, "error": error,
                "kind": "out_of_memory", "recovery": recovery, "made": 0}  # fmt: skip

    def dead(self, claim: Claim, server: str) -> None:
        message = "The model 'styles_v3.safetensors' is on none of the servers"
        outcome = {
            "status": "failed",
            "attempts": [{"number": 1, "server": server, "seconds": 0.4, "error": message,
                          "recovery": "asked the other servers for it", "made": 0}],
            "failure": {"kind": "rejected", "message": message, "category": "model",
                        "node_id": "4", "node_type": "LoraLoader",
                        "traceback": ["File nodes.py, line 12", "ValueError: not in list"]},
        }  # fmt: skip
        self.store.settle(
            claim.job.id, claim.fence, JobState.FAILED, outcome, summary=message
        ).result()

    def waiting(self) -> None:
        """What is there at this moment: two that run, some that wait, one from somebody nasty."""
        running = [self.job(900 + number) for number in range(2)]
        self.store.accept(running).result()
        self.store.claim("gateway-1", 2).result()
        nasty = NewJob(payload={"graph": {"1": {"class_type": HOSTILE, "inputs": {}}}},
                       name=HOSTILE, user="ada", prompt="{{ 7*7 }} " + HOSTILE, model=HOSTILE,
                       id='a/b?c#"d" %2f')  # fmt: skip
        self.store.accept([nasty, *(self.job(number) for number in range(910, 916))]).result()

    def tell(self, job: str, kind: str, **data: object) -> None:
        self.store.record(job, kind, data).result()

    def picture(self, number: int) -> NewFile:
        wide = number % 4 == 0
        width, height = (576, 384) if wide else (384, 384)
        recipe = Recipe(PROMPTS[number % len(PROMPTS)], seed=number, model=MODELS[number % 3])
        pixels = (np.clip(paint(recipe, width, height), 0, 1) * 255).astype(np.uint8)
        path = self.blobs.staging() / f"{number}.png"
        Image.fromarray(pixels).save(path, compress_level=1)
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        self.blobs.adopt(path, digest)
        suspect = "it is darker than the others of this prompt" if number == 30 else ""
        return NewFile("9", f"shot_{number:05}_.png", digest, len(content), "image/png",
                       width=width, height=height, suspect=suspect)  # fmt: skip


def errors(system: ErrorHandlingSystem) -> None:
    """An hour of errors, and what was done about them."""
    analytics, dice = system.error_analytics, random.Random(3)
    kinds = (
        ("OutOfMemoryError", "CUDA out of memory. Tried to allocate 4.50 GiB", "memory", "high",
         "free_memory", 26, 0.9),
        ("ServerDisconnectedError", "the connection to gpu2:8188 was lost", "network", "medium",
         "switch_backend", 18, 1.0),
        ("ValueError", "Value not in list: lora_name: 'styles_v3.safetensors'", "model", "high",
         "fallback_model", 9, 0.2),
        ("TimeoutError", "no progress for 300 seconds at KSampler", "system", "medium",
         "restart_server", 5, 0.8),
    )  # fmt: skip
    for name, message, category, severity, strategy, count, share in kinds:
        for _ in range(count):
            at = time.time() - dice.random() ** 1.6 * 3_500
            helped = dice.random() < share
            number = analytics.record_error(
                ErrorInfo(datetime.fromtimestamp(at, UTC), name, message, ErrorCategory(category),
                          ErrorSeverity(severity), recovery_attempted=True,
                          dependency=f"gpu{dice.randint(1, 3)}:8188")
            )  # fmt: skip
            analytics.resolve(number, strategy=strategy, successful=helped)
            analytics.record_recovery(strategy, ErrorCategory(category), helped, 0.5)
    system.get_circuit_breaker("huggingface.co")
    broken = system.get_circuit_breaker("model mirror")
    for _ in range(8):
        broken.record_failure()


def application(folder: Path, servers: list[StandIn]) -> ASGIApp:
    store, blobs = JobStore(folder / "jobs.db", lease_seconds=3_600), BlobStore(folder / "files")
    if not store.counts()[JobState.DELIVERED]:
        Past(store, blobs).write()
    system, ticker = ErrorHandlingSystem(), Ticker()
    errors(system)
    gone = "http://127.0.0.1:9"
    comfy = ComfyUI(*(each.url for each in servers), gone, on_event=ticker.hear)
    revoked, audit = folder / "revoked", folder / "audit.txt"
    said = threading.Lock()

    async def keep_busy() -> None:
        for seed in itertools.count(int(time.time())):
            with contextlib.suppress(ComfyUIError):
                await comfy.run(painting(seed, steps=600, size=64), name="a long exposure")

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with comfy:
            task = asyncio.create_task(keep_busy())
            yield
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        store.close()

    def note(user: str, action: str, target: str, done: bool) -> None:  # noqa: FBT001
        with said, audit.open("a", encoding="utf-8") as lines:
            lines.write(f"{user}|{action}|{target}|{done}\n")

    def renew(key: Key) -> Key | None:
        gone = revoked.read_text().split() if revoked.exists() else []
        return None if key.user in gone else key

    app = FastAPI(openapi_url=None, lifespan=lifespan)
    source = LiveSource(store, comfy, system, server_breakers=lambda: comfy.breakers, ticker=ticker)
    # As the gateway's: whatever nobody else answers.
    app.router.routes.append(
        Route("/{path:path}", lambda request: PlainTextResponse(f"passed on: {request.url.path}"))
    )
    mount(app, source, blobs=blobs, audit=note, renew=renew)
    return Door(app)


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    slow = StandInConfig(step_seconds=0.05)
    with StandIn(slow) as first, StandIn(slow) as second:
        app = application(folder, [first, second])
        uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", lifespan="on")


if __name__ == "__main__":
    main()
