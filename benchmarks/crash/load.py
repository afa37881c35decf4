"""Load as clients put it on a gateway: each job is sent, under one id, until it is answered."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Load:
    """Clients in threads; what was answered with 200 is in `accepted`, with its seed."""

    ports: Sequence[int]
    most_open: int = 30
    accepted: dict[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    repeated: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _numbers: random.Random = field(default_factory=lambda: random.Random(1))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, clients: int = 4) -> None:
        """Let clients send jobs."""
        for number in range(clients):
            thread = threading.Thread(target=self._send, args=(number,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def end(self) -> None:
        """Send no more new jobs; what was begun is sent until it is answered."""
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _send(self, number: int) -> None:
        while not self._over.is_set():
            if self._waiting(number) >= self.most_open:
                time.sleep(0.3)
                continue
            with self._lock:
                seed = self._numbers.randrange(2**32)
            self._until_answered(str(uuid.uuid4()), seed)
            time.sleep(0.05)

    def _until_answered(self, job: str, seed: int) -> None:
        body = {"prompt": painting(seed), "prompt_id": job, "client_id": "crash"}
        for attempt in range(600):
            port = self.ports[attempt % len(self.ports)]
            try:
                answer = ask(port, "/prompt", body)
            except urllib.error.HTTPError as error:
                if error.code < 500 and error.code != 429:
                    self.refused.append(f"{error.code}: {error.read()[:200]!r}")
                    return
            except (OSError, http.client.HTTPException, ValueError):
                pass
            else:
                if answer.get("prompt_id") == job:
                    self.accepted[job] = seed
                    return
            self.repeated += 1
            time.sleep(0.1)

    def _waiting(self, number: int) -> int:
        try:
            told = ask(self.ports[number % len(self.ports)], "/prompt", None)
            return int(told["exec_info"]["queue_remaining"])
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return 0


def ask(port: int, path: str, body: Any, seconds: float = 10.0) -> dict[str, Any]:
    """Ask a gateway something."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data)
    with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
        return found


def painting(seed: int) -> dict[str, Any]:
    """A small picture, with its seed in it."""
    return {
        "1": {
            "class_type": "CheckpointLoaderSimple",
            "inputs": {"ckpt_name": "sd15.safetensors"},
        },
        "2": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "a lighthouse"}},
        "4": {
            "class_type": "EmptyLatentImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1},
        },
        "5": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0],
                "latent_image": ["4", 0], "seed": seed, "steps": 4, "cfg": 7.0,
                "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0,
            },
        },
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
        "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "c"}},
    }  # fmt: skip
