"""Everything an `ErrorHandlingSystem` can be told, in one frozen record, from code or a TOML file.

- A table of the file is a field here; unknown names are refused with the nearest known one.
- Every default is the one of the class that holds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from holdfast.errors import BadInputError
from holdfast.pipeline.config import Source, parse, read
from holdfast.pipeline.config_fields import Names, a_table, at, build, only_known
from holdfast.policies import checks
from holdfast.policies.backoff import Backoff
from holdfast.policies.breaker import CircuitBreaker
from holdfast.system.degradation import DegradationSettings, Thresholds

OF_PIPELINES = ("pipelines", "budgets", "breakers")
"""Tables that a `Registry` reads."""


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """How `execute_with_resilience` repeats; see `holdfast.Retry`."""

    max_attempts: int = 3
    """Calls in total, the first one included."""
    initial: float = 1.0
    """Seconds before the second attempt."""
    maximum: float = 60.0
    """Seconds no wait exceeds."""
    base: float = 2.0
    """Each wait is this many times the last."""
    jitter: float = 0.25
    """Share of each wait that it is moved by, either way."""
    budget_ratio: float | None = 0.2
    """Extra calls per first call, for each dependency; None for no limit."""
    budget_floor: int = 30
    """Extra calls that are always allowed within ten seconds."""

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        checks.whole("max_attempts", self.max_attempts, at_least=1)
        if self.budget_ratio is not None:
            checks.number("budget_ratio", self.budget_ratio, at_least=0, at_most=10)
        checks.whole("budget_floor", self.budget_floor, at_least=0)
        self.backoff()

    def backoff(self) -> Backoff:
        """The waits."""
        return Backoff.exponential(
            initial=self.initial, maximum=self.maximum, base=self.base, jitter=self.jitter
        )


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """Where errors are kept over a restart; see `holdfast.stores.ErrorHistory`."""

    url: str | None = None
    """``sqlite:///errors.db``, a path, or ``postgresql://...``; None keeps nothing."""
    retention_days: float = 14.0
    """Days an error is kept."""
    max_bytes: int = 1 << 30
    """Bytes the history may take up."""
    flush_seconds: float = 0.25
    """Seconds an error waits at most before it is written."""
    restore: int = 1000
    """Errors that are read back into the analytics at the start."""

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        if self.url is not None:
            checks.instance("url", self.url, str, optional=False)
        if self.url == "":
            raise BadInputError("url must be a path or a URL, got an empty text")
        checks.number("retention_days", self.retention_days, above=0, unit="days")
        checks.whole("max_bytes", self.max_bytes, at_least=1 << 20)
        checks.seconds("flush_seconds", self.flush_seconds)
        checks.whole("restore", self.restore, at_least=0)


@dataclass(frozen=True, slots=True)
class AnalyticsSettings:
    """How much is kept in memory; see `holdfast.ErrorAnalytics`."""

    max_history: int = 1000
    """Errors kept one by one."""
    max_groups: int = 1000
    """Kinds of errors that are counted apart."""

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        checks.whole("max_history", self.max_history, at_least=1)
        checks.whole("max_groups", self.max_groups, at_least=1)


def _at_no_cost() -> DegradationSettings:
    """What needs no look at calls that succeed."""
    return DegradationSettings(failures=None)


