"""What the servers of an engine know and have, asked once and kept for a while.

Nobody waits for a silent server where another has answered: it is asked beside
the work, and is part of the stock from its answer on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.comfyui.server import Server, ServerCallError
from holdfast.errors import BadInputError, ErrorCategory
from holdfast.ports import ambient

FRESH_SECONDS = 300.0
"""How long an answer is trusted. What is missing after all is found out by the run itself."""
GRACE_SECONDS = 2.0
"""How long other servers are waited for once one has answered."""
AGAIN_SECONDS = 1.0
"""Between questions to servers of which none answers."""
SULKING_SECONDS = 15.0
"""How long a server that did not answer is not asked again, where others did."""


class Stock:
    """Catalogs by server. Belongs to one event loop.

    Args:
        servers: the servers there are now; they may come and go.
        reach_seconds: how long no server may answer.
    """

    def __init__(self, servers: Callable[[], Sequence[Server]], *, reach_seconds: float) -> None:
        self._servers = servers
        self._reach_seconds = reach_seconds
        self._known: dict[str, tuple[float, Catalog]] = {}
        self._silent: dict[str, tuple[float, str]] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._waited_for: set[asyncio.Task[None]] = set()

    async def catalogs(self, seconds: float) -> Mapping[str, Catalog]:
        """What each server that answers has, by its name; at least one.

        Args:
            seconds: how long to wait for the first answer, at most.

        Raises:
            ComfyUIError: none answers.
        """
        until = ambient.now() + min(seconds, self._reach_seconds)
        while True:
            self._ask()
            if self._known:
                await self._wait_a_little()
                return {name: catalog for name, (_, catalog) in self._known.items()}
            left = until - ambient.now()
            if left <= 0:
                raise self._nobody(late=seconds < self._reach_seconds).to_error()
            if self._asking:
                await asyncio.wait(
                    self._asking.values(), timeout=left, return_when=asyncio.FIRST_COMPLETED
                )
            else:
                await asyncio.sleep(min(left, AGAIN_SECONDS))

    def forget(self) -> None:
        """Ask again next time: what was known has turned out to be wrong."""
        self._known.clear()
        self._silent.clear()

    async def close(self) -> None:
        """Stop asking."""
        tasks = list(self._asking.values())
        for each in tasks:
            each.cancel()
        for each in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await each

    def _ask(self) -> None:
        now = ambient.now()
        for server in self._servers():
            name = server.name
            answered, _ = self._known.get(name, (now - FRESH_SECONDS, None))
            failed, _ = self._silent.get(name, (now - SULKING_SECONDS, ""))
            rest = SULKING_SECONDS if self._known else AGAIN_SECONDS
            due = now - answered >= FRESH_SECONDS and now - failed >= rest
            if due and name not in self._asking:
                self._asking[name] = asyncio.create_task(self._read(server))

    async def _read(self, server: Server) -> None:
        try:
            answer = await server.object_info()
            # Megabytes of it: other jobs' sockets must not wait meanwhile.
            catalog = await asyncio.to_thread(Catalog.parse, answer)
        except (ServerCallError, BadInputError) as error:
            self._silent[server.name] = (ambient.now(), str(error))
            self._known.pop(server.name, None)
        else:
            self._silent.pop(server.name, None)
            self._known[server.name] = (ambient.now(), catalog)
        finally:
            self._waited_for.discard(self._asking.pop(server.name))

    async def _wait_a_little(self) -> None:
        new = set(self._asking.values()) - self._waited_for
        self._waited_for |= new
        if new:
            await asyncio.wait(new, timeout=GRACE_SECONDS)

    def _nobody(self, *, late: bool) -> Failure:
        why = "; ".join(f"{name}: {words}" for name, (_, words) in self._silent.items())
        return Failure(
            FailureKind.DEADLINE if late else FailureKind.UNREACHABLE,
            f"no server says what it has ({why or 'none has answered'})",
            category=ErrorCategory.NETWORK,
        )
