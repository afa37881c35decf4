"""Where a request comes from and what it thinks it speaks to: Host, Origin, proxies. Pure.

- A page on the Internet can make its own name lead to this machine (DNS rebinding), and then its
  requests count as its own. It cannot make its browser send another Host, so only names that were
  allowed are answered, besides ``localhost`` and plain addresses, which no DNS can redirect.
- A browser says with every WebSocket and every change which page made it do it. Only our own pages
  and allowed ones may; ComfyUI's own rule, that what another site asks for is refused, holds too.
- What ``X-Forwarded-*`` says is believed only of a proxy that was told to be trusted.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from holdfast.errors import BadInputError

_HOST = re.compile(r"(\[[0-9a-f:.%]{2,64}\]|[a-z0-9._-]{1,253})(?::([0-9]{1,5}))?", re.ASCII)
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MOST_HOPS = 20


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection, as far as it can be believed."""

    address: str
    """An IP address, or a name of the kind of connection where there is none."""
    group: str
    """What limits count by: the address, or the network of an IPv6 one, of which a single customer
    has more addresses than could be counted."""
    scheme: str
    host: str
    """The Host that was asked for, in lower case."""
    trusted: bool
    """Whether a trusted proxy has told this."""
    loopback: bool
    forwarded: bool
    """Whether some proxy, trusted or not, has had it in hands."""


def networks_of(names: Iterable[str]) -> tuple[Network, ...]:
    """Read addresses and networks of trusted proxies.

    Raises:
        BadInputError: one is none.
    """
    found = []
    for name in [names] if isinstance(names, str) else names:
        try:
            found.append(ipaddress.ip_network(name, strict=False))
        except ValueError:
            raise BadInputError(
                f"proxies must be addresses or networks such as 10.0.0.0/8, got {name!r:.100}"
            ) from None
    return tuple(found)


def origins_of(names: Iterable[str]) -> frozenset[str]:
    """Read the origins that may use this gateway from their own pages.

    Raises:
        BadInputError: one is no origin. ``*`` is none: it would let every page in.
    """
    found = set()
    for name in [names] if isinstance(names, str) else names:
        origin = read_origin(name)
        if origin is None:
            raise BadInputError(
                "origins must be like https://app.example.org, without a path and without *, "
                f"got {name!r:.100}"
            )
        found.add(origin)
    return frozenset(found)


def hosts_of(names: Iterable[str]) -> frozenset[str]:
    """Read the names under which this gateway may be asked.

    Raises:
        BadInputError: one is no name of a host.
    """
    found = set()
    for name in [names] if isinstance(names, str) else names:
        read = read_host(name)
        if read is None or read[1] is not None:
            raise BadInputError(
                "hosts must be names such as gateway.example.org, without a port, "
                f"got {name!r:.100}"
            )
        found.add(read[0])
    return frozenset(found)


def read_host(text: str) -> tuple[str, int | None] | None:
    """A host's name in lower case without its last dot, and its port; None if it is none."""
    found = _HOST.fullmatch(text.strip().lower()) if len(text) <= 300 else None
    if found is None or (found[2] and not 0 < int(found[2]) < 65_536):
        return None
    name = found[1].rstrip(".") or found[1]
    return name, int(found[2]) if found[2] else None


def read_origin(text: str) -> str | None:
    """An origin in one spelling, with its port; None if it is none."""
    if len(text) > 300:
        return None
    try:
        parts = urlsplit(text.strip())
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or parts.path not in {"", "/"}:
        return None
    if parts.query or parts.fragment or "@" in parts.netloc:
        return None
    read = read_host(parts.netloc)
    if read is None:
        return None
    return f"{parts.scheme}://{read[0]}:{read[1] or _PORTS[parts.scheme]}"


def host_allowed(host: str, allowed: frozenset[str]) -> bool:
    """Whether to answer under this name."""
    read = read_host(host)
    if read is None:
        return False
    name = read[0]
    return name == "localhost" or name in allowed or _address(name.strip("[]")) is not None


def origin_allowed(origin: str, peer: Peer, allowed: frozenset[str]) -> bool:
    """Whether a page of this origin may make its browser do things here."""
    read = read_origin(origin)
    if read is None:
        return False
    host = read_host(peer.host)
    secure = peer.scheme in {"https", "wss"}
    if host is not None:
        scheme = "https" if secure else "http"
        if read == f"{scheme}://{host[0]}:{host[1] or _PORTS[scheme]}":
            return True
    return read in allowed


def peer_of(
    client: tuple[str, int] | None,
    scheme: str,
    headers: Mapping[bytes, bytes],
    proxies: tuple[Network, ...],
) -> Peer:
    """Find out who is at the other end.

    Args:
        client: address and port of the connection, as ASGI has it.
        scheme: of the connection.
        headers: the last of each name; of several lists of hops the last is the nearest proxy's.
        proxies: whom to believe.
    """
    near = client[0] if client else "unknown"
    told = headers.get(b"x-forwarded-for", b"")
    forwarded = bool(told) or b"forwarded" in headers or b"x-real-ip" in headers
    host = headers.get(b"host", b"").decode("latin-1").strip().lower()
    address, trusted = near, _within(near, proxies)
    if trusted:
        for hop in reversed(told.decode("latin-1").split(",")[-_MOST_HOPS:]):
            read = _address(hop.strip().strip("[]"))
            if read is None:
                break
            address = str(read)
            if not _within(address, proxies):
                break
        said = headers.get(b"x-forwarded-proto", b"").decode("latin-1").strip().lower()
        if said in {"http", "https"}:
            scheme = {"ws": {"http": "ws", "https": "wss"}}.get(scheme, {}).get(said, said)
        host = headers.get(b"x-forwarded-host", b"").decode("latin-1").strip().lower() or host
    parsed = _address(address)
    loopback = parsed is not None and parsed.is_loopback
    return Peer(address, _group(address), scheme, host, trusted, loopback, forwarded)


def _group(address: str) -> str:
    read = _address(address)
    if isinstance(read, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(read), 64), strict=False))
    return address


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        read = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(read, ipaddress.IPv6Address) and read.ipv4_mapped is not None:
        return read.ipv4_mapped
    return read


def _within(address: str, networks: tuple[Network, ...]) -> bool:
    read = _address(address)
    return read is not None and any(read in network for network in networks)
