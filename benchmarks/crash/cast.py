"""The processes of the crash test: started, killed, frozen, and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Actor:
    """One process that may be killed at any moment, and is started again."""

    name: str
    arguments: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    kills: int = 0
    freezes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as said:
            self.process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                [sys.executable, "-m", "holdfast.apps", *self.arguments],
                stdout=said,
                stderr=said,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def kill(self) -> None:
        """SIGKILL."""
        with self.lock:
            if self.process is not None:
                self.process.send_signal(signal.SIGKILL)
                self.process.wait()
                self.kills += 1

    def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after so many seconds, in the background."""
        process = self.process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGSTOP)
        self.freezes += 1
        timer = threading.Timer(seconds, _wake, [process])
        timer.daemon = True
        timer.start()

    def revive(self) -> None:
        """Start it again if it is gone."""
        with self.lock:
            if self.process is None or self.process.poll() is not None:
                self.start()

    def stop(self) -> None:
        """End it for good."""
        if self.process is not None and self.process.poll() is None:
            _wake(self.process)
            self.process.kill()
            self.process.wait()


def _wake(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, seconds: float = 30.0) -> None:
    """Wait until somebody listens on a port.

    Raises:
        TimeoutError: nobody does.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nobody listens on {port}")
