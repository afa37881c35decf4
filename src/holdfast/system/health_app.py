"""Liveness and readiness as an ASGI app, to mount in whatever serves the service.

::

    app.mount("/health", HealthApp(system))     # FastAPI, Starlette; or any ASGI server alone

- ``/live`` says 200 as long as the process can answer at all.
- ``/ready`` says 503 while the system is `unhealthy` or closed, and 200 otherwise.
- ``/`` says how everything is, with the status of ``/ready``.

Anything else is 404, and any method but GET and HEAD 405. Nothing that errors say is told here:
these paths are often open to everybody.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.system.error_handling import ErrorHandlingSystem

Message = MutableMapping[str, Any]


class HealthApp:
    """An ASGI app over a system's health."""

    def __init__(self, system: ErrorHandlingSystem) -> None:
        self._system = system

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Serve a request."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        status, told = self._answer(scope)
        body = json.dumps(told).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": body})

    def _answer(self, scope: MutableMapping[str, Any]) -> tuple[int, dict[str, Any]]:
        root, path = scope.get("root_path", ""), scope["path"]
        if root and path.startswith(root):
            path = path[len(root) :]
        path = path.rstrip("/")
        if path not in ("", "/live", "/ready"):
            return 404, {"error": "there is /live, /ready and /"}
        if scope["method"] not in ("GET", "HEAD"):
            return 405, {"error": "only GET and HEAD"}
        if path == "/live":
            return 200, {"status": "alive"}
        health = self._system.get_system_health()
        ready = health["status"] != "unhealthy" and not self._system.closed
        told: dict[str, Any] = {"status": health["status"], "ready": ready}
        if path == "":
            told |= {
                "degradation_level": str(health["degradation_level"]),
                "error_rate": health["error_rate"],
                "recovery_rate": health["recovery_rate"],
                "circuit_breakers": {
                    name: one["state"] for name, one in health["circuit_breakers"].items()
                },
            }
        return 200 if ready else 503, told


async def _live(
    receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
