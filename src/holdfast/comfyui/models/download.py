"""Fetching a model whole: once for all who ask, as often as it takes, checked before it appears.

- One process fetches a file; others that want it wait, and then find it there.
- A broken connection is tried again as the retry policy says, and as long as
  each round of attempts brings the file further.
- What came is looked at, and its hash compared, before it gets its name.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import aiohttp

from holdfast.comfyui.models.check import ModelCheck, check_model_file
from holdfast.comfyui.models.errors import (
    DownloadBrokenError,
    DownloadRefusedError,
    ModelDamagedError,
    ModelError,
)
from holdfast.comfyui.models.gate import Gate
from holdfast.comfyui.models.hub import Found, endpoint, locate
from holdfast.comfyui.models.places import Place, discard_part, disk_trouble, prepare, put_in_place
from holdfast.comfyui.models.progress import Listener
from holdfast.comfyui.models.quarantine import Quarantined, quarantine
from holdfast.comfyui.models.resolver import guarded_session
from holdfast.comfyui.models.sources import Source
from holdfast.comfyui.models.transfer import Order, transfer
from holdfast.policies import checks
from holdfast.policies.backoff import Backoff
from holdfast.policies.retry import Retry
from holdfast.ports import ambient
from holdfast.system.recovery.folder_lock import locked

LIMIT_BYTES = 128 * 2**30
"""No model known is larger."""
MOST_ROUNDS = 1_000
WORTHWHILE_BYTES = 2**20
"""What a round of attempts must bring, so that another one is begun."""
LOOK_SECONDS = 0.2
"""Between two looks whether another process is done."""


def standard_retry() -> Retry:
    """Six attempts over about a minute, for what trying again may mend."""
    waits = Backoff.exponential(initial=1.0, maximum=30.0)
    return Retry(max_attempts=6, backoff=waits, on=(DownloadBrokenError,), name="download")


@dataclass(frozen=True, slots=True)
class DownloadSettings:
    """How models are fetched.

    Raises:
        BadInputError: naming the setting, its value and what is right.
    """

    gate: Gate = field(default_factory=Gate)
    retry: Retry = field(default_factory=standard_retry)
    limit: int = LIMIT_BYTES
    """Bytes of one file, whatever its source says."""
    connect_seconds: float = 15.0
    idle_seconds: float = 30.0
    """Without a byte, after which a connection counts as broken."""
    listener: Listener | None = None

    def __post_init__(self) -> None:
        """Check every field."""
        checks.instance("retry", self.retry, Retry, optional=False)
        checks.whole("limit", self.limit, at_least=1)
        checks.seconds("connect_seconds", self.connect_seconds)
        checks.seconds("idle_seconds", self.idle_seconds)
        checks.hook("listener", self.listener)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model that is there now."""

    model: str
    """Folder and name."""
    path: Path
    check: ModelCheck
    source: Source
    fetched: bool
    """False: it was there already, or another process fetched it."""
    seconds: float = 0.0
    connections: int = 0
    """How many it took."""
    quarantined: Quarantined | None = None
    """What lay in its place, and was damaged."""

    @property
    def words(self) -> str:
        """What was done, in one sentence."""
        if not self.fetched:
            return f"{self.model} was there already"
        again = f" over {self.connections} connections" if self.connections > 1 else ""
        return f"{self.model}: {self.check.size:,} bytes fetched from {self.source.shown}{again}"


async def fetch(place: Place, source: Source, settings: DownloadSettings) -> Fetched:
    """Have a model in its place, whole.

    Args:
        place: where it belongs.
        source: where it is to be had.
        settings: how.

    Raises:
        DownloadError: it could not be fetched; what came of it is kept, to go on from.
        ModelDamagedError: what came is not what it should be.
        ModelError: this machine does not let us write.
    """
    began = ambient.now()
    await asyncio.to_thread(prepare, place)
    async with _held(place):
        aside = None
        there = await asyncio.to_thread(_there, place, source)
        if there is not None and there.ok:
            return Fetched(place.shown, place.path, there, source, fetched=False)
        if there is not None:
            aside = await asyncio.to_thread(quarantine, place, there.words)
        order, check = await _bring(place, source, settings)
        await asyncio.to_thread(put_in_place, place)
    return Fetched(
        place.shown,
        place.path,
        check,
        source,
        fetched=True,
        seconds=ambient.now() - began,
        connections=order.attempt,
        quarantined=aside,
    )


