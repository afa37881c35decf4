"""A WebSocket protocol for uvicorn that can end a connection whose other side does not read.

ASGI has no way to do that: also the message that closes a socket waits until the
other side has read what is before it, which a stalled client never does, and so
its socket, task and buffers stay for ever. Give `HangUpProtocol` to uvicorn as
``ws=``; a socket's scope then has an extension, `HANG_UP`, that closes it now.
"""

from __future__ import annotations

from typing import cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from holdfast.comfyui.gateway.listener import HANG_UP

GRACE_SECONDS = 5.0
"""How long the other side may take to read what was sent, the code of closing last."""


class HangUpProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, and a way out."""

    async def run_asgi(self) -> None:
        """Serve the socket, with the extension in its scope."""
        extensions = cast("dict[str, object]", self.scope["extensions"])
        extensions[HANG_UP] = self.hang_up
        await super().run_asgi()

    def hang_up(self, code: int, reason: str) -> None:
        """Say why, and end the connection, after `GRACE_SECONDS` at the latest."""
        self.stop_keepalive()
        if not self.close_sent and not self.transport.is_closing():
            self.conn.send_close(code, reason)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.loop.call_later(GRACE_SECONDS, self.transport.abort)
