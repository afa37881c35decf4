"""Work put off, on disk: kept through crashes, and sent in order when the service is back.

- An item is written beside its place, synced, and renamed into it, so there is never half an
  item. All there is to know about it is in its name, so there is no index that could be wrong.
- Names are ours: number, size, failed tries, a random part. What is not named so is not touched.
- Items are sent oldest first, and each is removed after ``send`` has returned. A process that is
  killed between the two sends that item once more: give its `id` along where that matters.
- One process (or thread) at a time sends; a second one is told that it is busy.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from holdfast.errors import RejectedError
from holdfast.outcome import describe
from holdfast.policies import checks
from holdfast.policies.matching import Condition, compile_condition
from holdfast.system.recovery.asking import Asking, settle, settle_sync
from holdfast.system.recovery.folder_lock import locked

_NAME = re.compile(
    r"(?P<number>\d{12})\.(?P<size>\d{1,12})\.(?P<tries>\d{1,6})\.(?P<token>[0-9a-f]{16})\.json"
)
_HALF = re.compile(r"half-[0-9a-f]{16}")

Down = (ConnectionError, TimeoutError, OSError, RejectedError)
"""Failures that say that the service is not there, and nothing about the item."""


class SpoolFullError(RejectedError):
    """There is no room; nothing was written."""


@dataclass(frozen=True, slots=True, order=True)
class _Entry:
    number: int
    size: int
    tries: int
    token: str

    @classmethod
    def of(cls, name: str) -> Self | None:
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        number, size, tries = (int(found[part]) for part in ("number", "size", "tries"))
        return cls(number, size, tries, found["token"])

    @property
    def name(self) -> str:
        return f"{self.number:012d}.{self.size}.{self.tries}.{self.token}.json"

    @property
    def id(self) -> str:
        return f"{self.number:012d}-{self.token}"


@dataclass(frozen=True, slots=True)
class SpoolItem:
    """One payload on its way."""

    id: str
    """Stays the same over all tries; no other item ever has it."""
    payload: Any
    tries: int
    """How often it has failed."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay has come to."""

    sent: int = 0
    dead: int = 0
    """Items that were moved to ``dead/``: they failed too often, or cannot be read."""
    left: int = 0
    """Items still to be sent."""
    busy: bool = False
    """Whether somebody else is sending, so that this one did nothing."""
    stopped_by: str = ""
    """The failure that ended it before all was sent; empty if there was none."""


Send = Callable[[SpoolItem], Any | Awaitable[Any]]


