"""One ComfyUI server over HTTP and WebSocket: every call a client needs, bounded in time and size.

What a server sends is never trusted: answers are read up to a limit, redirects
are not followed, and anything that is not what ComfyUI would say becomes an
error of this module. These calls do not retry; that is for whoever calls them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import math
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

import aiohttp

from holdfast.comfyui.address import Address
from holdfast.comfyui.failures import clip
from holdfast.comfyui.replies import HistoryEntry, Queue, parse_history, parse_queue

MAX_FRAME_BYTES = 64 * 2**20
"""Error frames of 12 MB are real; the default limit of 4 MiB closes the socket on them."""
MAX_JSON_BYTES = 32 * 2**20
"""A history entry repeats the whole graph and the whole error message. Parsed JSON takes up to
twenty times its size in memory, so this is no larger than it must be."""
MAX_QUEUE_BYTES = 192 * 2**20
"""The queue repeats the graph and the page's own workflow of every job in it: 300 jobs of a busy
server have been seen to take 35 MiB."""
MAX_SEPARATORS = 16_000_000
"""Commas, braces and brackets in an answer: what bounds the memory its parsed form takes."""
MAX_SMALL_JSON_BYTES = 2**20
"""For answers that are small on every real server."""
FEATURES = {"supports_preview_metadata": True}


class ServerCallError(Exception):
    """A call to a server came to nothing. The message is fit for people."""


class RefusedError(ServerCallError):
    """Nothing listens there: the request was certainly not received, and the process is gone."""


class NoRouteError(ServerCallError):
    """No connection could be made: no such host, no route, no TLS.

    The request was certainly not received, but whether the server lives cannot be told from here.
    """


class SilentError(ServerCallError):
    """No answer, or it broke off: the request may or may not have been received."""


class AnswerError(ServerCallError):
    """An answer came, and it is an error or not ComfyUI's."""

    def __init__(self, message: str, status: int, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class NotComfyUIAnswerError(AnswerError):
    """An answer came that no ComfyUI gives."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON answer."""

    status: int
    body: Any


class Server:
    """Calls to one server. Safe to use from many tasks of one event loop."""

    def __init__(
        self, address: Address, session: aiohttp.ClientSession, *, call_seconds: float = 10.0
    ) -> None:
        self.address = address
        self.call_seconds = call_seconds
        """How long a small call may take."""
        self._session = session
        self._auth = (
            aiohttp.BasicAuth(address.user, address.password or "")
            if address.user is not None
            else None
        )

    @property
    def name(self) -> str:
        """The server as it is shown to people."""
        return self.address.shown

    # Calls ------------------------------------------------------------------------------

    async def submit(self, body: Mapping[str, Any], *, seconds: float) -> Answer:
        """`POST /prompt`. A 400 comes back as an answer; its body says why.

        Raises:
            RefusedError: certainly not submitted.
            SilentError: nobody knows whether it was submitted.
            AnswerError: a 5xx, or not ComfyUI's answer; it may have been submitted all the same.
        """
        answer = await self._json("POST", "/prompt", body=body, seconds=seconds, accept=(200, 400))
        expected = "prompt_id" if answer.status == 200 else "error"
        if not isinstance(answer.body, dict) or expected not in answer.body:
            raise self._not_comfyui("/prompt", answer.status, "JSON of another kind")
        return answer

    async def queue(self) -> Queue:
        """`GET /queue`: what runs and what waits."""
        answer = await self._json("GET", "/queue", largest=MAX_QUEUE_BYTES)
        queue = parse_queue(answer.body)
        if queue is None:
            raise self._not_comfyui("/queue", answer.status, "JSON of another kind")
        return queue

    async def queue_length(self) -> int:
        """`GET /prompt`: how many jobs run or wait, without the jobs themselves."""
        answer = await self._json("GET", "/prompt", largest=MAX_SMALL_JSON_BYTES)
        info = answer.body.get("exec_info") if isinstance(answer.body, dict) else None
        count = info.get("queue_remaining") if isinstance(info, dict) else None
        if not isinstance(count, int):
            raise self._not_comfyui("/prompt", answer.status, "JSON of another kind")
        return max(0, count)

    async def history(self, prompt_id: str) -> HistoryEntry | None:
        """`GET /history/{id}`: how a run ended, None if it has not or is unknown."""
        answer = await self._json("GET", f"/history/{quote(prompt_id, safe='')}")
        if not isinstance(answer.body, dict):
            raise self._not_comfyui("/history", answer.status, "JSON of another kind")
        return parse_history(answer.body, prompt_id)

    async def look(
        self, prompt_id: str, *, ended: str | None = None
    ) -> tuple[Queue, HistoryEntry | None]:
        """`/queue`, then `/history`: in this order a job cannot slip between the two.

        Args:
            prompt_id: what to look for.
            ended: the token of a submission that was heard to end: if the history has it, where it
                stands in the queue is not asked, and the queue comes back empty.
        """
        if ended is not None:
            entry = await self.history(prompt_id)
            if entry is not None and entry.token in (None, ended):
                return Queue((), ()), entry
        queue = await self.queue()
        return queue, await self.history(prompt_id)

    async def delete_pending(self, prompt_id: str) -> None:
        """Take one submission of ``prompt_id`` out of the queue; never touches what runs."""
        await self._empty("/queue", {"delete": [prompt_id]})

    async def interrupt(self, prompt_id: str) -> None:
        """Stop ``prompt_id`` if it runs. Older servers ignore the id: make sure it runs first."""
        await self._empty("/interrupt", {"prompt_id": prompt_id})

    async def free(self, *, unload_models: bool, free_memory: bool = False) -> None:
        """Ask the server to release memory, which it does after the job that runs now."""
        await self._empty("/free", {"unload_models": unload_models, "free_memory": free_memory})

    async def system_stats(self) -> Mapping[str, Any]:
        """`GET /system_stats`: version, memory, devices."""
        answer = await self._json("GET", "/system_stats", largest=MAX_SMALL_JSON_BYTES)
        if not isinstance(answer.body, dict) or not isinstance(answer.body.get("system"), dict):
            raise self._not_comfyui("/system_stats", answer.status, "JSON of another kind")
        return answer.body

    async def object_info(self, class_name: str | None = None) -> Mapping[str, Any]:
        """`GET /object_info`: the node classes this server knows, or one of them."""
        path = "/object_info" + (f"/{quote(class_name, safe='')}" if class_name else "")
        answer = await self._json("GET", path, seconds=max(30.0, self.call_seconds))
        if not isinstance(answer.body, dict):
            raise self._not_comfyui(path, answer.status, "JSON of another kind")
        return answer.body

    async def models(self, folder: str | None = None) -> list[str]:
        """`GET /models` or `/models/{folder}`: names, as the server lists them."""
        path = "/models" + (f"/{quote(folder, safe='')}" if folder else "")
        answer = await self._json("GET", path)
        listed = answer.body if isinstance(answer.body, list) else []
        return [each for each in listed if isinstance(each, str)]

    async def saved_file(self, encoded: str, limit: int) -> bytes | None:
        """`GET /userdata/{file}`: its content; None if it is gone or has more than ``limit`` bytes.

        Args:
            encoded: its path, slashes included, as a part of an address.
            limit: bytes, at most.
        """
        content = bytearray()
        async with self._request("GET", f"/userdata/{encoded}") as response:
            if response.status in {400, 403, 404}:  # it did list the file, so this is no login
                return None
            if response.status != 200:
                raise self._error_answer(response, "/userdata", "")
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > limit:
                    return None
        return bytes(content)

    async def told(self, path: str) -> Any:
        """What a small `GET` of JSON says; None if the server knows no such thing."""
        try:
            return (await self._json("GET", path, largest=MAX_SMALL_JSON_BYTES)).body
        except AnswerError as error:
            if error.status != 404:
                raise
            return None

    async def upload(self, name: str, content: bytes) -> str:
        """`POST /upload/image`: the name under which a workflow may load it.

        The same bytes under the same name are uploaded again without harm.
        """
        form = aiohttp.FormData()
        form.add_field("image", content, filename=name, content_type="application/octet-stream")
        form.add_field("type", "input")
        async with self._request("POST", "/upload/image", data=form, seconds=300.0) as response:
            body = await self._read_json(response, "/upload/image", (200,))
        if not isinstance(body, dict) or not isinstance(body.get("name"), str):
            raise self._not_comfyui("/upload/image", 200, "JSON of another kind")
        folder = body.get("subfolder")
        return f"{folder}/{body['name']}" if isinstance(folder, str) and folder else body["name"]

    async def has_input(self, name: str, size: int) -> bool:
        """`HEAD /view`: whether an uploaded file is still there, with so many bytes.

        A server that does not say so counts as one that has it not: to send it again is no harm.
        """
        folder, _slash, filename = name.rpartition("/")
        params = {"filename": filename, "subfolder": folder, "type": "input"}
        try:
            async with self._request("HEAD", "/view", params=params) as response:
                told = response.headers.get("Content-Length", "")
                return response.status == 200 and told == str(size)
        except AnswerError:
            return False

    @contextlib.asynccontextmanager
    async def view(
        self, filename: str, subfolder: str, kind: str, *, seconds: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """`GET /view`: stream a file the server made.

        Raises:
            AnswerError: with status 404 if the file is gone.
        """
        params = {"filename": filename, "subfolder": subfolder, "type": kind}
        async with self._request("GET", "/view", params=params, seconds=seconds) as response:
            if response.status != 200:
                raise self._error_answer(response, "/view", "")
            yield response

    @contextlib.asynccontextmanager
    async def socket(
        self, client_id: str, *, previews: bool = False
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open the WebSocket; previews are asked for only if wanted.

        Raises:
            RefusedError: nothing listens there.
            SilentError: no answer to the handshake.
            AnswerError: an answer that is no WebSocket.
        """
        url = f"{self.address.url}/ws?clientId={quote(client_id, safe='')}"
        try:
            async with asyncio.timeout(self.call_seconds):
                socket = await self._session.ws_connect(
                    url, max_msg_size=MAX_FRAME_BYTES, auth=self._auth, autoclose=True
                )
                if previews:
                    await socket.send_json({"type": "feature_flags", "data": FEATURES})
        except aiohttp.WSServerHandshakeError as error:
            raise AnswerError(
                f"{self.name}: no WebSocket at /ws (HTTP {error.status})", error.status
            ) from None
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise self._no_answer("/ws", error) from None
        try:
            yield socket
        finally:
            # A frozen server never answers the closing handshake; do not wait for it.
            with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
                await asyncio.wait_for(socket.close(), 1.0)

    # How calls are made -----------------------------------------------------------------

    async def _json(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        seconds: float | None = None,
        accept: tuple[int, ...] = (200,),
        largest: int = MAX_JSON_BYTES,
    ) -> Answer:
        data = None if body is None else json.dumps(body, allow_nan=True).encode()
        async with self._request(method, path, data=data, seconds=seconds) as response:
            return Answer(response.status, await self._read_json(response, path, accept, largest))

    async def _empty(self, path: str, body: Mapping[str, Any]) -> None:
        data = json.dumps(body).encode()
        async with self._request("POST", path, data=data) as response:
            if response.status != 200:
                raise self._error_answer(response, path, "")

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        data: Any = None,
        params: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        limit = self.call_seconds if seconds is None else seconds
        headers = {"Content-Type": "application/json"} if isinstance(data, bytes) else None
        try:
            async with (
                asyncio.timeout(limit),
                self._session.request(
                    method,
                    f"{self.address.url}{path}",
                    data=data,
                    params=params,
                    headers=headers,
                    auth=self._auth,
                    allow_redirects=False,
                ) as response,
            ):
                yield response
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise self._no_answer(path, error) from None

    async def _read_json(
        self,
        response: aiohttp.ClientResponse,
        path: str,
        accept: tuple[int, ...],
        largest: int = MAX_JSON_BYTES,
    ) -> Any:
        raw = bytearray()
        async for chunk in response.content.iter_any():
            raw += chunk
            if len(raw) > largest:
                raise self._too_large(path, response.status, largest)
        if response.status not in accept:
            raise self._error_answer(response, path, raw[:2_000].decode(errors="replace"))
        try:
            # A large answer is read beside the event loop, which has sockets to listen to.
            read = partial(_loads, bytes(raw))
            return await asyncio.to_thread(read) if len(raw) > 2**20 else read()
        except _TooManyPartsError:
            raise self._too_large(path, response.status, largest) from None
        except (ValueError, RecursionError):
            if "html" in response.content_type:
                raise self._not_comfyui(path, response.status, "an HTML page") from None
            raise self._not_comfyui(path, response.status, "something that is not JSON") from None

    def _too_large(self, path: str, status: int, largest: int) -> AnswerError:
        size = f"more than {largest // 2**20} MiB"
        if largest < MAX_JSON_BYTES:
            return self._not_comfyui(path, status, size)
        return AnswerError(
            f"{self.name} answered {path} with {size}, or with too many parts", status
        )

    def _no_answer(self, path: str, error: BaseException) -> ServerCallError:
        if isinstance(error, TimeoutError):
            return SilentError(f"{self.name} did not answer {path} in time")
        if isinstance(error, aiohttp.ClientConnectorError):
            reason = clip(str(error.os_error.strerror or error.os_error), 200)
            refused = isinstance(error.os_error, ConnectionRefusedError) or (
                error.os_error.errno == errno.ECONNREFUSED
            )
            kind = RefusedError if refused else NoRouteError
            return kind(f"{self.name} cannot be reached: {reason}")
        if isinstance(error, aiohttp.InvalidURL):
            return NoRouteError(f"{self.name} is no usable address")
        if isinstance(error, aiohttp.ClientResponseError):
            return self._not_comfyui(path, error.status, "something that is not HTTP")
        return SilentError(f"{self.name} broke off the connection at {path}")

    def _error_answer(self, response: aiohttp.ClientResponse, path: str, text: str) -> AnswerError:
        status = response.status
        if status < 400 or (status in (401, 403, 404, 405) and path != "/view"):
            what = f"HTTP {status}"
            if status in (401, 403):
                what += " (it wants a login)"
            if 300 <= status < 400:
                what += f" to {clip(response.headers.get('Location', '?'), 100)}"
            return self._not_comfyui(path, status, what)
        page = "html" in response.content_type or text.lstrip().startswith("<")
        first = "" if page else clip(" ".join(text.split()), 200)
        return AnswerError(
            f"{self.name} answered {path} with HTTP {status}" + (f": {first}" if first else ""),
            status,
            _retry_after(response.headers.get("Retry-After")),
        )

    def _not_comfyui(self, path: str, status: int, what: str) -> NotComfyUIAnswerError:
        return NotComfyUIAnswerError(
            f"{self.name} does not look like ComfyUI: it answered {path} with {what}", status
        )


class _TooManyPartsError(Exception):
    """The answer would take too much memory once parsed."""


def _loads(raw: bytes) -> Any:
    if len(raw) > 2**20 and sum(map(raw.count, (b",", b"{", b"["))) > MAX_SEPARATORS:
        raise _TooManyPartsError
    return json.loads(raw.decode(errors="replace"))


def _retry_after(header: str | None) -> float | None:
    try:
        seconds = float(header) if header else None
    except ValueError:
        return None
    if seconds is None or math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), 3600.0)
