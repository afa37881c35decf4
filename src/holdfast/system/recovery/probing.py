"""Network strategies that ask the service itself: reconnect and probe, or wait until it is well.

A probe answers True if the service is well. Anything else, an exception included, means no.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any

from holdfast.error_info import ErrorInfo
from holdfast.errors import BadInputError
from holdfast.outcome import describe
from holdfast.policies import checks
from holdfast.ports import ambient
from holdfast.system.recovery.asking import Asking, Pause, settle
from holdfast.system.recovery.context import RecoveryContext
from holdfast.system.recovery.strategy import Strategy

Probe = Callable[[], bool | Awaitable[bool]]

MARGIN = 5.0
"""Seconds that the last probe may take after the limit for waiting."""


def required(field: str, value: Any) -> None:
    """Refuse what cannot be called.

    Raises:
        BadInputError: naming the field and the value.
    """
    if not callable(value):
        raise BadInputError(f"{field} must be a function, got {value!r:.100}")


class ReconnectWithProbe(Strategy):
    """Connect anew, then probe. Twenty failures at once make one connection."""

    name = "reconnect"

    def __init__(
        self,
        connect: Callable[[], Any],
        probe: Probe,
        *,
        name: str | None = None,
        timeout: float | None = None,
        cooldown: float | None = None,
    ) -> None:
        """Set both functions, each sync or async.

        Args:
            connect: makes the connection anew and puts it where the calls find it.
            probe: answers True if the new connection works.
            name: default "reconnect".
            timeout: seconds for each of the two.
            cooldown: seconds between runs.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        super().__init__(name=name, timeout=timeout, cooldown=cooldown)
        required("connect", connect)
        required("probe", probe)
        self.connect, self.probe = connect, probe

    def apply(self, error: ErrorInfo, context: RecoveryContext) -> Any:  # noqa: ARG002
        """Connect."""
        return self.connect()

    def verify(self, error: ErrorInfo, context: RecoveryContext) -> bool | Awaitable[bool]:  # noqa: ARG002
        """Probe."""
        return self.probe()


class ProbeUntilHealthy(Strategy):
    """Change nothing; wait until the service answers again, all callers together."""

    name = "wait until healthy"

    def __init__(
        self,
        probe: Probe,
        *,
        interval: float = 1.0,
        limit: float = 30.0,
        name: str | None = None,
        cooldown: float | None = None,
    ) -> None:
        """Set what to ask and how often.

        Args:
            probe: answers True if the service is well; sync or async.
            interval: seconds between two probes.
            limit: seconds after which it is given up.
            name: default "wait until healthy".
            cooldown: seconds between runs.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        checks.seconds("interval", interval)
        checks.seconds("limit", limit)
        super().__init__(name=name, timeout=limit + MARGIN, cooldown=cooldown)
        required("probe", probe)
        self.probe, self.interval, self.limit = probe, interval, limit

    def apply(self, error: ErrorInfo, context: RecoveryContext) -> Any:  # noqa: ARG002
        """Probe until the answer is True or the time is up."""
        return settle(self._wait(context))

    def verify(self, error: ErrorInfo, context: RecoveryContext) -> bool | Awaitable[bool]:  # noqa: ARG002
        """Probe once more: well a moment ago is not well now."""
        return self.probe()

    def _wait(self, context: RecoveryContext) -> Asking[None]:
        began = ambient.now()
        last = "no answer"
        while not context.over:
            try:
                answer = yield self.probe()
            except Exception as error:  # noqa: BLE001  # a service that is down answers so
                last = describe(error)
            else:
                if answer is True:
                    waited = ambient.now() - began
                    context.note(f"well again after {waited:.3g} s")
                    return
                last = f"the probe answered {answer!r:.100}"
            left = began + self.limit - ambient.now()
            if left <= 0:
                break
            yield Pause(min(self.interval, left))
        raise TimeoutError(f"not well after {ambient.now() - began:.3g} s: {last}")


class WaitForPort(ProbeUntilHealthy):
    """Wait until somebody accepts TCP connections at an address."""

    name = "wait for port"

    def __init__(
        self,
        host: str,
        port: int,
        *,
        interval: float = 1.0,
        limit: float = 30.0,
        name: str | None = None,
        cooldown: float | None = None,
    ) -> None:
        """Set the address; the rest is as in `ProbeUntilHealthy`.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        checks.label("host", host)
        checks.number("port", port, at_least=1, at_most=65_535)
        self.host, self.port = host, port
        super().__init__(
            self._accepts, interval=interval, limit=limit, name=name, cooldown=cooldown
        )

    def _accepts(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=MARGIN):
                return True
        except OSError:
            return False