def _there(place: Place, source: Source) -> ModelCheck | None:
    if not place.path.exists():
        return None
    check = check_model_file(place.path, sha256=source.sha256)
    if check.ok and source.size is not None and check.size != source.size:
        words = f"has {check.size:,} bytes where {source.size:,} were expected"
        return replace(check, ok=False, words=words)
    return check


async def _bring(
    place: Place, source: Source, settings: DownloadSettings
) -> tuple[Order, ModelCheck]:
    token = _hub_token(settings.gate)
    found = await settings.retry.execute(locate, source, token, seconds=settings.connect_seconds)
    limit = min(settings.limit, source.limit or settings.limit)
    size = source.size or found.size
    if size is not None and size > limit:
        raise DownloadRefusedError(f"{source.shown} has {size:,} bytes; {limit:,} are allowed")
    sha256 = source.sha256 or found.sha256
    order = Order(found.url, place, limit, size, sha256)
    gate = _with_hub(settings.gate, found)
    session = guarded_session(
        gate, connect_seconds=settings.connect_seconds, idle_seconds=settings.idle_seconds
    )
    async with session:
        try:
            await _rounds(session, gate, order, settings)
            check = await _checked(order)
            # Put together from pieces, or with no length to go by, it may be whole the next time.
            if not check.ok and (order.pieces != 1 or order.total is None):
                discard_part(place)
                await _rounds(session, gate, order, settings)
                check = await _checked(order)
            check.require(place.relative.as_posix())
        except (ModelDamagedError, DownloadRefusedError):
            discard_part(place)
            raise
        except ModelError as error:
            error.model = error.model or place.relative.as_posix()
            raise
    return order, check


async def _rounds(
    session: aiohttp.ClientSession, gate: Gate, order: Order, settings: DownloadSettings
) -> None:
    furthest = 0
    for _ in range(MOST_ROUNDS):
        try:
            await settings.retry.execute(transfer, session, gate, order, settings.listener)
        except DownloadBrokenError:
            came = _size(order.place.part)
            if came < furthest + WORTHWHILE_BYTES:
                raise
            furthest = came
        else:
            return
    raise DownloadBrokenError(f"{order.place.shown} broke off {MOST_ROUNDS} times over")


async def _checked(order: Order) -> ModelCheck:
    place = order.place
    check = await asyncio.to_thread(
        check_model_file, place.part, sha256=order.sha256, name=place.path.name
    )
    return replace(check, path=place.path)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _hub_token(gate: Gate) -> str | None:
    return gate.headers(f"{endpoint()}/").get("Authorization", "").removeprefix("Bearer ") or None


def _with_hub(gate: Gate, found: Found) -> Gate:
    """The gate with the hub's login for the hub, and trust in a hub of the user's own."""
    if found.host is None and found.token is None:
        return gate
    host = found.host or "huggingface.co"
    tokens = dict(gate.tokens)
    if found.token:
        tokens.setdefault(host, found.token)
    trusted = gate.trusted | {found.host} if found.host else gate.trusted
    return replace(gate, trusted=trusted, tokens=MappingProxyType(tokens))


@contextlib.asynccontextmanager
async def _held(place: Place) -> AsyncIterator[None]:
    """Be the only one, in all processes, who fetches this file."""
    while True:
        with contextlib.ExitStack() as stack:
            with disk_trouble(place):
                mine = stack.enter_context(locked(place.lock, wait=False))
            if mine:
                yield
                return
        await asyncio.sleep(LOOK_SECONDS)
