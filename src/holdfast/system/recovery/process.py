"""A process of ours: started, watched, stopped for certain, and not restarted without end."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from holdfast.error_info import ErrorInfo
from holdfast.errors import BadInputError, HoldfastError, RejectedError
from holdfast.policies import checks
from holdfast.ports import ambient
from holdfast.system.recovery.context import RecoveryContext
from holdfast.system.recovery.probing import required
from holdfast.system.recovery.strategy import Strategy
from holdfast.text import printable

LONGEST_LINE = 1_000
"""Characters kept of a line on stderr."""
POLL = 0.05
"""Seconds between two looks at a process that starts or stops."""


class ProcessNotReadyError(HoldfastError):
    """The process ended, or was not ready in time; the message has its last words."""


class RestartBudgetError(RejectedError):
    """It was restarted too often of late, and was left as it is."""


class SupervisedProcess:
    """One command, run as a child of this process. Safe across threads.

    The command is a list and never goes through a shell. On POSIX it leads a session of its own,
    so that stopping it stops its children, too. Use it in a ``with`` block, or call `stop`.
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        ready: Callable[[], bool],
        start_timeout: float = 30.0,
        stop_timeout: float = 10.0,
        max_restarts: int = 5,
        window: float = 300.0,
        kept_lines: int = 50,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Describe it; nothing is started.

        Args:
            command: the program and its arguments.
            ready: answers True if it does its work; a plain function.
            start_timeout: seconds in which it must become ready.
            stop_timeout: seconds from the polite signal to the one that cannot be refused.
            max_restarts: restarts at most in ``window``.
            window: seconds.
            kept_lines: lines of its stderr that are remembered.
            cwd: its working folder.
            env: its whole environment; None: this process's own.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        self.command = _words(command)
        required("ready", ready)
        checks.seconds("start_timeout", start_timeout)
        checks.seconds("stop_timeout", stop_timeout)
        checks.whole("max_restarts", max_restarts, at_least=1)
        checks.seconds("window", window)
        checks.whole("kept_lines", kept_lines, at_least=1)
        self.ready = ready
        self.start_timeout, self.stop_timeout = start_timeout, stop_timeout
        self.max_restarts, self.window = max_restarts, window
        self.cwd = None if cwd is None else Path(cwd)
        self.env = None if env is None else dict(env)
        self.restarts = 0
        self._recent: deque[float] = deque(maxlen=max_restarts)
        self._stderr: deque[str] = deque(maxlen=kept_lines)
        self._child: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._lock = threading.RLock()

    @property
    def running(self) -> bool:
        """Whether there is a child that has not ended."""
        child = self._child
        return child is not None and not _ended(child)

    @property
    def pid(self) -> int | None:
        """The child's process id, while it runs."""
        child = self._child
        return child.pid if child is not None and not _ended(child) else None

    @property
    def last_words(self) -> list[str]:
        """The last lines on its stderr, oldest first."""
        return list(self._stderr)

    def start(self) -> None:
        """Start it, unless it runs, and wait until it is ready.

        Raises:
            ProcessNotReadyError: it ended or was not ready in time; it does not run then.
            OSError: there is no such program.
        """
        with self._lock:
            if not self.running:
                self._spawn()
            began = ambient.now()
            while not self._is_ready():
                if not self.running:
                    self.stop()
                    raise ProcessNotReadyError(self._told(f"ended with {self._code()}"))
                if ambient.now() - began >= self.start_timeout:
                    self.stop()
                    raise ProcessNotReadyError(
                        self._told(f"was not ready after {self.start_timeout:g} s")
                    )
                ambient.sleep(POLL)

    def stop(self) -> None:
        """End it, politely first; returns when it is gone."""
        with self._lock:
            child = self._child
            if child is None:
                return
            if not _ended(child):
                self._signal(child, hard=False)
                began = ambient.now()
                while not _ended(child) and ambient.now() - began < self.stop_timeout:
                    ambient.sleep(POLL)
            # Also when it has ended by itself: its children may not have.
            self._signal(child, hard=True)
            child.wait()
            self._reap()

    def restart(self) -> None:
        """Stop it if it runs, start it, and wait until it is ready.

        Raises:
            RestartBudgetError: too often of late; nothing was done.
            ProcessNotReadyError: it ended or was not ready in time.
            OSError: there is no such program.
        """
        with self._lock:
            now = ambient.now()
            if len(self._recent) == self.max_restarts:
                left = self._recent[0] + self.window - now
                if left > 0:
                    raise RestartBudgetError(
                        f"{self.command[0]} was restarted {self.max_restarts} times in "
                        f"{self.window:g} s; the next time in {left:.3g} s",
                        retry_after=left,
                    )
            self._recent.append(now)
            self.restarts += 1
            self.stop()
            self.start()

    def well(self) -> bool:
        """Whether it runs and is ready."""
        return self.running and self._is_ready()

    def snapshot(self) -> dict[str, Any]:
        """Whether it runs, its id, how often it was restarted, its last words."""
        return {
            "command": self.command[0],
            "running": self.running,
            "pid": self.pid,
            "restarts": self.restarts,
            "stderr": self.last_words,
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _spawn(self) -> None:
        self.stop()
        self._stderr.clear()
        child = self._child = subprocess.Popen(  # noqa: S603  # a list, and the user's own
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self.cwd,
            env=self.env,
            start_new_session=os.name == "posix",
        )
        if child.stderr is not None:
            self._reader = threading.Thread(
                target=_read,
                args=(child.stderr, self._stderr),
                name="holdfast-process-stderr",
                daemon=True,
            )
            self._reader.start()

    def _is_ready(self) -> bool:
        try:
            return self.ready() is True
        except Exception:  # noqa: BLE001  # what does not answer is not ready
            return False

    def _signal(self, child: subprocess.Popen[bytes], *, hard: bool) -> None:
        if child.returncode is not None:
            return  # it was waited for, and its number may be another's by now
        with suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(child.pid, signal.SIGKILL if hard else signal.SIGTERM)
            elif hard:
                child.kill()
            else:
                child.terminate()

    def _reap(self) -> None:
        """Collect what an ended child has left."""
        child, reader = self._child, self._reader
        if child is None:
            return
        if reader is not None:
            # A grandchild may hold the pipe open for ever.
            reader.join(1.0)
            if not reader.is_alive() and child.stderr is not None:
                child.stderr.close()
        self._reader = None

    def _code(self) -> int | None:
        return None if self._child is None else self._child.returncode

    def _told(self, what: str) -> str:
        words = " | ".join(self.last_words[-5:])
        return f"{self.command[0]} {what}" + (f"; it said: {words}" if words else "")


def _words(command: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    try:
        words = [] if isinstance(command, str | bytes) else [os.fspath(word) for word in command]
        whole = "\0" not in "".join(words)
    except TypeError:
        words, whole = [], False
    if not words or not whole:
        raise BadInputError(
            f"command must be a list of texts, the program first, got {command!r:.100}"
        )
    return tuple(words)


def _ended(child: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended; it is not waited for, so that its number stays its own."""
    if child.returncode is not None:
        return True
    if not hasattr(os, "waitid"):
        return child.poll() is not None
    try:
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, child.pid, look) is not None
    except ChildProcessError:
        return child.poll() is not None  # somebody else has waited for it


def _read(stream: IO[bytes], kept: deque[str]) -> None:
    with suppress(ValueError, OSError):
        while line := stream.readline(LONGEST_LINE * 4):
            text = line.decode(errors="replace").rstrip("\r\n")
            kept.append(printable(text[:LONGEST_LINE]))


class RestartProcess(Strategy):
    """Restart a process of ours, and see that it is ready."""

    name = "restart process"

    def __init__(
        self,
        process: SupervisedProcess,
        *,
        name: str | None = None,
        cooldown: float | None = None,
    ) -> None:
        """Set which one.

        Args:
            process: what to restart; its own limits hold.
            name: default "restart process".
            cooldown: seconds between runs.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        checks.instance("process", process, SupervisedProcess, optional=False)
        limit = process.start_timeout + process.stop_timeout + 5.0
        super().__init__(name=name, timeout=limit, cooldown=cooldown)
        self.process = process

    def apply(self, error: ErrorInfo, context: RecoveryContext) -> None:  # noqa: ARG002
        """Restart."""
        before = self.process.pid
        self.process.restart()
        context.note(
            f"restarted {self.process.command[0]}: process {before or 'none'} -> {self.process.pid}"
        )

    def verify(self, error: ErrorInfo, context: RecoveryContext) -> bool:  # noqa: ARG002
        """Whether it runs and is ready."""
        return self.process.well()
