"""A WebSocket client that writes down everything it is sent, in order."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

PATIENCE = 45.0
"""Seconds to wait for something that must come."""

QUIET = 0.3
"""Seconds after which something that has not come is taken not to come."""

RUN_KINDS = frozenset(
    {
        "execution_start",
        "execution_cached",
        "executing",
        "executed",
        "progress",
        "progress_state",
        "execution_success",
        "execution_error",
        "execution_interrupted",
    }
)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: a text message by its type, or a binary one."""

    kind: str
    """The message's type; ``binary`` for binary frames."""
    data: Any
    """The message's data; of a binary frame its bytes."""

    @classmethod
    def text(cls, payload: str) -> Self:
        """Read a text frame, which has a type and data and nothing else."""
        message = json.loads(payload)
        assert set(message) == {"type", "data"}
        return cls(message["type"], message["data"])

    @property
    def event(self) -> int:
        """Number of a binary frame's event."""
        return struct.unpack(">I", self.data[:4])[0]

    @property
    def prompt_id(self) -> str | None:
        """Id of the job it belongs to, where it says so."""
        return self.data.get("prompt_id") if isinstance(self.data, dict) else None

    def ends(self, prompt_id: str) -> bool:
        """Say whether this is the last frame of a job."""
        return self.kind == "executing" and self.data == {"node": None, "prompt_id": prompt_id}


class Recorder:
    """One socket's frames, from the first on."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, client_id: str) -> None:
        self.socket = socket
        self.client_id = client_id
        self.frames: list[Frame] = []
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._listen())

    @property
    def open(self) -> bool:
        """Whether the server still holds the socket open."""
        return not self._task.done()

    def kinds(self, since: int = 0) -> list[str]:
        """Return the types of the frames, in order."""
        return [frame.kind for frame in self.frames[since:]]

    def of(self, kind: str, since: int = 0) -> list[Any]:
        """Return the data of all frames of one type, in order."""
        return [frame.data for frame in self.frames[since:] if frame.kind == kind]

    async def wait(self, test: Callable[[Frame], bool], since: int = 0) -> Frame:
        """Return the first frame that passes ``test``, waiting for it."""
        async with asyncio.timeout(PATIENCE):
            at = since
            while True:
                while at < len(self.frames):
                    if test(self.frames[at]):
                        return self.frames[at]
                    at += 1
                assert self.open, "the socket was closed"
                self._news.clear()
                await self._news.wait()

    async def wait_kind(self, kind: str, since: int = 0) -> Any:
        """Return the data of the first frame of one type, waiting for it."""
        return (await self.wait(lambda frame: frame.kind == kind, since)).data

    async def wait_node(self, nodes: Sequence[str]) -> str:
        """Wait until one of ``nodes`` is executing, and return it."""
        frame = await self.wait(
            lambda frame: frame.kind == "executing" and frame.data["node"] in nodes
        )
        return frame.data["node"]

    async def wait_end(self, prompt_id: str, since: int = 0) -> None:
        """Wait for the last frame of a job."""
        await self.wait(lambda frame: frame.ends(prompt_id), since)

    async def send(self, payload: object) -> None:
        """Send ``payload``: text as it is, anything else as JSON."""
        await self.socket.send_str(payload if isinstance(payload, str) else json.dumps(payload))

    async def close(self) -> None:
        """Close the socket and wait until that is done."""
        await self.socket.close()
        await asyncio.wait([self._task])

    async def _listen(self) -> None:
        async for message in self.socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self.frames.append(Frame.text(message.data))
            elif message.type is aiohttp.WSMsgType.BINARY:
                self.frames.append(Frame("binary", message.data))
            self._news.set()
        self._news.set()


@dataclass(frozen=True, slots=True)
class Run:
    """One finished job, as its client saw it."""

    prompt_id: str
    number: float
    frames: tuple[Frame, ...]
    """Everything from the submission to ``executing`` with node null."""

    @property
    def kinds(self) -> list[str]:
        """Types of its frames, in order."""
        return [frame.kind for frame in self.frames]

    @property
    def executing(self) -> list[str | None]:
        """Nodes in the order they ran; None stands for the end."""
        return [data["node"] for data in self.of("executing")]

    @property
    def cached(self) -> list[str]:
        """Nodes that were not run again."""
        return self.one("execution_cached")["nodes"]

    def of(self, kind: str) -> list[Any]:
        """Return the data of all frames of one type, in order."""
        return [frame.data for frame in self.frames if frame.kind == kind]

    def one(self, kind: str) -> Any:
        """Return the data of the only frame of one type."""
        (data,) = self.of(kind)
        return data

    def outputs(self) -> dict[str, Any]:
        """Return what its output nodes reported, by node."""
        return {data["node"]: data["output"] for data in self.of("executed")}
