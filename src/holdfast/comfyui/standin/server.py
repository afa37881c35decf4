"""The stand-in server as its users see it: start, address, kill, restart, stop.

`StandIn` runs in threads of its own, so that whatever happens to it never
holds up the caller; a frozen server is frozen for its clients only. The port is
kept over restarts, and so are files and the counts of the fault script; all
else is new after a restart, as after that of a real process.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from holdfast.comfyui.standin.config import StandInConfig
from holdfast.comfyui.standin.faults import Fired
from holdfast.comfyui.standin.script import FaultScript

if TYPE_CHECKING:
    from holdfast.comfyui.standin.life import Life
    from holdfast.comfyui.standin.node import NodeClass

OWN_PORTS = range(20000, 32768)
"""Where a free port is looked for: below those the system lends to outgoing connections,
so that nobody takes the port while the server is down."""

KILLED = 137
"""Exit status of a process that was killed."""


class StandIn:
    """A ComfyUI server that can be broken on purpose.

    A context manager. Its methods may be called from any thread but its own.

    Args:
        config: What it is made of; None for a healthy server.
        catalog: Its node classes by name; None for all that Holdfast has.
    """

    def __init__(
        self,
        config: StandInConfig | None = None,
        *,
        catalog: Mapping[str, NodeClass] | None = None,
    ) -> None:
        self.config = StandInConfig() if config is None else config
        self._catalog = catalog
        self._script = FaultScript(self.config.faults)
        self._names = random.Random(self.config.seed)
        self._port = self.config.port
        self._root: Path | None = self.config.folder
        self._started_at: float | None = None
        self._life: Life | None = None
        self._comeback: threading.Timer | None = None
        self._lock = threading.Lock()
        self._stopped = True
        self._exit_when_dead = False

    # What it is ------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port, known from the first start on."""
        return self._port

    @property
    def url(self) -> str:
        """Where clients find it, such as ``http://127.0.0.1:23456``."""
        host = self.config.host
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    @property
    def folder(self) -> Path:
        """Where its input, output, temp and models folders lie."""
        if self._root is None:
            raise RuntimeError("a stand-in without a folder of its own has one only while started")
        return self._root

    @property
    def alive(self) -> bool:
        """Whether its process lives; a frozen one does."""
        return self._life is not None and self._life.pulse.alive

    @property
    def fired(self) -> tuple[Fired, ...]:
        """The faults that have struck so far, in order."""
        return self._script.fired

    # What can be done to it ------------------------------------------------------------

    def start(self) -> Self:
        """Start it; returns when it answers. Does nothing if it lives."""
        with self._lock:
            self._stopped = False
        if not self.alive:
            self._begin()
        return self

    def stop(self) -> None:
        """End it for good, and remove the folder if it was a temporary one."""
        with self._lock:
            self._stopped = True
            comeback, self._comeback = self._comeback, None
        if comeback is not None:
            comeback.cancel()
            if comeback is not threading.current_thread() and comeback.ident:
                comeback.join()
        self.kill()
        if self._life is not None:
            self._life.disk.wipe_temp()
            self._life = None
        if self.config.folder is None and self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = None

    def kill(self) -> None:
        """Kill its process: connections break off without a word, its memory is lost."""
        if self._life is not None:
            self._life.end()
            self._life.join()

    def restart(self) -> None:
        """Kill its process if it lives, and start a new one on the same port."""
        self.kill()
        self.start()

    def freeze(self, seconds: float) -> None:
        """Stop its process for ``seconds``: connections stay open, nothing is answered."""
        if self._life is not None:
            self._life.freeze(seconds)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def run_forever(
        self, on_ready: Callable[[str], None] | None = None, *, exit_when_dead: bool = True
    ) -> None:
        """Be a process of its own: run until SIGINT or SIGTERM. Main thread only.

        Args:
            on_ready: Called with the URL once it answers.
            exit_when_dead: A death without a restart ends the whole process with
                status 137. False: the process goes on, with a dead server in it.
        """
        done = threading.Event()
        self._exit_when_dead = exit_when_dead
        before = {
            number: signal.signal(number, lambda *_: done.set())
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            with self:
                if on_ready is not None:
                    on_ready(self.url)
                done.wait()
        finally:
            self._exit_when_dead = False
            for number, handler in before.items():
                signal.signal(number, handler)

    # Lives -----------------------------------------------------------------------------

    def _begin(self) -> None:
        # Imported here so that reading a fault file needs neither numpy nor a catalog.
        from holdfast.comfyui.standin.life import Life  # noqa: PLC0415

        if self._life is not None:
            self._life.join()
        if self._root is None:
            self._root = Path(tempfile.mkdtemp(prefix="holdfast-standin-"))
        if self._started_at is None:
            self._started_at = time.monotonic()
        # A restart is patient: what held the port a moment ago was this server itself.
        listener = _listen(self.config.host, self._port, 0.0 if self._life is None else 2.0)
        self._port = listener.getsockname()[1]
        life = Life(
            config=self.config,
            catalog=self._offered(),
            root=self._root.resolve(),
            script=self._script,
            now=self._now,
            on_death=self._died,
            names=self._names,
        )
        # Known before it begins: it may die at once, and `_died` asks who lives.
        self._life = life
        life.begin(listener)

    def _offered(self) -> dict[str, NodeClass]:
        if self._catalog is None:
            from holdfast.comfyui.standin.nodes import CATALOG  # noqa: PLC0415

            self._catalog = CATALOG
        missing = self.config.without_nodes
        return {name: node for name, node in self._catalog.items() if name not in missing}

    def _now(self) -> float:
        return time.monotonic() - (self._started_at or 0.0)

    def _died(self, life: Life, restart: float | None) -> None:
        """Called by a life that dies by itself, in one of its own threads."""
        if restart is None and self._exit_when_dead:
            os._exit(KILLED)
        life.end()
        if restart is None:
            return
        with self._lock:
            if self._stopped:
                return
            self._comeback = threading.Timer(restart, self._come_back, args=(life,))
            self._comeback.daemon = True
            self._comeback.start()

    def _come_back(self, dead: Life) -> None:
        if not self._stopped and self._life is dead:
            self._begin()


def _listen(host: str, port: int, patience: float) -> socket.socket:
    """Open a listening socket; port 0 finds one that nobody else will take."""
    end = time.monotonic() + patience
    while port:
        try:
            return _bound(host, port)
        except OSError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.02)
    for _ in range(50):
        with contextlib.suppress(OSError):
            return _bound(host, random.choice(OWN_PORTS))
    return _bound(host, 0)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener
