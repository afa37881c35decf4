"""Reading a workflow for `run`: in the web page's own format, the servers say what it means."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from holdfast.apps.servers import greet
from holdfast.comfyui import ComfyUI, Workflow
from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.server import Server, ServerCallError
from holdfast.comfyui.workflow import PageFormatError
from holdfast.errors import BadInputError


class Loader:
    """Loads workflow files; asks the servers for their node classes once, if it must."""

    def __init__(self, servers: Sequence[str], *, wait: float = 0.0) -> None:
        self._servers = servers
        self._wait = wait
        self._catalog: Catalog | None = None

    def load(self, path: str) -> Workflow:
        """Read one file, in either format.

        Raises:
            BadInputError: it is no workflow, needs classes that no server has, or no server
                answers.
        """
        try:
            return Workflow.load(path)
        except PageFormatError:
            if self._catalog is None:
                self._catalog = asyncio.run(self._ask())
            return Workflow.load(path, object_info=self._catalog)

    async def _ask(self) -> Catalog:
        async with ComfyUI(*self._servers) as comfy:
            greetings = await greet(comfy, wait=self._wait)
            answers = await asyncio.gather(*(_catalog(server) for server in comfy.servers))
        known = [each for each in answers if each is not None]
        if not known:
            problems = "; ".join(each.problem for each in greetings if each.problem)
            raise BadInputError(f"no server can say what the workflow's nodes take: {problems}")
        # What one server lacks another may have: a job goes where it can run.
        return Catalog({name: node for each in reversed(known) for name, node in each.items()})


async def _catalog(server: Server) -> Catalog | None:
    try:
        return Catalog.parse(await server.object_info(), source=server.name)
    except (ServerCallError, BadInputError):
        return None
