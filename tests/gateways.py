"""A gateway as people run it, in a process of its own, before stand-in servers; and a browser."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks.crash.cast import Actor, free_port

ARTEFACTS = Path(os.environ.get("HOLDFAST_ARTEFACTS", "build/artefacts"))
"""Where screenshots are kept."""
CHROMIUM = "/usr/bin/chromium"


@dataclass
class Gateway:
    """One that can be killed and started again."""

    servers: tuple[str, ...]
    data: Path
    options: tuple[str, ...] = ("--no-keys",)
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.data / "log.txt").read_text()

    def start(self) -> None:
        self.port = self.port or free_port()
        self.data.mkdir(parents=True, exist_ok=True)
        at = [part for url in self.servers for part in ("--server", url)]
        with (self.data / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "holdfast.apps", "serve", *at, "--port", str(self.port),
                 "--data", str(self.data), *self.options],
                stdout=log,
                stderr=log,
            )  # fmt: skip
        until = time.monotonic() + 40
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            assert self.process.poll() is None, self.log
            time.sleep(0.05)
        raise TimeoutError(self.log)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def ask(self, path: str, body: Any = None, **headers: str) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def until(self, job: str, seconds: float = 40.0) -> dict[str, Any]:
        """The history entry of a job, once it is there."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.ask(f"/history/{job}")
            if job in found:
                return found[job]
            time.sleep(0.1)
        raise TimeoutError(f"{job} has not ended: {self.ask('/queue')}")


@contextlib.contextmanager
def gateway(
    *servers: str, data: Path, options: tuple[str, ...] = ("--no-keys",)
) -> Iterator[Gateway]:
    made = Gateway(servers, data, options)
    made.start()
    try:
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            made.process.kill()
            made.process.wait()


@contextlib.contextmanager
def servers(folder: Path, *options: str) -> Iterator[Actors]:
    """Two stand-in servers as processes, to be killed and started again."""
    made = Actors(
        [
            Actor(f"server {port}",
                  ["standin", "--port", str(port), "--folder", str(folder / str(port)), *options],
                  folder / f"server{port}.log")
            for port in (free_port(), free_port())
        ]
    )  # fmt: skip
    try:
        made.start()
        yield made
    finally:
        made.kill()


@dataclass
class Actors:
    """Several processes at once."""

    all: list[Actor]

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{each.arguments[2]}" for each in self.all]

    def start(self) -> None:
        for each in self.all:
            each.start()

    def kill(self) -> None:
        for each in self.all:
            each.kill()


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright. CI has it; elsewhere it may be missing."""
    if not Path(CHROMIUM).exists() and not os.environ.get("HOLDFAST_REQUIRE_BROWSER"):
        pytest.skip("no Chromium here: apt-get install chromium (CI does)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield found
        finally:
            found.close()


def keep_picture(page: Any, name: str) -> None:
    """A screenshot for whoever wants to see what CI saw."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(ARTEFACTS / f"{name}.png"))
