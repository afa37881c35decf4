"""What servers have: asked of each, all at once, and told as a value.

A server that cannot be asked is not left out: its view says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from holdfast.comfyui.address import Address
from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.edit import Edit
from holdfast.comfyui.models.fitting import Fallbacks, Fit, fit
from holdfast.comfyui.models.names import is_model_name, match_name
from holdfast.comfyui.models.needs import ModelNeed, folder_of, unknown_nodes
from holdfast.comfyui.server import AnswerError, Server, ServerCallError
from holdfast.comfyui.workflow import Workflow

ONE_BY_ONE = 40
"""Classes that are asked for each on its own; for more, all are asked for together."""
MOST_FOLDERS = 60
"""Kinds of models whose lists are compared with a custom node's."""


@dataclass(frozen=True, slots=True)
class ServerModels:
    """What one server has of what a workflow needs."""

    server: str
    missing: tuple[ModelNeed, ...] = ()
    """What it lacks, under any name that could be meant."""
    edits: tuple[Edit, ...] = ()
    """What must be changed in the workflow for this server; each on top of those before it."""
    workflow: Workflow | None = None
    """The workflow for this server; None if it could not be asked, or a mere name was given."""
    unknown_nodes: tuple[str, ...] = ()
    """Node classes it lacks; which models they need cannot be told."""
    trouble: str = ""
    """Why it could not be asked."""

    @property
    def ready(self) -> bool:
        """Whether it has all that is needed."""
        return not (self.missing or self.unknown_nodes or self.trouble)

    @property
    def words(self) -> str:
        """What it lacks, in one sentence."""
        if self.trouble:
            return self.trouble
        lacks = [_lack(each) for each in self.missing]
        lacks += [f"it has no node {each}" for each in self.unknown_nodes]
        return f"{self.server}: {'; '.join(lacks)}" if lacks else f"{self.server} has all models"


def _lack(need: ModelNeed) -> str:
    near = need.nearest
    like = f" (it has {', '.join(near)})" if near else ""
    rivals = match_name(need.name, need.choices).candidates
    if rivals:
        like = f" (it has {', '.join(rivals[:3])}, and nothing says which is meant)"
    return f"{need.words}{like}"


Ask = Callable[[Server], Awaitable[ServerModels]]


class Shelves:
    """The servers, and what they say about their models."""

    def __init__(self, addresses: Sequence[Address], call_seconds: float) -> None:
        self._addresses = tuple(addresses)
        self._call_seconds = call_seconds

    async def of_workflow(
        self, workflow: Workflow, fallbacks: Fallbacks | None
    ) -> dict[str, ServerModels]:
        """Each server's view of a workflow, by its address."""

        async def ask(server: Server) -> ServerModels:
            catalog = await _catalog(server, workflow)
            fitted = await _with_folders(server, fit(workflow, catalog, fallbacks))
            lacks = unknown_nodes(workflow, catalog)
            return ServerModels(server.name, fitted.missing, fitted.edits, fitted.workflow, lacks)

        return await self._each(ask)

    async def of_name(self, name: str, folder: str) -> dict[str, ServerModels]:
        """Each server's view of one model, by its address."""

        async def ask(server: Server) -> ServerModels:
            listed = tuple(await _listed(server, folder))
            if match_name(name, listed).name is not None:
                return ServerModels(server.name)
            need = ModelNeed("-", "any node", folder, name, folder, listed)
            return ServerModels(server.name, (need,))

        return await self._each(ask)

    async def listing(self, name: str, folder: str) -> tuple[str, ...]:
        """The servers that list this very model, and offer it to a node if any node asks for it."""

        async def ask(server: Server) -> ServerModels:
            listed = await _listed(server, folder)
            offered = _offers(await server.object_info(), folder)
            seen = any(_same(name, each) for each in listed)
            taken = offered is None or any(_same(name, each) for each in offered)
            return ServerModels(server.name, trouble="" if seen and taken else "not listed")

        views = await self._each(ask)
        return tuple(name for name, view in views.items() if view.ready)

    async def forget(self) -> None:
        """Have every server drop its models and the results that came of them.

        A file that was replaced is read again only then. Servers that cannot be asked have most
        likely forgotten them anyway.
        """

        async def ask(server: Server) -> ServerModels:
            await server.free(unload_models=True, free_memory=True)
            return ServerModels(server.name)

        await self._each(ask)

    async def _each(self, ask: Ask) -> dict[str, ServerModels]:
        async def safely(server: Server) -> ServerModels:
            try:
                view = await ask(server)
            except ServerCallError as error:
                return ServerModels(server.name, trouble=str(error))
            return view

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._call_seconds)
        async with aiohttp.ClientSession(
            timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            servers = [
                Server(address, session, call_seconds=self._call_seconds)
                for address in self._addresses
            ]
            views = await asyncio.gather(*map(safely, servers))
        return {view.server: view for view in views}


async def _listed(server: Server, folder: str) -> list[str]:
    """A folder's models; none if the server knows no such folder."""
    try:
        return await server.models(folder)
    except AnswerError as error:
        if error.status == 404:
            return []
        raise


def _same(name: str, listed: str) -> bool:
    return name.replace("\\", "/") == listed.replace("\\", "/")


async def _catalog(server: Server, workflow: Workflow) -> Catalog:
    classes = sorted({node["class_type"] for node in workflow.graph.values()})
    if len(classes) > ONE_BY_ONE:
        return _parsed(await server.object_info())
    merged: dict[str, Any] = {}
    for each in classes:
        merged |= await server.object_info(each)
    return _parsed(merged)


def _parsed(answer: Any) -> Catalog:
    return Catalog.parse(answer) if answer else Catalog({})


async def _with_folders(server: Server, fitted: Fit) -> Fit:
    """Find where custom nodes' models lie: in the folder whose list is the node's own."""
    if all(need.folder or not need.choices for need in fitted.missing):
        return fitted
    lists = {
        folder: frozenset(await _listed(server, folder))
        for folder in (await server.models())[:MOST_FOLDERS]
    }
    missing = []
    for need in fitted.missing:
        names = frozenset(filter(is_model_name, need.choices))
        found = [folder for folder, listed in lists.items() if names and listed == names]
        if need.folder is None and len(found) == 1:
            missing.append(replace(need, folder=found[0]))
        else:
            missing.append(need)
    return replace(fitted, missing=tuple(missing))


def _offers(info: Any, folder: str) -> Iterable[str] | None:
    """What nodes take from a folder; None if none is known to take anything from it."""
    found: list[str] | None = None
    for node_type, node in _parsed(info).items():
        for spec in node.inputs.values():
            if folder_of(node_type, spec.name) == folder and spec.choices is not None:
                found = [*(found or []), *(each for each in spec.choices if isinstance(each, str))]
    return found
