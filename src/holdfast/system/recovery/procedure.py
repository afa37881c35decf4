"""Strategies for each category of error, tried in order until one has a verified effect.

::

    procedure = RecoveryProcedure()
    procedure.register(ErrorCategory.NETWORK, ReconnectWithProbe(connect=..., probe=...))
    if await procedure.attempt_recovery(error):
        ...  # a retry makes sense

With nothing registered that applies, nothing is recovered, and it says so.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from holdfast.error_info import ErrorInfo
from holdfast.errors import BadInputError, ErrorCategory
from holdfast.pipeline.workers import abandoned
from holdfast.policies import checks
from holdfast.ports import ambient
from holdfast.system.recovery import drive
from holdfast.system.recovery.account import Ledger
from holdfast.system.recovery.context import RecoveryContext
from holdfast.system.recovery.flight import Flights
from holdfast.system.recovery.plan import Desk, Plan, recovery
from holdfast.system.recovery.private_loop import LoopFactory
from holdfast.system.recovery.result import INTERRUPTED, RecoveryResult
from holdfast.system.recovery.strategy import StrategyLike, check_strategy

MOST_STRATEGIES = 200
"""Strategies of one category."""


@dataclass(frozen=True, slots=True)
class RecoverySettings:
    """How a `RecoveryProcedure` works."""

    name: str = "recovery"
    """In events."""
    max_history: int = 1_000
    """Recoveries remembered."""
    max_keys: int = 1_000
    """Pairs of dependency and strategy whose cool-down is remembered."""
    loop_factory: LoopFactory | None = None
    """Makes the event loop in which async strategies run for sync callers; None: asyncio's own."""

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        checks.label("name", self.name)
        checks.whole("max_history", self.max_history, at_least=1)
        checks.whole("max_keys", self.max_keys, at_least=1)
        checks.hook("loop_factory", self.loop_factory)


