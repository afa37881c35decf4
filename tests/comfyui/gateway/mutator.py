"""Damages requests, by a seed: what a scanner, a broken client or an attacker sends.

`requests` makes them without end; `send` gives one to an ASGI app without a socket between, so that
also what a server's parser would refuse reaches the app.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
BODIES: tuple[Any, ...] = (
    {"prompt": GRAPH, "client_id": "c", "prompt_id": "p", "number": 1, "extra_data": {}},
    {"delete": ["a", "b"]},
    {"clear": True},
    {"prompt_id": "a"},
    {"unload_models": True, "free_memory": False},
    {"Comfy.Settings": 1},
)
PATHS = (
    *("/prompt", "/queue", "/history", "/history/a", "/interrupt", "/free", "/view", "/ws", "/"),
    *("/object_info", "/object_info/SaveImage", "/system_stats", "/features", "/models/loras"),
    *("/upload/image", "/upload/mask", "/userdata", "/userdata/workflows%2Fa.json", "/settings"),
    *("/settings/Comfy.Locale", "/users", "/jobs", "/jobs/a", "/jobs/a/cancel", "/internal/logs"),
    *("/customnode/install/git_url", "/manager/reboot", "/v2/manager/queue/task", "/embeddings"),
    *("/holdfast/health", "/holdfast/api/jobs", "/holdfast/api/keys", "/assets/index.js"),
)
METHODS = ("GET", "GET", "POST", "POST", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
ODD_METHODS = ("TRACE", "CONNECT", "get", "", "G\0T", "X" * 300)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**63, -(2**63), 10**40, 1e308, -0.0, float("nan"), float("inf")),
    *("", "\0", "\ud800", "é" * 200, "../../etc/passwd", "a" * 5_000, "\u202e", "%00", "' OR 1=1"),
    *(
        [],
        {},
        [[]],
        [None],
        {"": ""},
        {"\0": 1},
        ["a"] * 300,
        "\r\nX: y",
        "http://169.254.169.254/",
    ),
)
PARTS = (
    *("..", ".", "%2e%2e", "%252e%252e", "%2f", "%5c", "\\", "%00", "//", ";a", "%c0%ae", "%ff"),
    *("%e2%80%ae", " ", "%", "%zz", "+", "~1", "C:", "a" * 3_000, "é", "\x7f", "?", "#", "@evil"),
)
QUERIES = (
    *(
        b"",
        b"filename=a.png&type=output",
        b"clientId=a",
        b"token=x",
        b"%74oken=hf_a_b",
        b"max_items=",
    ),
    *(b"max_items=abc", b"filename=..%2f..%2fx", b"a&&=&=b", b"%", b"x=%ff", b"a=" + b"b" * 20_000),
    *(b"filename=%00", b"subfolder=/etc&type=input", b"offset=-1", b"type=../..", b"\xff\xfe"),
)
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"authorization", b"Bearer hf_aaaaaaaaaaaa_" + b"A" * 43),
    (b"authorization", b"Basic !!!"),
    (b"authorization", b"Basic dTpw"),
    (b"authorization", b""),
    (b"authorization", b"\xff\xfe"),
    (b"x-api-key", b"x" * 6_000),
    (b"cookie", b"holdfast_session=1.aaaaaaaaaaaa.99999999999." + b"0" * 64),
    (b"cookie", b"holdfast_session=; ;;=; a=b=c"),
    (b"origin", b"http://evil.example"),
    (b"origin", b"null"),
    (b"origin", b"http://[::"),
    (b"origin", b"\xff"),
    (b"sec-fetch-site", b"cross-site"),
    (b"host", b"evil.example"),
    (b"host", b""),
    (b"host", b"[::1"),
    (b"host", b"a:99999999"),
    (b"host", b"\xff\xff"),
    (b"x-forwarded-for", b"1.2.3.4, , %, ::1"),
    (b"x-forwarded-proto", b"gopher"),
    (b"x-forwarded-host", b"evil.example"),
    (b"forwarded", b"for=_x;by=\xff"),
    (b"content-length", b"-1"),
    (b"content-length", b"9" * 40),
    (b"content-length", b"abc"),
    (b"content-type", b"multipart/form-data; boundary=" + b"-" * 300),
    (b"content-type", b"text/html; charset=nothing"),
    (b"content-encoding", b"gzip"),
    (b"range", b"bytes=-1,-2,9-1"),
    (b"if-none-match", b"\xff"),
    (b"comfy-user", b"../root"),
    (b"idempotency-key", b"\x00" * 3),
    (b"x-big", b"y" * 40_000),
    (b"", b""),
)


@dataclass(frozen=True)
class Sent:
    """A request as an ASGI server hands it on."""

    method: str = "GET"
    raw_path: bytes = b"/"
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    socket: bool = False

    def scope(self) -> dict[str, Any]:
        from urllib.parse import unquote

        names = {name for name, _ in self.headers}
        headers = list(self.headers)
        if b"host" not in names:
            headers.insert(0, (b"host", b"127.0.0.1:8188"))
        scope: dict[str, Any] = {
            "type": "websocket" if self.socket else "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "ws" if self.socket else "http",
            "path": unquote(self.raw_path.decode("latin-1")),
            "raw_path": self.raw_path,
            "root_path": "",
            "query_string": self.query,
            "headers": headers,
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8188),
        }
        if self.socket:
            return scope | {"subprotocols": []}
        return scope | {"method": self.method}


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    """101 for an accepted WebSocket, 403 for one that was closed before."""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: bytes) -> bytes | None:
        return next((value for each, value in self.headers if each.lower() == name), None)


def damaged(chance: random.Random, value: Any, depth: int = 0) -> Any:
    """A JSON value with something wrong somewhere in it."""
    if depth > 6 or chance.random() < 0.15:
        return chance.choice(VALUES)
    if isinstance(value, dict) and value:
        found, key = dict(value), chance.choice(sorted(value))
        kind = chance.random()
        if kind < 0.2:
            del found[key]
        elif kind < 0.35:
            found[chance.choice(["prompt_id", "client_id", "x\0", ""])] = chance.choice(VALUES)
        else:
            found[key] = damaged(chance, found[key], depth + 1)
        return found
    if isinstance(value, list) and value:
        at = chance.randrange(len(value))
        return [*value[:at], damaged(chance, value[at], depth + 1), *value[at + 1 :]]
    return chance.choice(VALUES)


def _body(chance: random.Random) -> bytes:
    kind = chance.random()
    if kind < 0.05:
        return b"[" * 50_000
    if kind < 0.1:
        return chance.randbytes(chance.randrange(300))
    value = chance.choice(BODIES)
    for _ in range(chance.randrange(4)):
        value = damaged(chance, value)
    body = json.dumps(value).encode()
    if chance.random() < 0.15:
        at = chance.randrange(len(body) + 1)
        body = body[:at] + chance.randbytes(chance.randrange(4)) + body[at + chance.randrange(4) :]
    return body


def _path(chance: random.Random) -> bytes:
    path = chance.choice(PATHS)
    if chance.random() < 0.3:
        path = "/api" + path
    for _ in range(chance.choice([0, 0, 1, 1, 2, 3])):
        at = chance.randrange(len(path) + 1)
        path = path[:at] + chance.choice(["/", ""]) + chance.choice(PARTS) + path[at:]
    return path.encode()


def requests(seed: int) -> Iterator[Sent]:
    """Requests without end, the same for the same seed."""
    chance = random.Random(seed)
    while True:
        odd = chance.random() < 0.02
        method = chance.choice(ODD_METHODS if odd else METHODS)
        count = chance.choice([0, 0, 1, 1, 2, 4, 150 if chance.random() < 0.1 else 3])
        yield Sent(
            method,
            _path(chance),
            chance.choice(QUERIES) if chance.random() < 0.5 else b"",
            tuple(chance.choice(HEADERS) for _ in range(count)),
            b"" if method == "GET" else _body(chance),
            chance.random() < 0.1,
        )


async def send(app: Any, sent: Sent, *, seconds: float = 10.0) -> Answer:
    """Give one request to an app. What the app raises is raised; a hang is a `TimeoutError`."""
    found = Answer()
    half = len(sent.body) // 2
    waiting: list[dict[str, Any]] = (
        [{"type": "websocket.connect"}]
        if sent.socket
        else [
            {"type": "http.request", "body": sent.body[:half], "more_body": True},
            {"type": "http.request", "body": sent.body[half:], "more_body": False},
        ]
    )

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop(0)
        if sent.socket:
            return {"type": "websocket.disconnect", "code": 1001}
        return {"type": "http.disconnect"}

    async def answer(message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            found.status, found.headers = 101, list(message.get("headers") or ())
        elif kind == "websocket.close":
            found.status = found.status or 403
        elif kind.endswith("response.start"):
            assert found.status == 0, "two answers to one request"
            found.status, found.headers = message["status"], list(message.get("headers") or ())
        elif kind.endswith("response.body"):
            found.body += message.get("body") or b""

    async with asyncio.timeout(seconds):
        await app(sent.scope(), receive, answer)
    assert found.status, "no answer at all"
    return found
