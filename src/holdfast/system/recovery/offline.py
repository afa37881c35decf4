"""Offline mode: work that cannot be done now is put on disk, and the caller gets a receipt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from holdfast.error_info import ErrorInfo
from holdfast.policies import checks
from holdfast.system.recovery.context import RecoveryContext
from holdfast.system.recovery.probing import required
from holdfast.system.recovery.spool import Spool
from holdfast.system.recovery.strategy import Strategy


@dataclass(frozen=True, slots=True)
class Spooled:
    """In place of a result: the work is on disk, and will be done when the service is back."""

    id: str
    """The item's, in the spool."""


class SpoolToDisk(Strategy):
    """Put the call's payload into a spool, and offer a receipt as its result."""

    name = "spool to disk"
    shared = False
    cooldown = 0.0

    def __init__(
        self,
        spool: Spool,
        payload: Callable[[RecoveryContext], Any],
        *,
        receipt: Callable[[Spooled], Any] | None = None,
        name: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Set where the work goes, and as what.

        Args:
            spool: replay it when the service is back.
            payload: given the failed call's context, what to keep, as JSON; None if this call
                cannot be put off.
            receipt: makes the call's result of a `Spooled`; None: the `Spooled` itself.
            name: default "spool to disk".
            timeout: seconds for writing.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        super().__init__(name=name, timeout=timeout)
        checks.instance("spool", spool, Spool, optional=False)
        required("payload", payload)
        checks.hook("receipt", receipt)
        self.spool, self.payload, self.receipt = spool, payload, receipt

    def apply(self, error: ErrorInfo, context: RecoveryContext) -> None:
        """Write it, and offer the receipt."""
        payload = self.payload(context)
        if payload is None:
            raise LookupError("this call cannot be put off")
        spooled = Spooled(self.spool.put(payload))
        if context.over:
            # The caller has been told that it failed, so it must not be done later.
            self.spool.remove(spooled.id)
            return
        context.scratch[self] = spooled, payload
        try:
            result = spooled if self.receipt is None else self.receipt(spooled)
        except BaseException:
            self.spool.remove(spooled.id)
            raise
        context.offer_result(
            result, f"put off as {spooled.id} because of {error.error_type}; not done yet"
        )

    def verify(self, error: ErrorInfo, context: RecoveryContext) -> bool:  # noqa: ARG002
        """Whether the item is on disk and holds the payload."""
        spooled, payload = context.scratch.pop(self)
        if self.spool.holds(spooled.id, payload):
            return True
        self.spool.remove(spooled.id)
        return False
