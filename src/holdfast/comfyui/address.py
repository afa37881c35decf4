"""Where a server is: a checked base address, and how it is shown to people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote, urlsplit, urlunsplit

from holdfast.errors import BadInputError


@dataclass(frozen=True, slots=True)
class Address:
    """The base address of a ComfyUI server, without a slash at the end."""

    url: str
    """For requests; without credentials."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what people type: ``gpu1``, ``gpu1:8188``, ``https://host/path``.

        Raises:
            BadInputError: this is no http or https address; the message says what is wrong.
        """
        given = text.strip()
        shown = _without_credentials(given)
        if given.count("[") != given.count("]"):
            raise BadInputError(f"server address {shown!r}: the brackets of its IPv6 do not match")
        if given.lower().startswith(("http:", "https:")) and "://" not in given:
            raise BadInputError(f"server address {shown!r}: two slashes must follow the scheme")
        candidate = given if "://" in given else f"http://{given}"
        try:
            parts = urlsplit(candidate)
            host, port = parts.hostname, parts.port
        except ValueError:
            # The reason is not repeated: it may hold a piece of a password.
            raise BadInputError(
                f"server address {shown!r}: cannot be read; write it like http://127.0.0.1:8188 "
                "(a port is a number up to 65535)"
            ) from None
        if parts.scheme not in ("http", "https"):
            raise BadInputError(
                f"server address {shown!r}: the scheme must be http or https, "
                f"such as http://127.0.0.1:8188"
            )
        if not host or any(each.isspace() for each in given):
            raise BadInputError(
                f"server address {shown!r}: no host in it; write it like http://127.0.0.1:8188"
            )
        if parts.query or parts.fragment:
            raise BadInputError(f"server address {shown!r}: nothing may follow the path")
        name = f"[{host}]" if ":" in host else host
        if port is None and "://" not in given:
            port = 8188  # what people mean who type a bare host name
        netloc = name if port is None else f"{name}:{port}"
        url = urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))
        return cls(url, _unquoted(parts.username), _unquoted(parts.password))

    @property
    def shown(self) -> str:
        """The address as it may appear on a screen or in a log: never with credentials."""
        return self.url

    def __str__(self) -> str:
        return self.url


def _unquoted(part: str | None) -> str | None:
    return None if part is None else unquote(part)


def _without_credentials(text: str) -> str:
    scheme, sep, rest = text.partition("://")
    if not sep:
        scheme, rest = "", text
    head, at, tail = rest.rpartition("@")
    return f"{scheme}{sep}***@{tail}" if at and head else text
