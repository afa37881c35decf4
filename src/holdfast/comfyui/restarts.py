"""Restarting a ComfyUI server by what its owner declared: a command, a unit, a container, a hook.

Nothing is guessed: a server without a declared way is never restarted. A
command runs without a shell, for a limited time; of what it prints the last
lines are told if it fails. It may leave the server running behind it. That a
restart *worked* is said by nobody here: the server itself must pass its probe
again.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import re
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import IO

from holdfast.comfyui import events
from holdfast.comfyui.failures import clip
from holdfast.comfyui.restart_watch import RestartLimits, RestartWatch
from holdfast.errors import BadInputError, HoldfastError
from holdfast.ports import ambient
from holdfast.scrub import scrub
from holdfast.text import printable

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:\\-]{0,254}")
_RUNTIMES = ("docker", "podman", "nerdctl")
_KEPT = 4_096
"""Bytes of what a command prints that are kept: the last ones."""
_WORDS = 400

RestartHook = Callable[[str, str], Awaitable[object] | object]
"""Called with the server's name and the reason; it raises if it cannot restart it."""


class RestartError(HoldfastError):
    """A server could not be restarted; the message says why."""


@dataclass(frozen=True, slots=True)
class RestartCommand:
    """A command that restarts a server; it never sees a shell.

    Raises:
        BadInputError: it is empty, or ``seconds`` is no number above 0.
    """

    words: tuple[str, ...]
    """The program and its arguments."""
    seconds: float = 120.0
    """How long it may take."""

    def __post_init__(self) -> None:
        if not self.words or not all(self.words):
            raise BadInputError(
                f"words are {self.words!r}; they must be a program and its arguments"
            )
        if not self.seconds > 0:
            raise BadInputError(f"seconds is {self.seconds!r}; it must be above 0")

    async def __call__(self, server: str, reason: str) -> None:
        """Run it.

        Raises:
            RestartError: it is not there, fails, or takes too long.
        """
        del server, reason
        program = self.words[0]
        # Not a pipe: a server that the command leaves running writes to it for as long as it
        # lives, and fails at every job once nobody reads a pipe any more.
        with tempfile.TemporaryFile() as said:
            try:
                child = await asyncio.create_subprocess_exec(
                    *self.words,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=said,
                    stderr=asyncio.subprocess.STDOUT,
                )
            except OSError as error:
                raise RestartError(f"{program}: {error.strerror or error}") from None
            code = await self._ended(child)
            if code != 0:
                raise RestartError(
                    f"{program} failed with exit code {code}: "
                    f"{_last_words(said) or 'it said nothing'}"
                )

    async def _ended(self, child: asyncio.subprocess.Process) -> int:
        try:
            async with asyncio.timeout(self.seconds):
                return await child.wait()
        except TimeoutError:
            raise RestartError(f"{self.words[0]} took longer than {self.seconds:g} s") from None
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()


def systemd_unit(name: str, *, user: bool = False) -> RestartCommand:
    """Restart a systemd unit; ``user`` means one of the calling user's own.

    Raises:
        BadInputError: this is no unit's name.
    """
    _refuse_odd("unit", name)
    scope = ("--user",) if user else ()
    return RestartCommand(("systemctl", *scope, "restart", "--", name))


def container(name: str, *, runtime: str = "docker") -> RestartCommand:
    """Restart a container.

    Raises:
        BadInputError: this is no container's name, or the runtime is not known.
    """
    _refuse_odd("container", name)
    if runtime not in _RUNTIMES:
        raise BadInputError(f"runtime is {runtime!r}; it must be one of {', '.join(_RUNTIMES)}")
    return RestartCommand((runtime, "restart", name))


class Restarter:
    """Restarts servers that are down for too long. Belongs to one event loop."""

    def __init__(
        self,
        hooks: Mapping[str, RestartHook],
        limits: RestartLimits,
        emit: Callable[[events.Event], None],
        is_ill: Callable[[str], bool],
    ) -> None:
        self._hooks = dict(hooks)
        self._limits = limits
        self._emit = emit
        self._is_ill = is_ill
        self._watches = {name: RestartWatch(limits) for name in hooks}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def note(self, event: events.Event) -> None:
        """Learn from what the fleet tells."""
        match event:
            case events.ServerDown(server=name) if name in self._hooks:
                watch = self._watches[name]
                watch.down(ambient.now(), ill=self._is_ill(name))
                if name not in self._tasks or self._tasks[name].done():
                    task = asyncio.create_task(self._mend(name, event.reason))
                    self._tasks[name] = task
            case events.ServerUp(server=name) if name in self._hooks:
                if self._watches[name].up():
                    self._emit(events.ServerRestarted(name))
                if name in self._tasks:
                    self._tasks.pop(name).cancel()

    async def close(self) -> None:
        """Begin no further restart; one that is under way is broken off."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _mend(self, name: str, reason: str) -> None:
        watch, number = self._watches[name], 0
        while (due := watch.due_at(ambient.now())) is not None:
            await asyncio.sleep(max(0.0, due - ambient.now()))
            number += 1
            self._emit(events.ServerRestarting(name, reason, number))
            try:
                done = self._hooks[name](name, reason)
                if inspect.isawaitable(done):
                    await done
            except Exception as error:  # noqa: BLE001 - a hook may raise anything
                words = clip(scrub(str(error)), 300) or type(error).__name__
                log.warning("%s could not be restarted: %s", name, words)
                self._emit(events.ServerNotRestarted(name, words))
            watch.restarted(ambient.now())
        self._emit(
            events.ServerNotRestarted(
                name, f"restarted {number} times without coming back; it is left alone now"
            )
        )


def _last_words(said: IO[bytes]) -> str:
    said.seek(max(0, said.seek(0, os.SEEK_END) - _KEPT))
    words = " ".join(said.read(_KEPT).decode(errors="replace").split())
    return printable(scrub(words)[-_WORDS:])


def _refuse_odd(what: str, name: str) -> None:
    # A name that begins with a dash would be an option.
    if not _NAME.fullmatch(name):
        raise BadInputError(f"{what} is {name!r}; letters, digits and _ . @ : - may be in a name")
