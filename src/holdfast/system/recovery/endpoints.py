"""Several endpoints of one service: which is used now, and which to use when it fails."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any

from holdfast.error_info import ErrorInfo
from holdfast.errors import BadInputError
from holdfast.outcome import describe
from holdfast.policies import checks
from holdfast.ports import ambient
from holdfast.system.recovery.arguments import MISSING, value_of, with_value
from holdfast.system.recovery.asking import Asking, settle
from holdfast.system.recovery.context import RecoveryContext
from holdfast.system.recovery.probing import required
from holdfast.system.recovery.strategy import Strategy

Endpoint = Hashable


class EndpointPool:
    """Endpoints in order of preference, one of them current. Safe across threads.

    One that failed is *ejected*: passed over for ``eject`` seconds. If all are, the one whose
    ejection ends first is used, because nothing would be worse.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        probe: Callable[[Any], bool | Awaitable[bool]],
        *,
        eject: float = 30.0,
    ) -> None:
        """Start with the first endpoint.

        Args:
            endpoints: at least one, each once.
            probe: given an endpoint, answers True if it is well; sync or async.
            eject: seconds for which a failed one is passed over.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        self.endpoints = tuple(endpoints)
        if isinstance(endpoints, str) or not self.endpoints:
            raise BadInputError(f"endpoints must be a list of at least one, got {endpoints!r:.100}")
        if len(set(self.endpoints)) < len(self.endpoints):
            raise BadInputError(f"endpoints must be different ones, got {endpoints!r:.100}")
        required("probe", probe)
        checks.seconds("eject", eject)
        self.probe, self.eject_seconds = probe, eject
        self._current = self.endpoints[0]
        self._ejected: dict[Endpoint, float] = {}
        self._lock = threading.Lock()

    @property
    def current(self) -> Any:
        """The endpoint to use."""
        with self._lock:
            return self._current

    def use(self, endpoint: Endpoint) -> None:
        """Make an endpoint the current one.

        Raises:
            BadInputError: it is not one of the pool.
        """
        self._check(endpoint)
        with self._lock:
            self._current = endpoint

    def eject(self, endpoint: Endpoint) -> None:
        """Pass an endpoint over for a while.

        Raises:
            BadInputError: it is not one of the pool.
        """
        self._check(endpoint)
        with self._lock:
            self._ejected[endpoint] = ambient.now() + self.eject_seconds

    def pardon(self, endpoint: Endpoint) -> None:
        """Take an ejection back."""
        with self._lock:
            self._ejected.pop(endpoint, None)

    def candidates(self) -> list[Any]:
        """All but the current one, in the order in which to try them, those ejected last."""
        now = ambient.now()
        with self._lock:
            at = self.endpoints.index(self._current)
            others = [*self.endpoints[at + 1 :], *self.endpoints[:at]]
            until = {e: self._ejected.get(e, now) for e in others}
            return sorted(others, key=lambda e: max(now, until[e]))

    def rotate(self) -> Any:
        """Eject the current endpoint and use the next; it stays if it is the only one."""
        candidates = self.candidates()
        if not candidates:
            return self.current
        self.eject(self.current)
        self.use(candidates[0])
        return candidates[0]

    def snapshot(self) -> dict[str, Any]:
        """The current endpoint, and for how many seconds others are passed over."""
        now = ambient.now()
        with self._lock:
            return {
                "current": self._current,
                "endpoints": list(self.endpoints),
                "ejected": {e: until - now for e, until in self._ejected.items() if until > now},
            }

    def _check(self, endpoint: Endpoint) -> None:
        if endpoint not in self.endpoints:
            raise BadInputError(
                f"endpoint must be one of {list(self.endpoints)!r:.200}, got {endpoint!r:.100}"
            )


class NextEndpoint(Strategy):
    """Move to the next endpoint that answers, and verify that it still does."""

    name = "next endpoint"

    def __init__(
        self,
        pool: EndpointPool,
        *,
        argument: str | None = None,
        name: str | None = None,
        timeout: float | None = None,
        cooldown: float | None = None,
    ) -> None:
        """Set the pool.

        Args:
            pool: whose `current` the calls use.
            argument: the call's argument that holds the endpoint, if it has one: it gets the new
                one in the retry.
            name: default "next endpoint".
            timeout: seconds for all probes of a run together.
            cooldown: seconds between runs.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        super().__init__(name=name, timeout=timeout, cooldown=cooldown)
        checks.instance("pool", pool, EndpointPool, optional=False)
        if argument is not None:
            checks.label("argument", argument)
        self.pool, self.argument = pool, argument

    def applies(self, error: ErrorInfo, context: RecoveryContext) -> bool:  # noqa: ARG002
        """Whether there is another endpoint."""
        return len(self.pool.endpoints) > 1

    def apply(self, error: ErrorInfo, context: RecoveryContext) -> Any:  # noqa: ARG002
        """Probe the others in turn, and use the first that answers."""
        return settle(self._search(context))

    def verify(self, error: ErrorInfo, context: RecoveryContext) -> bool | Awaitable[bool]:  # noqa: ARG002
        """Probe the one that is current now."""
        return self.pool.probe(self.pool.current)

    def adjust(self, error: ErrorInfo, context: RecoveryContext) -> None:  # noqa: ARG002
        """Give the retry the new endpoint."""
        if self.argument is not None and value_of(context, self.argument) is not MISSING:
            context.use_arguments(*with_value(context, self.argument, self.pool.current))

    def _search(self, context: RecoveryContext) -> Asking[None]:
        pool, failed = self.pool, self.pool.current
        if self.argument is not None:
            used = value_of(context, self.argument)
            if used in pool.endpoints and used != failed:
                # Somebody has moved on since this call began; whether rightly, verify will tell.
                context.note(f"{used!r} is not in use any more; {failed!r} is")
                return
        reasons = []
        for endpoint in pool.candidates():
            try:
                answer = yield pool.probe(endpoint)
            except Exception as error:  # noqa: BLE001  # one that is down answers so
                answer, told = False, describe(error)
            else:
                told = f"the probe answered {answer!r:.100}"
            if context.over:
                return
            if answer is True:
                pool.eject(failed)
                pool.pardon(endpoint)
                pool.use(endpoint)
                context.note(f"moved from {failed!r} to {endpoint!r}")
                return
            pool.eject(endpoint)
            reasons.append(f"{endpoint!r}: {told}")
        raise ConnectionError(f"no other endpoint is well: {'; '.join(reasons)}"[:1_000])
