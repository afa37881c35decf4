"""The parts of a system that have names: breakers, fallback chains, retry budgets.

- A name is the same object for as long as anybody holds it.
- At most so many are kept. What goes first is what nobody misses: breakers that are closed, with
  no failure on record, the longest unused first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar
from weakref import WeakValueDictionary

from holdfast.errors import BadInputError, ErrorCategory
from holdfast.pipeline import Pipeline
from holdfast.pipeline.config_parts import same
from holdfast.pipeline.eviction import KeptBreaker, make_room
from holdfast.pipeline.registry import Registry
from holdfast.policies import checks
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.budget import RetryBudget
from holdfast.policies.chain import FallbackChain
from holdfast.ports import ambient
from holdfast.system.causes import Cause
from holdfast.system.chains import NamedChain
from holdfast.system.settings import SystemSettings

Key = tuple[str | None, str | None, bool, bool]
"""Breaker, chain, whether to retry, whether to adjust parameters."""
Ready = dict[str | None, dict[Key, Pipeline]]
"""Pipelines made ready, by the name of their breaker: they are forgotten with it."""
IDLE_SECONDS = 600.0
T = TypeVar("T")


class NamedParts:
    """Breakers, chains and budgets by name."""

    breaker_class: ClassVar[type[CircuitBreaker]] = CircuitBreaker
    chain_class: ClassVar[type[FallbackChain]] = NamedChain
    breaker_defaults: ClassVar[Mapping[str, Any]] = {"exclude": (ErrorCategory.VALIDATION,)}
    """A request that is wrong says nothing about whether the dependency works."""

    circuit_breakers: Mapping[str, CircuitBreaker]
    """Those made by name, by their names."""
    fallback_chains: Mapping[str, FallbackChain]
    """Those made by name, by their names."""

    def __init__(self, settings: SystemSettings, names: Mapping[str, Any] | None = None) -> None:
        self.settings = settings
        self.registry = Registry()
        """Pipelines, budgets and breakers of the configuration, by name."""
        if settings.pipelines:
            self.registry.load(settings.pipelines, names)
        self._ready: Ready = {}
        self._breakers = _Kept(self._ready)
        self._held: WeakValueDictionary[str, CircuitBreaker] = WeakValueDictionary()
        self.circuit_breakers = _Breakers(self._breakers)
        self._chains: OrderedDict[str, FallbackChain] = OrderedDict()
        self.fallback_chains = self._chains
        self._budgets: OrderedDict[str, RetryBudget] = OrderedDict()
        self._causes: OrderedDict[str, Cause] = OrderedDict()
        self._lock = threading.RLock()

    def get_circuit_breaker(
        self, name: str, config: Mapping[str, Any] | None = None
    ) -> CircuitBreaker:
        """The breaker of that name, made with these settings if there is none.

        Raises:
            BadInputError: a setting cannot work, or is not what the breaker was made with.
        """
        checks.label("name", name)
        settings = self._breaker_settings(config)
        with self._lock:
            kept = self._breakers.get(name)
            if kept is not None:
                kept.used_at = ambient.now()
                self._breakers.move_to_end(name)
                _refuse_other_settings(name, settings, kept)
                return kept.breaker
            breaker = self._held.get(name) or self._configured(name, settings)
            if breaker is None:
                chosen = {**self.breaker_defaults, **self.settings.circuit_breaker, **settings}
                breaker = self._make_breaker(name, chosen)
            self._watch(breaker)
            self._held[name] = breaker
            if make_room(self._breakers, self.settings.max_breakers, IDLE_SECONDS):
                self._breakers[name] = KeptBreaker(breaker, settings)
        return breaker

    def get_fallback_chain(self, name: str) -> FallbackChain:
        """The chain of that name; a new one has no targets.

        Raises:
            BadInputError: there are as many chains as there may be.
        """
        checks.label("name", name)
        with self._lock:
            chain = self._chains.get(name)
            if chain is None:
                if len(self._chains) >= self.settings.max_chains:
                    raise BadInputError(
                        f"max_chains ({self.settings.max_chains}) fallback chains exist, "
                        f"and {name!r:.100} would be one more"
                    )
                chain = self._chains[name] = self.chain_class(name)
                self._watch_chain(chain)
        return chain

    def _budget(self, dependency: str) -> RetryBudget | None:
        chosen = self.settings.retry
        if chosen.budget_ratio is None:
            return None
        ratio, floor = chosen.budget_ratio, chosen.budget_floor
        return self._of(
            self._budgets, dependency, lambda: RetryBudget(ratio, floor=floor, name=dependency)
        )

    def _cause(self, dependency: str) -> Cause:
        return self._of(self._causes, dependency, Cause)

    def _of(self, table: OrderedDict[str, T], dependency: str, make: Callable[[], T]) -> T:
        """What a dependency has in a table, made if it is not there; the oldest makes room."""
        with self._lock:
            found = table.get(dependency)
            if found is None:
                found = table[dependency] = make()
                if len(table) > self.settings.max_breakers + self.settings.max_chains:
                    table.popitem(last=False)
        return found

    def _watch_chain(self, chain: FallbackChain) -> None:
        """See to a new chain."""

    def _watch(self, breaker: CircuitBreaker) -> None:
        """See to a new breaker."""

    def _configured(self, name: str, settings: Mapping[str, Any]) -> CircuitBreaker | None:
        found = self.registry.breakers().get(name)
        if found is not None and settings:
            raise BadInputError(f"config must be None for {name!r}: the configuration has it")
        return found

    def _make_breaker(self, name: str, settings: Mapping[str, Any]) -> CircuitBreaker:
        try:
            return self.breaker_class(name, **settings)
        except TypeError as error:
            raise BadInputError(f"config has settings that do not exist: {error}") from None

    def _breaker_settings(self, config: Any) -> dict[str, Any]:
        if config is None:
            return {}
        if not isinstance(config, Mapping):
            raise BadInputError(f"config must be a table of settings or None, got {config!r:.100}")
        return dict(config)

    def _pipelines(self) -> list[Pipeline]:
        with self._lock:
            return [one for ready in self._ready.values() for one in ready.values()]


def _refuse_other_settings(name: str, settings: Mapping[str, Any], kept: KeptBreaker) -> None:
    for key, value in settings.items():
        if key not in kept.settings or not same(kept.settings[key], value):
            raise BadInputError(
                f"{key} must be what the breaker {name!r} was made with "
                f"({kept.settings.get(key, 'the default')!r}), got {value!r:.100}"
            )


class _Kept(OrderedDict[str, KeptBreaker]):
    """The breakers kept; with each that goes, the pipelines through it go."""

    def __init__(self, ready: Ready) -> None:
        super().__init__()
        self._ready = ready

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        self._ready.pop(name, None)


class _Breakers(Mapping[str, CircuitBreaker]):
    """The breakers by name, as they are at each look."""

    def __init__(self, kept: OrderedDict[str, KeptBreaker]) -> None:
        self._kept = kept

    def __getitem__(self, name: str) -> CircuitBreaker:
        return self._kept[name].breaker

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._kept))

    def __len__(self) -> int:
        return len(self._kept)
