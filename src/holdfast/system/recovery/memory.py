"""Memory: let go of what is not needed, and measure that it has gone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from holdfast.error_info import ErrorInfo
from holdfast.outcome import describe
from holdfast.policies import checks
from holdfast.policies.frames import release
from holdfast.system.recovery.context import RecoveryContext
from holdfast.system.recovery.memory_use import give_back, resident_bytes
from holdfast.system.recovery.probing import required
from holdfast.system.recovery.strategy import Strategy

logger = logging.getLogger("holdfast.recovery")

Clear = Callable[[], object]

LEAST = 16 * 1024 * 1024
"""Bytes: less than this is within what a process's memory moves by itself."""
MOST_CACHES = 1_000


class ReleaseMemory(Strategy):
    """Drop the failure's frames, clear caches, collect garbage, trim the heap, and measure.

    A success is claimed only if memory in use went down by enough.
    """

    name = "release memory"

    def __init__(
        self,
        caches: Iterable[Clear] = (),
        *,
        measure: Callable[[], float | None] | None = None,
        at_least: float = LEAST,
        fraction: float | None = None,
        name: str | None = None,
        timeout: float | None = None,
        cooldown: float | None = None,
    ) -> None:
        """Set what to clear and what counts as enough.

        Args:
            caches: functions that each clear something; `add` takes more.
            measure: bytes in use now (of main memory, of a graphics card), or None if that
                cannot be told; default: the process's resident memory.
            at_least: bytes that must have gone.
            fraction: enough is also this share of what was in use before, between 0 and 1.
            name: default "release memory".
            timeout: seconds for clearing everything.
            cooldown: seconds between runs.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        super().__init__(name=name, timeout=timeout, cooldown=cooldown)
        checks.hook("measure", measure)
        checks.number("at_least", at_least, above=0, unit="bytes")
        if fraction is not None:
            checks.number("fraction", fraction, above=0, at_most=1)
        self.measure = measure or resident_bytes
        self.at_least, self.fraction = at_least, fraction
        self._lock = threading.Lock()
        self._caches: list[Clear] = []
        for clear in caches:
            self.add(clear)

    def add(self, clear: Clear) -> None:
        """Clear one more thing; a sync function.

        Raises:
            BadInputError: it cannot be called, or there are too many.
        """
        required("caches", clear)
        with self._lock:
            checks.number("number of caches", len(self._caches) + 1, at_most=MOST_CACHES)
            self._caches.append(clear)

    def remove(self, clear: Clear) -> None:
        """Clear it no more."""
        with self._lock:
            self._caches = [known for known in self._caches if known != clear]

    def apply(self, error: ErrorInfo, context: RecoveryContext) -> None:  # noqa: ARG002
        """Measure, let go, measure again."""
        with self._lock:
            caches = list(self._caches)
        before = self.measure()
        # The frames of what failed hold its buffers.
        if context.exception is not None:
            release(context.exception)
        failed = 0
        for clear in caches:
            if context.over:
                return
            try:
                clear()
            except Exception as raised:  # noqa: BLE001  # one cache must not keep the others
                failed += 1
                told = describe(raised)
                logger.warning("%s: %r was not cleared: %s", self.name, clear, told)
                context.note(f"a cache was not cleared: {told}")
        garbage, trimmed = give_back()
        after = self.measure()
        context.scratch[self] = before, after
        context.note(
            f"cleared {len(caches) - failed} of {len(caches)} caches, {garbage} unreachable objects"
            f"{', trimmed the heap' if trimmed else ''}; {_told(before, after)}"
        )

    def verify(self, error: ErrorInfo, context: RecoveryContext) -> bool:  # noqa: ARG002
        """Whether enough has gone."""
        before, after = context.scratch.pop(self)
        if before is None or after is None:
            return False  # nobody can tell, so nothing is claimed
        gone = before - after
        enough = self.at_least
        if self.fraction is not None:
            enough = min(enough, self.fraction * before)
        return bool(gone >= enough)


def _told(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return "what that released cannot be measured here"
    return f"in use: {before / 1e6:.1f} MB before, {after / 1e6:.1f} MB after"
