"""TLS as it should be: options checked before anything listens, and nothing older than TLS 1.2."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.errors import BadInputError


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """Where a server's certificate and its key are."""

    certificate: Path
    """PEM: the certificate, then those that lead to its root."""
    key: Path | None = None
    """PEM; None: it is in the certificate's file."""
    password: str | None = field(default=None, repr=False)
    """Of the key, if it has one."""
    client_ca: Path | None = None
    """PEM: who must have signed the clients' certificates; None: clients need none."""

    def context(self) -> ssl.SSLContext:
        """The context of a server.

        Raises:
            BadInputError: naming the option, and what would be right.
        """
        for name, path in (
            ("certificate", self.certificate),
            ("key", self.key),
            ("client_ca", self.client_ca),
        ):
            if path is not None:
                _readable(name, Path(path))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # No renegotiation, no compression: both have cost others their secrets or their time.
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        asked: list[bool] = []
        self._load(context, asked)
        if self.client_ca is not None:
            try:
                context.load_verify_locations(self.client_ca)
            except ssl.SSLError:
                raise BadInputError(
                    f"client_ca must be certificates as PEM, got {str(self.client_ca)!r:.300}"
                ) from None
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def uvicorn(self) -> dict[str, Any]:
        """Settings for `uvicorn.Config`; everything has been checked by then.

        Raises:
            BadInputError: naming the option, and what would be right.
        """
        context = self.context()

        def factory(_config: Any, _default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
            return context

        # It looks at the names of the files to see that TLS is wanted, and then asks the factory.
        return {
            "ssl_certfile": str(self.certificate),
            "ssl_keyfile": None if self.key is None else str(self.key),
            "ssl_context_factory": factory,
        }

    def _load(self, context: ssl.SSLContext, asked: list[bool]) -> None:
        def password() -> str:
            # Or OpenSSL would ask the terminal, and a service would hang.
            asked.append(True)
            return self.password or ""

        try:
            context.load_cert_chain(self.certificate, self.key, password)
        except ssl.SSLError as error:
            if "KEY_VALUES_MISMATCH" in str(error):
                raise BadInputError(
                    f"key must belong to the certificate {self.certificate}, got {self.key}"
                ) from None
            if asked:
                told = "got a wrong one" if self.password else "got none"
                raise BadInputError(f"password must be the one of the key, {told}") from None
            raise BadInputError(
                "certificate and key must be PEM files, the key without which no certificate can "
                f"be used among them, got {str(self.certificate)!r:.300} and "
                f"{str(self.key or self.certificate)!r:.300}"
            ) from None
        except (OSError, ValueError) as error:
            raise BadInputError(f"certificate and key cannot be used: {error}") from None


def tls_options(
    certificate: str | Path | None,
    key: str | Path | None = None,
    password: str | None = None,
    client_ca: str | Path | None = None,
) -> TlsOptions | None:
    """Read the options of a command; None if no TLS is wanted.

    Raises:
        BadInputError: some are given without the certificate that they need.
    """
    if certificate is None:
        for name, value in (("key", key), ("password", password), ("client_ca", client_ca)):
            if value is not None:
                raise BadInputError(f"{name} needs a certificate to matter")
        return None
    return TlsOptions(
        Path(certificate),
        None if key is None else Path(key),
        password,
        None if client_ca is None else Path(client_ca),
    )


def _readable(name: str, path: Path) -> None:
    try:
        with path.open("rb") as stream:
            stream.read(1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInputError(
            f"{name} must be a file that can be read, got {str(path)!r:.300}: {reason}"
        ) from None
