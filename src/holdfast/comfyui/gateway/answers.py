"""What the gateway answers where it lets nobody in, and the headers that every answer gets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from holdfast.comfyui.gateway.limits import Refusal, whole_seconds
from holdfast.integrations.asgi import Receive, Send

_TYPES = {
    400: "bad_request",
    401: "not_authorized",
    403: "forbidden",
    405: "method_not_allowed",
    413: "too_large",
    414: "too_large",
    421: "wrong_host",
    429: "too_many_requests",
    431: "too_large",
    503: "unavailable",
}
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_HSTS = (b"strict-transport-security", b"max-age=31536000")
_FILES = (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; sandbox")
"""For files that users made: an SVG or a page among them runs nothing."""


def refusal_body(refusal: Refusal) -> bytes:
    """A refusal in the shape that ComfyUI's clients know."""
    error = {
        "type": _TYPES.get(refusal.status, "refused"),
        "message": refusal.reason,
        "details": "",
        "extra_info": {},
    }
    return json.dumps({"error": error, "node_errors": {}}).encode()


def security_headers(
    path: str, *, secure: bool, origin: str, shared: bool
) -> list[tuple[bytes, bytes]]:
    """Headers for an answer.

    Args:
        path: the decoded path.
        secure: whether the client speaks TLS.
        origin: an allowed foreign origin that asks, or nothing.
        shared: whether other sites may embed this answer: it was asked for with a key of its own.
    """
    found = list(_ALWAYS)
    near = b"cross-origin" if origin or shared else b"same-origin"
    found.append((b"cross-origin-resource-policy", near))
    if secure:
        found.append(_HSTS)
    if path.removeprefix("/api").startswith(
        ("/view", "/userdata", "/assets/")
    ) and not path.endswith((".js", ".css", ".html")):
        found.append(_FILES)
    if origin:
        found.append((b"access-control-allow-origin", origin.encode()))
        found.append((b"access-control-expose-headers", b"Retry-After, Content-Disposition, ETag"))
    found.append((b"vary", b"Origin"))
    return found


def preflight_headers(origin: str) -> list[tuple[bytes, bytes]]:
    """What an allowed foreign page is told it may send."""
    return [
        (b"access-control-allow-origin", origin.encode()),
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
        (
            b"access-control-allow-headers",
            b"Authorization, X-API-Key, Content-Type, Comfy-User, Idempotency-Key",
        ),
        (b"access-control-max-age", b"600"),
        (b"vary", b"Origin"),
    ]


async def refuse(
    scope: Mapping[str, Any],
    receive: Receive,
    send: Send,
    refusal: Refusal,
    headers: list[tuple[bytes, bytes]],
) -> None:
    """Answer a request that goes no further."""
    body = b"" if scope.get("method") == "HEAD" or refusal.status == 204 else refusal_body(refusal)
    if body:
        headers = [(b"content-type", b"application/json"), *headers]
    headers = [(b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store"), *headers]
    if refusal.retry_after is not None:
        headers.append((b"retry-after", b"%d" % whole_seconds(refusal.retry_after)))
    kind = "http"
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.reason[:100]})
            return
        kind = "websocket.http"
    await send({"type": f"{kind}.response.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{kind}.response.body", "body": body})