class RecoveryProcedure:
    """Mends what can be mended, once for all who need it. Safe across threads and event loops."""

    def __init__(self, settings: RecoverySettings | None = None) -> None:
        """Start with no strategy.

        Args:
            settings: default: `RecoverySettings()`.

        Raises:
            BadInputError: the settings are something else.
        """
        checks.instance("settings", settings, RecoverySettings)
        self.settings = settings or RecoverySettings()
        self._table: dict[ErrorCategory | None, tuple[StrategyLike, ...]] = {}
        self._ledger = Ledger(self.settings.max_history)
        self._flights = Flights(self.settings.max_keys)
        self._desk = Desk(self.settings.name, self._flights, self._ledger)
        self._lock = threading.Lock()

    # -- strategies ------------------------------------------------------------------------

    def register(
        self, category: ErrorCategory | str | None, strategy: StrategyLike, *, first: bool = False
    ) -> None:
        """Try a strategy on errors of a category.

        Args:
            category: None: on errors of every category, after the category's own strategies.
            strategy: see `Strategy`.
            first: before those already there instead of after them.

        Raises:
            BadInputError: it is no strategy, another one of the category has its name, or there
                are too many.
        """
        place = _category(category)
        check_strategy(strategy)
        with self._lock:
            reach = list(ErrorCategory) if place is None else [place]
            for each in reach:
                there = self._chosen(each)
                if any(other.name == strategy.name for other in there):
                    raise BadInputError(
                        f"name must be unique among the strategies of a category, and "
                        f"{each.value} has {strategy.name!r} already"
                    )
                if len(there) >= MOST_STRATEGIES:
                    raise BadInputError(
                        f"a category can have {MOST_STRATEGIES} strategies, and {each.value} "
                        f"has no room for {strategy.name!r}"
                    )
            old = self._table.get(place, ())
            self._table[place] = (strategy, *old) if first else (*old, strategy)

    def unregister(
        self, category: ErrorCategory | str | None, strategy: StrategyLike | str
    ) -> bool:
        """Try a strategy, given itself or by name, no more; False if it was not there."""
        place = _category(category)
        with self._lock:
            old = self._table.get(place, ())
            kept = tuple(s for s in old if s is not strategy and s.name != strategy)
            self._table[place] = kept
            return len(kept) < len(old)

    def strategies(self, category: ErrorCategory | str) -> tuple[StrategyLike, ...]:
        """The strategies for a category in the order in which they are tried."""
        place = _category(category)
        with self._lock:
            return self._table.get(None, ()) if place is None else self._chosen(place)

    # -- recovery --------------------------------------------------------------------------

    async def recover(
        self, error: ErrorInfo, context: RecoveryContext | None = None
    ) -> RecoveryResult:
        """Try to mend what caused an error.

        Args:
            error: classified.
            context: the failed call; without it, strategies know the dependency at most.

        Returns:
            Whether a retry makes sense, what to change in it, and what was tried.
        """
        known = self._known(error, context)
        with self._watched(error, known):
            result = await drive.perform(self._plan(error, known))
        return self._told(error, known, result)

    def recover_sync(
        self, error: ErrorInfo, context: RecoveryContext | None = None
    ) -> RecoveryResult:
        """`recover` for code without an event loop; blocks the calling thread."""
        known = self._known(error, context)
        with self._watched(error, known):
            plan = self._plan(error, known)
            result = drive.perform_sync(plan, self.settings.loop_factory)
        return self._told(error, known, result)

    async def attempt_recovery(
        self, error: ErrorInfo, context: RecoveryContext | None = None
    ) -> bool:
        """Whether a strategy has had a verified effect, so that a retry makes sense."""
        return (await self.recover(error, context)).success

    def attempt_recovery_sync(
        self, error: ErrorInfo, context: RecoveryContext | None = None
    ) -> bool:
        """`attempt_recovery` for code without an event loop; blocks the calling thread."""
        return self.recover_sync(error, context).success

    # -- what has happened -----------------------------------------------------------------

    def get_recovery_history(self) -> list[dict[str, Any]]:
        """The last recoveries as plain data, oldest first."""
        return self._ledger.history()

    def rates(self) -> dict[str, dict[str, Any]]:
        """For each strategy by name, how often it ran, how often it helped, and the share of that.

        The rate is None where it never ran. A run shared by twenty calls is one run, shared 19
        times.
        """
        return self._ledger.rates()

    def snapshot(self) -> dict[str, Any]:
        """Strategies by category, totals, runs under way, and threads left behind."""
        with self._lock:
            table = {
                "any" if place is None else place.value: [s.name for s in strategies]
                for place, strategies in self._table.items()
                if strategies
            }
        return {
            "name": self.settings.name,
            "strategies": table,
            **self._ledger.totals(),
            **self._flights.counts(),
            "abandoned": abandoned.count,
        }

    # -- within ----------------------------------------------------------------------------

    def _chosen(self, category: ErrorCategory) -> tuple[StrategyLike, ...]:
        return (*self._table.get(category, ()), *self._table.get(None, ()))

    def _known(self, error: ErrorInfo, context: RecoveryContext | None) -> RecoveryContext:
        if not isinstance(error, ErrorInfo):
            raise BadInputError(f"error must be an ErrorInfo, got {error!r:.100}")
        checks.instance("context", context, RecoveryContext)
        known = context or RecoveryContext(error.dependency[:200])
        if not known.dependency:
            known.dependency = error.dependency[:200]
        return known

    def _plan(self, error: ErrorInfo, context: RecoveryContext) -> Plan:
        chosen = self.strategies(error.category)
        return recovery(self._desk, chosen, error, context)

    @contextmanager
    def _watched(self, error: ErrorInfo, context: RecoveryContext) -> Iterator[None]:
        """Remember a recovery that is ended from outside, too."""
        began = ambient.now()
        try:
            yield
        except BaseException:
            seconds = ambient.now() - began
            ended = RecoveryResult(success=False, tried=(INTERRUPTED,), seconds=seconds)
            self._ledger.record(error, context.dependency, ended)
            raise

    def _told(
        self, error: ErrorInfo, context: RecoveryContext, result: RecoveryResult
    ) -> RecoveryResult:
        context.changes = result.changes
        for note in result.notes:
            context.note(note)
        ran = [one.strategy for one in result.tried if one.ran]
        error.recovery_attempted = error.recovery_attempted or bool(ran)
        error.recovery_successful = result.success
        error.strategy = result.strategy or (ran[-1] if ran else error.strategy)
        self._ledger.record(error, context.dependency, result)
        return result

    def __repr__(self) -> str:
        with self._lock:
            count = sum(map(len, self._table.values()))
        return f"RecoveryProcedure({self.settings.name!r}, {count} strategies)"


def _category(category: ErrorCategory | str | None) -> ErrorCategory | None:
    if category is None:
        return None
    try:
        return ErrorCategory(category)
    except ValueError:
        right = ", ".join(each.value for each in ErrorCategory)
        raise BadInputError(f"category must be one of {right}, got {category!r:.100}") from None
