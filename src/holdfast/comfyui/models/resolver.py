"""Looks up names for downloads, and refuses those that stand for a private address.

The check is made on the very addresses that are then connected to, so a name
that answers differently the second time gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from holdfast.comfyui.models.errors import DownloadRefusedError
from holdfast.comfyui.models.gate import Gate, is_public


class GuardedResolver(AbstractResolver):
    """The system's resolver, with a gate behind it."""

    def __init__(self, gate: Gate, inner: AbstractResolver | None = None) -> None:
        self._gate = gate
        self._inner = inner or aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host.

        Raises:
            DownloadRefusedError: one of them is private, and the host is not trusted.
            OSError: there is no such host.
        """
        found = await self._inner.resolve(host, port, family)
        if not self._gate.trusts(host, port):
            for each in found:
                if not is_public(ipaddress.ip_address(each["host"].partition("%")[0])):
                    raise DownloadRefusedError(
                        f"{host} leads to an address of a private network; name it in "
                        "trusted_hosts if it is yours"
                    )
        return found

    async def close(self) -> None:
        """Let go of the system's resolver."""
        await self._inner.close()


def guarded_session(
    gate: Gate, *, connect_seconds: float, idle_seconds: float
) -> aiohttp.ClientSession:
    """A session for downloads: guarded, without cookies, proxies, or decompression.

    Args:
        gate: what may be asked.
        connect_seconds: for each connection to be made.
        idle_seconds: without a byte, after which a connection counts as broken.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=GuardedResolver(gate), use_dns_cache=False),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=connect_seconds, sock_read=idle_seconds
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "holdfast"},
    )
