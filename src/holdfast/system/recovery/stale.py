"""An old result instead of none: offered with its age, never passed off as new."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any

from holdfast.error_info import ErrorInfo
from holdfast.policies import checks
from holdfast.policies.cache_key import key_of
from holdfast.ports import ambient
from holdfast.system.recovery.asking import Asking, settle
from holdfast.system.recovery.context import RecoveryContext
from holdfast.system.recovery.probing import required
from holdfast.system.recovery.strategy import Strategy


@dataclass(frozen=True, slots=True)
class Stale:
    """A result from before."""

    value: Any
    age: float
    """Seconds since it was new."""


Lookup = Callable[[RecoveryContext], Awaitable[Stale | None] | Stale | None]


class LastResults:
    """The last good result of each call, for `ServeStale`. Bounded; safe across threads."""

    def __init__(
        self, max_entries: int = 1_024, *, key: Callable[..., Hashable] | None = None
    ) -> None:
        """Start empty.

        Args:
            max_entries: results kept; the one unused for longest goes first.
            key: given the call's arguments, what tells calls apart; None: the function, its
                arguments and their types.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        checks.whole("max_entries", max_entries, at_least=1)
        checks.hook("key", key)
        self._key = key
        self._most = max_entries
        self._kept: OrderedDict[Hashable, tuple[Any, float]] = OrderedDict()
        self._lock = threading.Lock()

    def keep(
        self, value: Any, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Remember what a call returned.

        Raises:
            BadInputError: an argument cannot be hashed.
        """
        key = key_of("last results", self._key, fn, args, kwargs)
        gone: list[object] = []
        with self._lock:
            gone.append(self._kept.pop(key, None))
            self._kept[key] = value, ambient.now()
            if len(self._kept) > self._most:
                gone.append(self._kept.popitem(last=False))
        # Letting go may run code of others, so not under the lock.
        del gone

    def lookup(self, context: RecoveryContext) -> Stale | None:
        """What the failed call returned the last time it succeeded."""
        if context.operation is None:
            return None
        key = key_of("last results", self._key, context.operation, context.args, context.kwargs)
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                return None
            self._kept.move_to_end(key)
        return Stale(kept[0], ambient.now() - kept[1])


class ServeStale(Strategy):
    """Offer an old result in place of the failed call's."""

    name = "serve stale"
    shared = False
    cooldown = 0.0

    def __init__(
        self,
        lookup: Lookup,
        *,
        max_age: float,
        name: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Set where to look.

        Args:
            lookup: given the failed call's context, a `Stale` or None; sync or async.
                `LastResults.lookup` is one.
            max_age: seconds; an older result is not given.
            name: default "serve stale".
            timeout: seconds for looking.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        super().__init__(name=name, timeout=timeout)
        required("lookup", lookup)
        checks.seconds("max_age", max_age)
        self.lookup, self.max_age = lookup, max_age

    def apply(self, error: ErrorInfo, context: RecoveryContext) -> Any:
        """Look, and offer what is young enough."""
        return settle(self._look(error, context))

    def verify(self, error: ErrorInfo, context: RecoveryContext) -> bool:  # noqa: ARG002
        """Whether there is an offer."""
        return context.changes.offer is not None

    def _look(self, error: ErrorInfo, context: RecoveryContext) -> Asking[None]:
        found = yield self.lookup(context)
        if found is None:
            raise LookupError("there is no earlier result")
        if not isinstance(found, Stale):
            raise TypeError(f"lookup must return a Stale or None, got {type(found).__name__}")
        if not 0 <= found.age <= self.max_age:
            raise LookupError(
                f"the earlier result is {found.age:.4g} s old, and at most {self.max_age:.4g} s "
                "is allowed"
            )
        context.offer_result(
            found.value, f"a result {found.age:.3g} s old, in place of {error.error_type}"
        )
