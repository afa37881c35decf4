"""A model that does not load: looked at, put aside if damaged, fetched anew, and seen to be whole.

The result never claims more than was seen: `mended` is True only if the file
that lies there now passed its checks and a server lists it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from holdfast.comfyui.models.check import ModelCheck, check_model_file
from holdfast.comfyui.models.download import DownloadSettings, Fetched, fetch
from holdfast.comfyui.models.errors import ModelError
from holdfast.comfyui.models.places import Place
from holdfast.comfyui.models.quarantine import Quarantined, quarantine
from holdfast.comfyui.models.sources import Source
from holdfast.ports import ambient


@dataclass(frozen=True, slots=True)
class RepairResult:
    """What came of a repair."""

    model: str
    """Folder and name."""
    mended: bool
    """Whether something was wrong, and now is right: the file is whole, and a server lists it."""
    words: str
    """What was found and done, in one sentence or two."""
    check: ModelCheck | None = None
    """Of the file as it is now; None if there is none."""
    quarantined: Quarantined | None = None
    fetched: Fetched | None = None
    servers: tuple[str, ...] = ()
    """Those that list it now."""
    verified_at: float | None = None
    """Monotonic seconds at which it was seen to be whole and listed; None if it was not."""


Seen = Callable[[], Awaitable[tuple[str, ...] | None]]
"""Asks which servers list the model; None if there is no server to ask."""


async def repair(
    place: Place, source: Source | None, settings: DownloadSettings, seen: Seen, *, force: bool
) -> RepairResult:
    """Mend one model file.

    Args:
        place: of the model.
        source: where it can be fetched anew; None: nowhere.
        settings: how.
        seen: asks the servers.
        force: fetch it anew even though nothing is seen to be wrong with it.
    """
    there = place.path.exists()
    expected = source.sha256 if source else None
    check = await asyncio.to_thread(check_model_file, place.path, sha256=expected)
    if there and check.ok and not force:
        words = f"{place.shown} {check.words}; nothing was done"
        return RepairResult(place.shown, mended=False, words=words, check=check)
    why = check.words if not check.ok else "it was to be fetched anew although it looks whole"
    found = f"{place.shown} {why if there else 'was not there'}"
    aside = await asyncio.to_thread(quarantine, place, why) if there else None
    kept = f"; it was put aside as {aside.path.name}" if aside else ""
    if source is None:
        words = f"{found}{kept}; nothing says where to get it"
        return RepairResult(place.shown, mended=False, words=words, quarantined=aside)
    try:
        fetched = await fetch(place, source, settings)
    except ModelError as error:
        words = f"{found}{kept}; it could not be fetched anew: {error}"
        return RepairResult(place.shown, mended=False, words=words, quarantined=aside)
    check = await asyncio.to_thread(check_model_file, place.path, sha256=expected)
    servers = await seen()
    mended = check.ok and servers != ()
    words = f"{found}{kept}; fetched anew from {source.shown}, it {check.words}"
    if servers == ():
        words += ", but no server lists it"
    elif servers:
        words += f", and {', '.join(servers)} lists it"
    return RepairResult(
        place.shown,
        mended,
        words,
        check,
        aside,
        fetched,
        servers or (),
        ambient.now() if mended else None,
    )
