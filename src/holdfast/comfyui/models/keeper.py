"""`ModelManager`: see that the servers have the models a workflow needs, and that they are whole.

Names are mended first, then models are fetched, and only then another model
takes a model's place, if the user has declared that it may. Whether it helped
is asked of the servers, every time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from holdfast.comfyui.address import Address
from holdfast.comfyui.edit import Edit
from holdfast.comfyui.models.check import ModelCheck, check_model_file
from holdfast.comfyui.models.download import (
    LIMIT_BYTES,
    DownloadSettings,
    Fetched,
    fetch,
    standard_retry,
)
from holdfast.comfyui.models.errors import ModelError, ModelMissingError, ModelNotSeenError
from holdfast.comfyui.models.fitting import Fallbacks, can_fall_back
from holdfast.comfyui.models.gate import Gate
from holdfast.comfyui.models.needs import ModelNeed
from holdfast.comfyui.models.places import ModelsFolder, Place
from holdfast.comfyui.models.progress import Listener
from holdfast.comfyui.models.repair import RepairResult, repair
from holdfast.comfyui.models.shelves import ServerModels, Shelves
from holdfast.comfyui.models.sources import Source, SourceLike, Sources
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError
from holdfast.policies import checks
from holdfast.policies.retry import Retry
from holdfast.ports import ambient

T = TypeVar("T")

LOOK_SECONDS = 0.5
"""Between two looks whether a server lists what was put there."""


@dataclass(frozen=True, slots=True)
class Ensured:
    """The models are there."""

    servers: Mapping[str, ServerModels]
    """What each server has now, by its address."""
    fetched: tuple[Fetched, ...]
    """What was put into the folder, or was found there."""

    @property
    def ready(self) -> tuple[str, ...]:
        """The servers that have everything."""
        return tuple(name for name, view in self.servers.items() if view.ready)

    def edits(self, server: str) -> tuple[Edit, ...]:
        """What had to be changed in the workflow for one server."""
        return self.servers[server].edits

    def workflow(self, server: str | None = None) -> Workflow:
        """The workflow with the model names of a server, by default of the first that is ready.

        Raises:
            BadInputError: there is no such server, or it was a mere name that was ensured.
        """
        view = self.servers.get(self.ready[0] if server is None else server)
        if view is None or view.workflow is None:
            raise BadInputError(f"server {server!r} has no workflow; ready are {self.ready}")
        return view.workflow


class ModelManager:
    """The models of one or more servers. Holds no connection open; needs no closing.

    Args:
        urls: server addresses, such as ``http://gpu1:8188``.
        folder: the ``models`` folder that these servers read, if this process can write there;
            None: nothing is fetched or repaired.
        sources: where models can be fetched from; see `Sources.of`.
        fallbacks: which models may take the place of which, the best first:
            ``{"flux1-dev.safetensors": ["flux1-dev-fp8.safetensors"]}``.
        retry: for broken downloads; by default six attempts, and more while they get further.
        limit_bytes: no file larger than this is fetched.
        trusted_hosts: ``host`` or ``host:port`` of mirrors that may be private, and speak http.
        tokens: logins, each for exactly one host: ``{"civitai.com": "..."}``.
        on_progress: called with a `Progress` while something is fetched.
        call_seconds: how long a small call to a server may take.
        idle_seconds: without a byte, after which a download counts as broken.
        settle_seconds: how long a server may take to list what was put into its folder.

    Raises:
        BadInputError: naming the setting, its value and what is right.
    """

    def __init__(
        self,
        *urls: str,
        folder: str | Path | None = None,
        sources: SourceLike | Sources | None = None,
        fallbacks: Mapping[str, Sequence[str]] | None = None,
        retry: Retry | None = None,
        limit_bytes: int = LIMIT_BYTES,
        trusted_hosts: Collection[str] = (),
        tokens: Mapping[str, str] | None = None,
        on_progress: Listener | None = None,
        call_seconds: float = 10.0,
        idle_seconds: float = 30.0,
        settle_seconds: float = 10.0,
    ) -> None:
        checks.seconds("call_seconds", call_seconds)
        checks.seconds("settle_seconds", settle_seconds, zero=True)
        given = [Address.parse(url) for url in urls]
        addresses = list({each.url: each for each in given}.values())
        if not addresses and folder is None:
            raise BadInputError("a server address or a models folder must be given, or both")
        self._shelves = Shelves(addresses, call_seconds) if addresses else None
        self._folder = None if folder is None else ModelsFolder(folder)
        self._sources = Sources.of(sources)
        self._fallbacks = Fallbacks.of(fallbacks)
        self._settle_seconds = settle_seconds
        self._settings = DownloadSettings(
            Gate.of(trusted_hosts, tokens),
            retry or standard_retry(),
            limit_bytes,
            idle_seconds=idle_seconds,
            listener=on_progress,
        )

    # What there is ----------------------------------------------------------------------

    async def missing(self, workflow: Workflow) -> dict[str, ServerModels]:
        """What each server lacks of what a workflow needs, by the server's address.

        Names that can be mended are not missing; their `edits` say what is to be changed.
        """
        return await self._asked().of_workflow(workflow, None)

    def check(self, name: str, *, folder: str | None = None) -> ModelCheck:
        """Look at a model file in the folder; its hash is compared if a source knows it.

        Raises:
            ModelError: the name is not safe, or no file or more than one has it.
        """
        place = self._place(name, folder)
        source = self._sources.find(name, place.folder)
        return check_model_file(place.path, sha256=source.sha256 if source else None)

    # What is done -----------------------------------------------------------------------

    async def ensure(
        self,
        wanted: Workflow | str,
        *,
        folder: str | None = None,
        source: SourceLike | None = None,
        everywhere: bool = False,
        allow_fallbacks: bool = True,
        deadline: float | None = None,
    ) -> Ensured:
        """See that the models are there, and fetch what is missing.

        Args:
            wanted: a workflow, or the name of one model.
            folder: for a name, the kind of model, such as ``checkpoints``.
            source: where to fetch from, looked at before the manager's own sources.
            everywhere: whether every server must have them; otherwise one that has them will do.
            allow_fallbacks: whether declared fallbacks may be used; they change the result.
            deadline: seconds for everything.

        Raises:
            ModelMissingError: no server has them, and they cannot be fetched; says why.
            ModelError: they could not be fetched.
            TimeoutError: the deadline is over; what has come is kept.
        """
        checks.seconds("deadline", deadline, optional=True)
        async with asyncio.timeout(deadline):
            if isinstance(wanted, str):
                return await self._ensure_name(wanted, folder, source, everywhere=everywhere)
            sources = Sources.of(source) + self._sources
            return await self._ensure(
                wanted, sources, everywhere=everywhere, allow_fallbacks=allow_fallbacks
            )

    async def repair(
        self,
        name: str,
        *,
        folder: str | None = None,
        source: SourceLike | None = None,
        force: bool = False,
    ) -> RepairResult:
        """Put a damaged model aside, fetch it anew, and see that it is whole and listed.

        The servers are asked to forget what they loaded, so that the next job reads the new file.

        Args:
            name: of the model, below its folder.
            folder: such as ``checkpoints``; None: wherever a file of this name lies.
            source: where to fetch from, looked at before the manager's own sources.
            force: fetch it anew even though nothing is seen to be wrong with it.

        Returns:
            What was found and done; `mended` is True only if its effect was seen.

        Raises:
            ModelError: the name is not safe, or no file or more than one has it; or this machine
                does not let us write.
        """
        place = self._place(name, folder)
        sources = Sources.of(source) + self._sources
        found = sources.find(name, place.folder)

        async def seen() -> tuple[str, ...] | None:
            if self._shelves is None:
                return None
            await self._shelves.forget()
            return await self._listed(place)

        return await repair(place, found, self._settings, seen, force=force)

    # For code without an event loop -----------------------------------------------------

    def missing_sync(self, workflow: Workflow) -> dict[str, ServerModels]:
        """`missing` for code without an event loop."""
        return _run(self.missing(workflow))

    def ensure_sync(self, wanted: Workflow | str, **options: Any) -> Ensured:
        """`ensure` for code without an event loop; the same options."""
        return _run(self.ensure(wanted, **options))

    def repair_sync(self, name: str, **options: Any) -> RepairResult:
        """`repair` for code without an event loop; the same options."""
        return _run(self.repair(name, **options))

    # Within -----------------------------------------------------------------------------

    async def _ensure(
        self, workflow: Workflow, sources: Sources, *, everywhere: bool, allow_fallbacks: bool
    ) -> Ensured:
        shelves = self._asked()
        fallbacks = self._fallbacks if allow_fallbacks else Fallbacks.of(None)
        views = await shelves.of_workflow(workflow, None)
        fetched: list[Fetched] = []
        reasons: list[str] = []
        if not _enough(views, everywhere=everywhere):
            orders, reasons = self._orders(views, sources, fallbacks)
            fetched = await self._fetch_all(orders, reasons)
        if fetched:
            views = await self._until_ready(workflow, views, fetched)
        if not _enough(views, everywhere=everywhere) and allow_fallbacks:
            views = await shelves.of_workflow(workflow, fallbacks)
        if not _enough(views, everywhere=everywhere):
            told = [view.words for view in views.values() if not view.ready]
            raise ModelMissingError("; ".join([*told, *reasons]))
        return Ensured(views, tuple(fetched))

    def _orders(
        self, views: Mapping[str, ServerModels], sources: Sources, fallbacks: Fallbacks
    ) -> tuple[list[tuple[Place, Source]], list[str]]:
        """What to fetch where, and why something is not fetched.

        Nothing is fetched for a server that would lack something else all the same.
        """
        orders: dict[Path, tuple[Place, Source]] = {}
        reasons: dict[str, None] = {}
        for view in views.values():
            mine: list[tuple[Place, Source]] = []
            lacks = bool(view.unknown_nodes or view.trouble)
            for need in view.missing:
                try:
                    mine.append(self._order(need, sources))
                except ModelError as error:
                    reasons[str(error)] = None
                    lacks = lacks or not can_fall_back(need, fallbacks)
            orders |= {} if lacks else {place.path: (place, source) for place, source in mine}
        return list(orders.values()), list(reasons)

    def _order(self, need: ModelNeed, sources: Sources) -> tuple[Place, Source]:
        source = sources.find(need.name, need.folder)
        if source is None:
            raise ModelMissingError(f"nothing says where to get {need.name}")
        if self._folder is None:
            raise ModelMissingError(f"{need.name} could be fetched, but no models folder was given")
        folder = need.folder or source.folder
        if folder is None:
            raise ModelMissingError(f"nothing says into which folder {need.name} belongs")
        return self._folder.place(folder, need.name), source

    async def _fetch_all(
        self, orders: Sequence[tuple[Place, Source]], reasons: list[str]
    ) -> list[Fetched]:
        fetched: list[Fetched] = []
        for place, source in orders:
            try:
                fetched.append(await fetch(place, source, self._settings))
            except ModelError as error:
                reasons.append(f"{place.shown} could not be fetched: {error}")
        return fetched

    async def _until_ready(
        self, workflow: Workflow, views: Mapping[str, ServerModels], fetched: list[Fetched]
    ) -> dict[str, ServerModels]:
        """Ask until some server sees what was put there, for as long as servers may take."""
        until = ambient.now() + self._settle_seconds
        before = {name: len(view.missing) for name, view in views.items()}
        while True:
            now = await self._asked().of_workflow(workflow, None)
            if any(len(view.missing) < before[name] for name, view in now.items()):
                return now
            if ambient.now() >= until:
                there = ", ".join(each.model for each in fetched)
                raise ModelNotSeenError(
                    f"{there} was put into {self._folder and self._folder.root}, and no server "
                    f"lists it; is this the models folder of {', '.join(now)}?"
                )
            await asyncio.sleep(LOOK_SECONDS)

    async def _ensure_name(
        self, name: str, folder: str | None, source: SourceLike | None, *, everywhere: bool
    ) -> Ensured:
        sources = Sources.of(source) + self._sources
        found = sources.find(name, folder)
        folder = folder or (found.folder if found else None)
        if folder is None:
            raise BadInputError(f"folder must say what {name!r} is, such as 'checkpoints'")
        views: dict[str, ServerModels] = {}
        if self._shelves is not None:
            views = await self._shelves.of_name(name, folder)
            if _enough(views, everywhere=everywhere):
                return Ensured(views, ())
        if found is None or self._folder is None:
            why = (
                f"nothing says where to get {name}"
                if found is None
                else f"{name} could be fetched, but no models folder was given"
            )
            raise ModelMissingError(
                "; ".join([*(v.words for v in views.values()), why]), model=name
            )
        place = self._folder.place(folder, name)
        fetched = await fetch(place, found, self._settings)
        if self._shelves is None:
            return Ensured({}, (fetched,))
        if not await self._listed(place):
            raise ModelNotSeenError(
                f"{place.shown} was put into {place.root}, and no server lists it; is this the "
                f"models folder of {', '.join(views)}?",
                model=name,
            )
        return Ensured(await self._shelves.of_name(name, folder), (fetched,))

    async def _listed(self, place: Place) -> tuple[str, ...]:
        """The servers that list a model, asked for as long as they may take."""
        until = ambient.now() + self._settle_seconds
        while True:
            found = await self._asked().listing(place.relative.as_posix(), place.folder)
            if found or ambient.now() >= until:
                return found
            await asyncio.sleep(LOOK_SECONDS)

    def _place(self, name: str, folder: str | None) -> Place:
        if self._folder is None:
            raise BadInputError("folder was not given to the manager, so no file can be reached")
        if folder is not None:
            return self._folder.place(folder, name)
        found = self._folder.find(name)
        if len(found) > 1:
            there = ", ".join(each.shown for each in found)
            raise BadInputError(f"folder must say which {name!r} is meant: {there}")
        if found:
            return found[0]
        source = self._sources.find(name)
        if source is not None and source.folder is not None:
            return self._folder.place(source.folder, name)
        raise ModelMissingError(f"{name} lies nowhere in {self._folder.root}", model=name)

    def _asked(self) -> Shelves:
        if self._shelves is None:
            raise BadInputError("no server was given to the manager, so none can be asked")
        return self._shelves


def _enough(views: Mapping[str, ServerModels], *, everywhere: bool) -> bool:
    ready = [view.ready for view in views.values()]
    return all(ready) if everywhere else any(ready)


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    work.close()
    raise BadInputError("inside an event loop, await the method without _sync")
