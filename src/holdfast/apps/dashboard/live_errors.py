"""The part of the live source that reads an `ErrorHandlingSystem`: errors, breakers, levels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from holdfast.apps.dashboard.phrases import cut
from holdfast.apps.dashboard.sources import (
    BreakerView,
    ErrorGroupView,
    ErrorsView,
    LevelView,
    StrategyView,
)
from holdfast.errors import BadInputError
from holdfast.machines.permits import CircuitState
from holdfast.policies.breaker import CircuitBreaker
from holdfast.system.degradation import DegradationLevel, GracefulDegradation
from holdfast.telemetry.analytics import ErrorAnalytics
from holdfast.telemetry.groups import ErrorGroup
from holdfast.telemetry.kept import KeptErrors

MOST_GROUPS = 30
MOST_BREAKERS = 200
MOST_CHANGES = 20
MOST_STRATEGIES = 20
_BY_HAND = (CircuitState.FORCED_OPEN, CircuitState.DISABLED, CircuitState.METRICS_ONLY)
HOW = ("open", "closed", "reset")
"""How a breaker can be moved by hand."""


def errors_of(analytics: ErrorAnalytics) -> ErrorsView:
    """What errors there were, in groups, and what was done about them."""
    report = analytics.generate_report()
    kept = analytics.error_history
    return ErrorsView(
        total=report["total_errors"],
        per_minute=report["error_rate_per_minute"],
        categories=tuple(report["errors_by_category"].items()),
        minutes=tuple(report["errors_by_minute"]),
        groups=tuple(_group(each, kept) for each in analytics.top_groups(MOST_GROUPS)),
        recoveries=report["recoveries_attempted"],
        recovered=report["recoveries_successful"],
        strategies=tuple(
            StrategyView(
                str(name)[:100], told["attempted"], told["successful"],
                told["seconds"].get("p50"),
            )
            for name, told in list(report["recovery_by_strategy"].items())[:MOST_STRATEGIES]
        ),
    )  # fmt: skip


def _group(group: ErrorGroup, kept: KeptErrors) -> ErrorGroupView:
    return ErrorGroupView(
        fingerprint=group.fingerprint,
        type=group.error_type,
        category=group.category.value,
        severity=group.severity.value,
        sample=cut(group.sample, 400),
        count=group.count,
        last_seen=group.last_seen.timestamp(),
        trend=str(group.trend),
        direction=group.trend.direction.value,
        per_minute=group.last_hour,
        dependencies=tuple(sorted(group.dependencies.items(), key=lambda pair: -pair[1])[:5]),
        done=_done(group.fingerprint, kept),
    )


def _done(fingerprint: str, kept: KeptErrors) -> tuple[tuple[str, int, int], ...]:
    """What was done about those errors of a group that are kept one by one."""
    tried: Counter[str] = Counter()
    helped: Counter[str] = Counter()
    for info in kept.where(lambda line: line.group.fingerprint == fingerprint):
        if info.recovery_attempted:
            strategy = info.strategy or "retry"
            tried[strategy] += 1
            helped[strategy] += info.recovery_successful
    return tuple((name, count, helped[name]) for name, count in tried.most_common(4))


def breakers_of(breakers: Mapping[str, CircuitBreaker]) -> tuple[BreakerView, ...]:
    """All breakers, by name."""
    return tuple(_breaker(name, each) for name, each in sorted(breakers.items())[:MOST_BREAKERS])


def _breaker(name: str, breaker: CircuitBreaker) -> BreakerView:
    told = breaker.snapshot()
    return BreakerView(
        name,
        told["state"].value,
        cut(told["reason"], 300),
        breaker.describe().partition("': ")[2],
        told["failures"],
        told["openings"],
        told["retry_after"],
    )


def force(breakers: Mapping[str, CircuitBreaker], name: str, how: str) -> str:
    """Move a breaker by hand."""
    breaker = breakers.get(name)
    if breaker is None:
        raise BadInputError(f"there is no circuit breaker {name!r:.100}")
    if how not in HOW:
        raise BadInputError(f"how must be one of {', '.join(HOW)}, got {how!r:.100}")
    if how == "open":
        breaker.force_open()
        return f"{name} refuses every call until it is closed by hand"
    if how == "closed":
        if breaker.state in _BY_HAND:
            breaker.reset()  # what was set by hand is not for `close` to undo
        breaker.close()
        return f"{name} is closed"
    breaker.reset()
    return f"{name} is closed, and what it has counted is forgotten"


def level_of(degradation: GracefulDegradation) -> LevelView:
    """How much of the service is given."""
    told = degradation.snapshot()
    return LevelView(
        told["level"],
        told["quality"],
        told["features"],
        told["pinned"],
        tuple((each.value, each.quality, each.features) for each in DegradationLevel),
        tuple((name, each["level"]) for name, each in list(told["scopes"].items())[:50]),
        tuple(
            (
                change.wall,
                f"{change.scope or 'the whole service'}: {change.old} to {change.new}",
                cut(change.reason, 200),
            )
            for change in reversed(degradation.history()[-MOST_CHANGES:])
        ),
    )


def set_level(degradation: GracefulDegradation, level: str, *, pinned: bool) -> str:
    """Give so much of the service."""
    degradation.set_level(level, reason="set on the dashboard")  # type: ignore[arg-type]
    if pinned:
        degradation.pin()
        return f"The level is {level}, and stays there"
    degradation.unpin()
    return f"The level is {level}, and may move by itself"
