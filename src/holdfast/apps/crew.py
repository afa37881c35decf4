"""Stand-in servers as processes: started, killed, frozen, watched and brought back.

Plays the part of whoever runs the machines. A server that comes back has only
those faults before it that have not struck yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import aiohttp

from holdfast.comfyui.standin.faults import STANDING, Fault
from holdfast.errors import BadInputError

START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that struck a server of the crew."""

    server: str
    kind: str
    where: str
    at: float
    """`time.monotonic()` of this process, to about a tenth of a second."""


@dataclass(slots=True)
class Machine:
    """One stand-in server as a process, on a port that it keeps."""

    name: str
    folder: Path
    faults: tuple[Fault, ...] = ()
    options: tuple[str, ...] = ()
    port: int = 0
    keeps_numbers: bool = False
    """Whether faults strike at the very jobs they name; otherwise at one job after another."""
    strikes: list[Strike] = field(default_factory=list)
    killed: bool = False
    """Whether this process was ended by `kill`, and not by somebody else."""
    _process: subprocess.Popen[str] | None = None
    _seen: int = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process exists, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def process_id(self) -> int | None:
        """The operating system's number of the process."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the process and wait until it answers.

        Raises:
            BadInputError: it did not start.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        script = self.folder / "faults.toml"
        script.write_text(to_toml(self.left(), keeps_numbers=self.keeps_numbers), encoding="utf-8")
        command = [sys.executable, "-m", "holdfast.apps", "standin"]
        command += ["--port", str(self.port), "--faults", str(script)]
        command += ["--folder", str(self.folder), *self.options]
        log = (self.folder / "log.txt").open("a", encoding="utf-8")
        with log:
            self._process = _spawn(command, log)
        self.killed = False
        self._seen = 0
        line = await asyncio.wait_for(asyncio.to_thread(self._first_line), START_SECONDS)
        address = next((word for word in line.split() if word.startswith("http://")), "")
        if not address:
            raise BadInputError(f"the stand-in server {self.name} did not start; see {log.name}")
        self.port = int(address.rpartition(":")[2])

    def _first_line(self) -> str:
        assert self._process is not None  # noqa: S101 - start made it
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        return self._process.stdout.readline()

    def left(self) -> tuple[Fault, ...]:
        """The faults that have not struck yet, and those that hold for good."""
        struck = [strike.kind for strike in self.strikes]
        left = []
        for fault in self.faults:
            if fault.limit and fault.kind not in STANDING and fault.kind in struck:
                struck.remove(fault.kind)
            else:
                left.append(fault)
        return tuple(left)

    async def look(self, session: aiohttp.ClientSession) -> None:
        """Note the faults that struck since the last look."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError):
            async with session.get(
                f"{self.url}/holdfast/standin/faults", timeout=aiohttp.ClientTimeout(total=1.0)
            ) as answer:
                told: dict[str, Any] = await answer.json()
            for each in told["fired"][self._seen :]:
                self._seen += 1
                at = time.monotonic() - told["now"] + each["at"]
                self.strikes.append(Strike(self.url, each["kind"], each["what"], at))

    def kill(self) -> None:
        """SIGKILL: gone at once, with all it had in memory."""
        self.killed = self.killed or self.running
        self._signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
        if self._process is not None:
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()

    def freeze(self) -> None:
        """SIGSTOP: it stands still, its connections stay open."""
        if sys.platform != "win32":
            self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on where it stood, and reads what was sent meanwhile."""
        if sys.platform != "win32":
            self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None and self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)


def _spawn(command: list[str], log: IO[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own command, no shell
        command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
    )


_WRITTEN = (
    "node", "step", "path", "after", "times", "restart", "seconds", "bytes_per_second",
    "retry_after", "model", "above", "message", "post", "exception_type", "status",
)  # fmt: skip


def to_toml(faults: tuple[Fault, ...], *, keeps_numbers: bool = False) -> str:
    """Faults as a file that `load_faults` reads; those tied to jobs are numbered anew from 1."""
    tables, number = [], 0
    for fault in faults:
        values = {"kind": fault.kind} | {name: getattr(fault, name) for name in _WRITTEN}
        if fault.job is not None:
            number += 1
            values["job"] = fault.job if keeps_numbers else number
        # JSON's strings and numbers are TOML's too.
        lines = [f"{key} = {json.dumps(v)}" for key, v in values.items() if v is not None]
        tables.append("\n".join(["[[fault]]", *lines]))
    return "\n\n".join(tables) + "\n"