class Spool:
    """A folder of JSON payloads. Safe across threads and processes."""

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        max_bytes: int = 100_000_000,
        max_items: int = 10_000,
        max_tries: int = 5,
        down: Condition = Down,
    ) -> None:
        """Make the folder if need be.

        Args:
            directory: for this spool alone.
            max_bytes: bytes of payload on disk, ``dead/`` not counted.
            max_items: items waiting; ``dead/`` keeps as many, and then the oldest there go.
            max_tries: failures after which an item is moved to ``dead/``.
            down: failures of ``send`` that do not count against the item.

        Raises:
            BadInputError: naming the setting, its value and what is right.
            OSError: the folder cannot be made.
        """
        checks.whole("max_bytes", max_bytes, at_least=1)
        checks.whole("max_items", max_items, at_least=1)
        checks.whole("max_tries", max_tries, at_least=1)
        self.directory = Path(directory)
        self.dead = self.directory / "dead"
        self.max_bytes, self.max_items, self.max_tries = max_bytes, max_items, max_tries
        self._down = compile_condition("down", down)
        self.dead.mkdir(parents=True, exist_ok=True)

    # -- in --------------------------------------------------------------------------------

    def put(self, payload: Any) -> str:
        """Keep a payload for later; when this returns, it is on the disk. Returns its id.

        Raises:
            SpoolFullError: it would be too many, or too large.
            TypeError: it is not JSON.
            ValueError: it is not JSON.
            OSError: it cannot be written.
        """
        data = json.dumps(payload, allow_nan=False).encode()
        with locked(self.directory / "write.lock", wait=True):
            self._sweep()
            waiting = self._entries()
            size = sum(entry.size for entry in waiting)
            if len(waiting) >= self.max_items:
                raise SpoolFullError(f"the spool holds {len(waiting)} items and has no room")
            if size + len(data) > self.max_bytes:
                raise SpoolFullError(
                    f"the spool holds {size} of {self.max_bytes} bytes, and {len(data)} more "
                    "have no room"
                )
            numbers = [entry.number for entry in waiting[-1:] + self._entries(self.dead)[-1:]]
            entry = _Entry(max(numbers, default=0) + 1, len(data), 0, secrets.token_hex(8))
            half = self.directory / f"half-{entry.token}"
            self._write(half, data)
            half.rename(self.directory / entry.name)
            _sync(self.directory)
        return entry.id

    def holds(self, identity: str, payload: Any) -> bool:
        """Whether an item is on the disk and holds this payload."""
        entry = next((entry for entry in self._entries() if entry.id == identity), None)
        data = None if entry is None else self._read(entry)
        return data is not None and data == json.dumps(payload).encode()

    def remove(self, identity: str) -> bool:
        """Take an item back; False if it is not there any more."""
        entry = next((entry for entry in self._entries() if entry.id == identity), None)
        if entry is None:
            return False
        (self.directory / entry.name).unlink(missing_ok=True)
        _sync(self.directory)
        return True

    # -- out -------------------------------------------------------------------------------

    def replay(self, send: Callable[[SpoolItem], Any]) -> Replayed:
        """Send all items, oldest first; stops at the first failure of the service.

        Args:
            send: a plain function that returns when the item has arrived, and raises if not.

        Raises:
            TypeError: it is async; that is for `replay_async`.
        """
        return settle_sync(self._replaying(send))

    async def replay_async(self, send: Send) -> Replayed:
        """`replay` for async code; ``send`` may be sync or async."""
        done = settle(self._replaying(send))
        return done if isinstance(done, Replayed) else await done

    def __len__(self) -> int:
        return len(self._entries())

    def __bool__(self) -> bool:
        return True  # an empty spool is a spool

    def snapshot(self) -> dict[str, Any]:
        """Items and bytes waiting, and items given up."""
        waiting = self._entries()
        return {
            "items": len(waiting),
            "bytes": sum(entry.size for entry in waiting),
            "dead": len(self._entries(self.dead)),
        }

    # -- within ----------------------------------------------------------------------------

    def _replaying(self, send: Send) -> Asking[Replayed]:
        with locked(self.directory / "send.lock", wait=False) as ours:
            if not ours:
                return Replayed(left=len(self), busy=True)
            sent = dead = 0
            for entry in self._entries():
                data = self._read(entry)
                try:
                    payload = None if data is None else json.loads(data)
                except ValueError:
                    data = None
                if data is None:
                    self._bury(entry)
                    dead += 1
                    continue
                try:
                    yield send(SpoolItem(entry.id, payload, entry.tries))
                except Exception as error:  # noqa: BLE001  # any failure leaves the item here
                    told = describe(error)
                    if self._down(error):
                        return Replayed(sent, dead, len(self), stopped_by=told)
                    if entry.tries + 1 < self.max_tries:
                        self._count_try(entry)
                        return Replayed(sent, dead, len(self), stopped_by=told)
                    self._bury(entry)
                    dead += 1
                    continue
                (self.directory / entry.name).unlink(missing_ok=True)
                _sync(self.directory)
                sent += 1
            return Replayed(sent, dead, len(self))

    def _entries(self, folder: Path | None = None) -> list[_Entry]:
        found = (_Entry.of(name) for name in os.listdir(folder or self.directory))  # noqa: PTH208
        return sorted(entry for entry in found if entry is not None)

    def _read(self, entry: _Entry) -> bytes | None:
        """The item's bytes, or None if they are not what was written."""
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        try:
            with os.fdopen(os.open(self.directory / entry.name, flags), "rb") as file:
                data = file.read(entry.size + 1)
        except OSError:
            return None
        return data if len(data) == entry.size else None

    def _write(self, path: Path, data: bytes) -> None:
        try:
            with path.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _count_try(self, entry: _Entry) -> None:
        again = _Entry(entry.number, entry.size, entry.tries + 1, entry.token)
        (self.directory / entry.name).rename(self.directory / again.name)
        _sync(self.directory)

    def _bury(self, entry: _Entry) -> None:
        (self.directory / entry.name).replace(self.dead / entry.name)
        for old in self._entries(self.dead)[: -self.max_items]:
            (self.dead / old.name).unlink(missing_ok=True)
        _sync(self.dead)
        _sync(self.directory)

    def _sweep(self) -> None:
        """Remove what a killed process had not finished; the caller holds the lock."""
        for name in os.listdir(self.directory):  # noqa: PTH208  # names, not paths
            if _HALF.fullmatch(name):
                (self.directory / name).unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Make sure that the folder itself, with its names, is on the disk."""
    if os.name != "posix":
        return  # elsewhere a folder cannot be opened, and its names are synced with the file
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