@dataclass(frozen=True, slots=True)
class SystemSettings:
    """All settings of an `ErrorHandlingSystem`."""

    name: str = "system"
    """In logs and events."""
    total: float | None = None
    """Seconds for one call with all its retries, recoveries and fallbacks; None for no limit."""
    max_breakers: int = 10_000
    """Circuit breakers kept by name; what nobody misses goes first."""
    max_chains: int = 1_000
    """Fallback chains kept by name."""
    recover: bool = True
    """Whether recovery strategies run by themselves."""
    integrations: bool = True
    """Whether installed packages bring their rules, strategies and knobs."""
    degraded_attempts: int = 4
    """Calls with reduced parameters, at most, after a call that allows it has failed."""
    retry: RetrySettings = field(default_factory=RetrySettings)
    circuit_breaker: Mapping[str, Any] = field(default_factory=dict)
    """Settings of every breaker made by name; see `holdfast.CircuitBreaker`."""
    degradation: DegradationSettings = field(default_factory=_at_no_cost)
    analytics: AnalyticsSettings = field(default_factory=AnalyticsSettings)
    history: HistorySettings = field(default_factory=HistorySettings)
    pipelines: Mapping[str, Any] = field(default_factory=dict)
    """What a `Registry` loads: tables ``pipelines``, ``budgets`` and ``breakers``."""

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        checks.label("name", self.name)
        checks.seconds("total", self.total, optional=True)
        checks.whole("max_breakers", self.max_breakers, at_least=1)
        checks.whole("max_chains", self.max_chains, at_least=1)
        checks.whole("degraded_attempts", self.degraded_attempts, at_least=0)
        checks.flag("recover", self.recover)
        checks.flag("integrations", self.integrations)
        for name, kind in _PARTS.items():
            checks.instance(name, getattr(self, name), kind, optional=False)
        a_table("circuit_breaker", self.circuit_breaker)
        a_table("pipelines", self.pipelines)
        self._refuse_retries_without_time()
        if "name" in self.circuit_breaker:
            raise BadInputError("circuit_breaker.name must not be given: each has its own")
        build(
            "circuit_breaker",
            CircuitBreaker,
            {"name": "any"} | dict(self.circuit_breaker),
            "a circuit breaker",
        )

    def _refuse_retries_without_time(self) -> None:
        least = self.retry.backoff().least(1)
        if self.total is not None and self.retry.max_attempts > 1 and self.total <= least:
            raise BadInputError(
                f"total must be above the first wait between attempts ({least:g} s at least), "
                f"or retries can never happen, got {self.total!r}"
            )

    @classmethod
    def of(cls, config: SystemSettings | Mapping[str, Any] | None) -> SystemSettings:
        """Settings as they are, or out of a table with the shape of the TOML file.

        Raises:
            BadInputError: naming the path of what is wrong, its value and what would be right.
        """
        if config is None:
            return cls()
        if isinstance(config, cls):
            return config
        return settings_from(a_table("config", config))


def _degradation(section: dict[str, Any]) -> dict[str, Any]:
    """Thresholds out of tables, and no share of failures unless it is asked for."""
    told = {"failures": None, **section}
    for name in ("failures", "error_rate", "latency", "memory", "memory_stalls"):
        if isinstance(told.get(name), Mapping):
            path = at("degradation", name)
            given = {
                key: tuple(value) if isinstance(value, list) else value
                for key, value in told[name].items()
            }
            told[name] = build(path, Thresholds, given, "thresholds")
        elif told.get(name) is False:
            told[name] = None
        elif told.get(name) is True:
            del told[name]
    return told


_PARTS: dict[str, type[Any]] = {
    "retry": RetrySettings,
    "degradation": DegradationSettings,
    "analytics": AnalyticsSettings,
    "history": HistorySettings,
}
_OWN = tuple(
    one.name
    for one in fields(SystemSettings)
    if one.name not in _PARTS and one.name not in ("circuit_breaker", "pipelines")
)


def settings_from(source: Source, names: Mapping[str, Any] | None = None) -> SystemSettings:
    """The settings in a table or a TOML file.

    Args:
        source: the table, or the path of the file.
        names: functions, exception types and profiles that pipelines may call by name.

    Raises:
        BadInputError: naming the path of what is wrong, its value and what would be right.
        OSError: the file cannot be read.
    """
    table = read(source)
    only_known("", table, ("system", "circuit_breaker", *_PARTS, *OF_PIPELINES), "a configuration")
    own = dict(a_table("system", table.get("system", {})))
    only_known("system", own, _OWN, "the system")
    given: dict[str, Any] = dict(own)
    for name, kind in _PARTS.items():
        if name in table:
            section = dict(a_table(name, table[name]))
            if name == "degradation":
                section = _degradation(section)
            given[name] = build(name, kind, section, f"the table {name}")
    if "circuit_breaker" in table:
        chosen = a_table("circuit_breaker", table["circuit_breaker"])
        known = Names(names or {})
        given["circuit_breaker"] = {
            key: known.convert(at("circuit_breaker", key), key, value)
            for key, value in chosen.items()
        }
    pipelines = {key: table[key] for key in OF_PIPELINES if key in table}
    parse(pipelines, names or {})
    given["pipelines"] = pipelines
    try:
        return SystemSettings(**given)
    except BadInputError as error:
        told = str(error)
        named = told.split(" ", 1)[0] in _OWN
        raise BadInputError(f"system.{told}" if named else told) from None
