"""Which addresses may be fetched from, and which token goes to whom.

Addresses come from lists and workflows of strangers. Without a gate they
could make this machine ask its own network, or a token follow a redirect to
somebody else. A host that the user trusts by name may be private and speak
plain http; nobody else may.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit

from holdfast.comfyui.models.errors import DownloadRefusedError
from holdfast.comfyui.models.sources import shown_url
from holdfast.errors import BadInputError

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Gate:
    """What the user allows."""

    trusted: frozenset[str] = frozenset()
    """``host`` or ``host:port``, in small letters."""
    tokens: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """Bearer tokens by ``host`` or ``host:port``."""

    @classmethod
    def of(cls, trusted: Collection[str], tokens: Mapping[str, str] | None) -> Gate:
        """Check what was given.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        if isinstance(trusted, str):
            raise BadInputError(f"trusted_hosts must be a list of hosts, got {trusted!r:.80}")
        for host in (*trusted, *(tokens or {})):
            if not host or "/" in host or "@" in host:
                raise BadInputError(
                    f"a host must be written like 'mirror.lan' or 'mirror.lan:8000', "
                    f"got {host!r:.80}"
                )
        for host, token in (tokens or {}).items():
            if not token or not token.isprintable():
                raise BadInputError(f"tokens[{host!r}] must be a token, on one line")
        plain = {host.lower(): token for host, token in (tokens or {}).items()}
        return cls(frozenset(host.lower() for host in trusted), MappingProxyType(plain))

    def trusts(self, host: str, port: int | None) -> bool:
        """Whether the user trusts a host by name."""
        return host.lower() in self.trusted or f"{host.lower()}:{port}" in self.trusted

    def check(self, url: str) -> None:
        """Refuse an address that must not be asked.

        Raises:
            DownloadRefusedError: saying why, and what would allow it.
        """
        shown = shown_url(url)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise DownloadRefusedError("an address that cannot be read is not fetched") from None
        if parts.scheme not in ("https", "http") or not host or parts.username or parts.password:
            raise DownloadRefusedError(f"{shown} is no web address that can be fetched")
        if self.trusts(host, port or _PORTS[parts.scheme]):
            return
        if parts.scheme != "https":
            raise DownloadRefusedError(
                f"{shown} is not fetched over plain http; use https, or name {host!r} in "
                "trusted_hosts"
            )
        if is_private(host):
            raise DownloadRefusedError(
                f"{shown} is an address of a private network; name {host!r} in trusted_hosts "
                "if it is yours"
            )

    def headers(self, url: str) -> dict[str, str]:
        """The login for exactly this host, none for any other."""
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
        token = self.tokens.get(f"{host}:{port or _PORTS.get(parts.scheme)}")
        if token is None and port in (None, _PORTS.get(parts.scheme)):
            token = self.tokens.get(host)
        secure = parts.scheme == "https" or self.trusts(host, port or 80)
        return {"Authorization": f"Bearer {token}"} if token and secure else {}


_PORTS = {"https": 443, "http": 80}


def is_private(host: str) -> bool:
    """Whether a host, written as an address or a name known to be local, is not on the net.

    What a name stands for is seen only when it is looked up; `resolver` looks then.
    """
    if host.lower().rstrip(".") == "localhost" or host.lower().rstrip(".").endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0].strip("[]"))
    except ValueError:
        # Names of digits alone are old ways of writing an address, such as 2130706433 or 0x7f.1.
        last = host.rstrip(".").rpartition(".")[2].lower()
        return last.isdigit() or last.startswith("0x")
    return not is_public(address)


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is one of the open net, whatever it is wrapped in."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast
