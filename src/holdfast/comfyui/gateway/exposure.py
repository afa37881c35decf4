"""How far a gateway is open: the settings, and the check made before it listens."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from holdfast.comfyui.gateway.limits import Limits
from holdfast.comfyui.gateway.origins import Network, hosts_of, networks_of, origins_of
from holdfast.comfyui.gateway.session import Sessions
from holdfast.errors import BadInputError
from holdfast.policies import checks

_IN_THE_CLEAR = (
    "keys and pictures cross the network in the clear: give a certificate, or let a proxy do TLS "
    "and name it as trusted"
)


@dataclass(frozen=True, slots=True)
class Exposure:
    """Who may reach a gateway, and how."""

    keyless: bool = False
    """Whether whoever is on this machine may do everything without a key. Never beyond it."""
    hosts: frozenset[str] = frozenset()
    """Names under which it answers, besides localhost and plain addresses."""
    origins: frozenset[str] = frozenset()
    """Origins whose pages may use it, besides its own."""
    proxies: tuple[Network, ...] = ()
    """Proxies whose ``X-Forwarded-*`` are believed."""
    limits: Limits = field(default_factory=Limits)
    sessions: Sessions = field(default_factory=Sessions)

    @classmethod
    def read(
        cls,
        *,
        keyless: bool = False,
        hosts: Iterable[str] = (),
        origins: Iterable[str] = (),
        proxies: Iterable[str] = (),
        limits: Limits | None = None,
        sessions: Sessions | None = None,
    ) -> Exposure:
        """Make the settings out of what a person wrote.

        Raises:
            BadInputError: naming the field, its value and what would be right.
        """
        checks.flag("keyless", keyless)
        read = networks_of(proxies)
        if keyless and read:
            raise BadInputError(
                "proxies must not be given without keys: behind a proxy everybody seems to be on "
                "this machine"
            )
        return cls(
            keyless,
            hosts_of(hosts),
            origins_of(origins),
            read,
            limits or Limits(),
            sessions or Sessions(),
        )

    def check(self, bind: str, *, any_key: bool, tls: bool) -> tuple[str, ...]:
        """See that listening there would be safe.

        Args:
            bind: the address to listen on.
            any_key: whether there is a key at all.
            tls: whether connections will be encrypted.

        Returns:
            Warnings, for people.

        Raises:
            BadInputError: it would not be safe; the message says what would.
        """
        near = is_loopback(bind)
        if self.keyless and not near:
            raise BadInputError(
                "host must be 127.0.0.1, ::1 or localhost where no key is asked for, got "
                f"{bind!r:.100}: make a key with `holdfast keys create`, and leave --no-keys out"
            )
        if not self.keyless and not any_key:
            raise BadInputError(
                "keys must be at least one: make it with `holdfast keys create`, or give "
                "--no-keys to "
                "let everybody on this machine, and nobody else, do everything"
            )
        if not near and not tls and not self.proxies:
            return (_IN_THE_CLEAR,)
        return ()


def is_loopback(bind: str) -> bool:
    """Whether only this machine reaches an address; other names than localhost lead anywhere."""
    if bind.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(bind.strip("[]")).is_loopback
    except ValueError:
        return False
