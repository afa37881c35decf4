"""One life of a server process: everything that is lost when it dies.

Two threads: an event loop that serves HTTP and sockets, and a worker that runs
graphs. What outlives a process (settings, files, the script of faults) is
given to it; a restart is a new `Life`.

- `end` may be called from any thread, waits for nobody, and looks to clients
  like ``kill -9``: connections break off, nothing is said.
- A frozen life wakes up to end.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import datetime as dt
import logging
import random
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from holdfast.comfyui.standin import wire
from holdfast.comfyui.standin.config import GIB, StandInConfig
from holdfast.comfyui.standin.disk import Disk
from holdfast.comfyui.standin.executor import Executor
from holdfast.comfyui.standin.faults import Fault
from holdfast.comfyui.standin.jobs import Jobs
from holdfast.comfyui.standin.memory import GraphicsMemory, device_error
from holdfast.comfyui.standin.node import NodeClass
from holdfast.comfyui.standin.pulse import Pulse
from holdfast.comfyui.standin.routes import application
from holdfast.comfyui.standin.script import FaultScript, Point
from holdfast.comfyui.standin.sockets import Sockets

logger = logging.getLogger("holdfast.comfyui.standin")
logger.addHandler(logging.NullHandler())

VERSION = "0.3.64"
LOG_LINES = 300


class Life:
    """A running server process, from start to death."""

    def __init__(
        self,
        *,
        config: StandInConfig,
        catalog: Mapping[str, NodeClass],
        root: Path,
        script: FaultScript,
        now: Callable[[], float],
        on_death: Callable[[Life, float | None], None],
        names: random.Random,
    ) -> None:
        self.config = config
        self.catalog = catalog
        self.script = script
        self.now = now
        self.pulse = Pulse()
        self.interrupt = threading.Event()
        """Set when the running job is to stop."""
        self.number = 0
        """What the next job is numbered."""
        self.temp_prefix = (
            f"ComfyUI_temp_{''.join(names.choices('abcdefghijklmnopqrstuvxyz', k=5))}"
        )
        self.disk = Disk(config, root, lambda: script.standing("missing_model", now()))
        self.memory = GraphicsMemory(
            config.vram_bytes, kind=config.device, sizes=config.model_sizes
        )
        self._loop = asyncio.new_event_loop()
        self._loop.set_debug(False)  # in debug mode aiohttp answers a 500 with a traceback
        self.sockets = Sockets(self._loop, self.pulse, config.max_upload)
        self.jobs = Jobs(self._queue_changed, config.history_limit)
        self._on_death = on_death
        self._lines: collections.deque[dict[str, str]] = collections.deque(maxlen=LOG_LINES)
        self._ending = asyncio.Event()
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._server_thread: threading.Thread | None = None
        self._worker_thread: threading.Thread | None = None

    # From outside ----------------------------------------------------------------------

    def begin(self, listener: socket.socket) -> None:
        """Start both threads; return when the server answers."""
        self._server_thread = threading.Thread(
            target=self._serve, args=(listener,), name="standin-server", daemon=True
        )
        self._worker_thread = threading.Thread(
            target=Executor(self).work, name="standin-worker", daemon=True
        )
        self._server_thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise self._failed
        self._worker_thread.start()

    def end(self) -> None:
        """Die at once. Returns before the threads have ended; `join` waits for them."""
        self.pulse.end()
        self.jobs.close()
        with contextlib.suppress(RuntimeError):  # the loop closed already
            self._loop.call_soon_threadsafe(self._ending.set)

    def join(self, seconds: float = 5.0) -> None:
        """Wait until the threads of a dead server are gone; a long computation may outlast this."""
        for thread in (self._server_thread, self._worker_thread):
            if thread is not None and thread.ident and thread is not threading.current_thread():
                thread.join(seconds)

    # Misfortunes -----------------------------------------------------------------------

    def suffer(self, fault: Fault) -> None:
        """Let a fault of the whole process happen. From any thread."""
        logger.info("fault: %s", fault.kind)
        if fault.kind == "die":
            self._on_death(self, fault.restart)
        elif fault.kind == "freeze":
            self.freeze(fault.seconds or 0.0)
        elif fault.kind == "zombie_socket":
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.sockets.forget_all)
        elif fault.kind == "stuck_reader":
            self.sockets.hold(fault.seconds or 0.0)

    def freeze(self, seconds: float) -> None:
        """Do nothing at all for ``seconds``, as a stopped process does. From any thread."""
        self.pulse.freeze(seconds)
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.pulse.hold)

    def is_corrupt(self, folder: str, name: str) -> bool:
        """Say whether a model file is damaged."""
        damaged = self.config.corrupt_models | self.script.standing("corrupt_model", self.now())
        if name in damaged or f"{folder}/{name}" in damaged:
            return True
        return self.disk.is_damaged(folder, name)

    def offered(self) -> Mapping[str, NodeClass]:
        """Return the node classes this server has just now."""
        missing = self.script.standing("missing_node", self.now())
        if not missing:
            return self.catalog
        return {name: node for name, node in self.catalog.items() if name not in missing}

    # What it says of itself ------------------------------------------------------------

    def queue_info(self) -> dict[str, Any]:
        """How many jobs wait or run, as everybody is told."""
        return {"exec_info": {"queue_remaining": self.jobs.remaining()}}

    def log(self, line: str) -> None:
        """Write a line to the server's own log."""
        stamp = dt.datetime.now(tz=dt.UTC).replace(tzinfo=None).isoformat()
        self._lines.append({"t": stamp, "m": f"{line}\n"})

    def log_entries(self) -> list[dict[str, str]]:
        """Return the server's own log: time and message of each line."""
        return list(self._lines)

    def system_stats(self) -> dict[str, Any]:
        """Tell of the machine this server claims to run on.

        Raises:
            NodeError: the device is broken; the real server cannot ask it then, and answers 500.
        """
        if self.memory.broken:
            raise device_error()
        total, free = self.memory.total, self.memory.free
        cuda = self.config.device == "cuda"
        ram = 64 * GIB if cuda else total
        host, port = self.config.host, self.config.port
        return {
            "system": {
                "os": "posix",
                "ram_total": ram,
                "ram_free": ram * 3 // 4 if cuda else free,
                "comfyui_version": VERSION,
                "required_frontend_version": "1.27.10",
                "installed_templates_version": "0.1.95",
                "required_templates_version": "0.1.95",
                "python_version": sys.version,
                "pytorch_version": "2.8.0+cu129" if cuda else "2.8.0+cpu",
                "embedded_python": False,
                "argv": ["main.py", "--listen", host, "--port", str(port)],
            },
            "devices": [
                {
                    "name": "cuda:0 Holdfast stand-in : cudaMallocAsync" if cuda else "cpu",
                    "type": self.config.device,
                    "index": 0 if cuda else None,
                    "vram_total": total,
                    "vram_free": free,
                    "torch_vram_total": total - free if cuda else total,
                    "torch_vram_free": 0 if cuda else free,
                }
            ],
        }

    def _queue_changed(self) -> None:
        self.sockets.post(wire.message("status", {"status": self.queue_info()}))

    # The server thread -----------------------------------------------------------------

    def _serve(self, listener: socket.socket) -> None:
        loop = self._loop
        try:
            self.disk.prepare()
            loop.run_until_complete(self._live(listener))
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for us
            self._failed = error
        finally:
            self.pulse.end()
            self.jobs.close()
            listener.close()
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
            self._ready.set()

    async def _live(self, listener: socket.socket) -> None:
        runner = web.AppRunner(
            application(self), access_log=None, logger=logger, shutdown_timeout=0.01
        )
        await runner.setup()
        site = web.SockSite(runner, listener)
        await site.start()
        tasks = [asyncio.create_task(self._publish()), asyncio.create_task(self._watch_clock())]
        self._ready.set()
        try:
            await self._ending.wait()
        finally:
            # First no more is accepted, then what was accepted becomes connections, then all end:
            # asyncio forgets to close what is in between when its server closes.
            with contextlib.suppress(NotImplementedError):
                self._loop.remove_reader(listener)
            await _accepted()
            await site.stop()
            for connection in runner.server.connections if runner.server else ():
                if connection.transport is not None:
                    connection.transport.abort()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await runner.cleanup()
            # aiohttp forgets a connection that it closed, even while that still has something to
            # say to somebody who does not listen; asyncio knows them all.
            for transport in list(getattr(self._loop, "_transports", {}).values()):
                transport.abort()
            await _turns(3)

    async def _publish(self) -> None:
        try:
            await self.sockets.publish()
        except TypeError as error:
            self.log(f"send loop: {error}")
            self._on_death(self, None)

    async def _watch_clock(self) -> None:
        for moment in self.script.alarm():
            await asyncio.sleep(max(0.0, moment - self.now()))
            for fault in self.script.happens(Point("clock", self.now())):
                self.suffer(fault)


async def _accepted() -> None:
    """Wait until what was accepted this very moment has become a connection."""
    while any(  # noqa: ASYNC110 - asyncio tells nobody when it has accepted
        getattr(task.get_coro(), "__name__", "") == "_accept_connection2"
        for task in asyncio.all_tasks()
    ):
        await asyncio.sleep(0)
    await _turns(3)


async def _turns(count: int) -> None:
    """Let everybody else have a few turns of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)
