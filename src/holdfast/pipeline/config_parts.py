"""What a configuration consists of: kinds of policies, each with its settings, and what was built.

- A kind is known by the word a file has for it. What makes its policies is
  imported only when a configuration asks for it.
- A policy is known by a key, which finds it again after a reload.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.errors import BadInputError
from holdfast.pipeline.config_fields import a_table, at, build, did_you_mean
from holdfast.policies.budget import RetryBudget
from holdfast.policies.policy import Policy

Key = tuple[str | int, ...]

KINDS: dict[str, tuple[str, str, int]] = {
    "cache": ("cache", "Cache", 10),
    "fallback": ("fallback", "Fallback", 20),
    "load_shedder": ("shedder", "LoadShedder", 30),
    "retry": ("retry", "Retry", 50),
    "hedge": ("hedge", "Hedge", 60),
    "adaptive_throttle": ("throttle", "AdaptiveThrottle", 70),
    "circuit_breaker": ("breaker", "CircuitBreaker", 80),
    "rate_limiter": ("rate_limit", "RateLimiter", 90),
    "bulkhead": ("bulkhead", "Bulkhead", 100),
    "timeout": ("timeout", "Timeout", 110),
    "chaos": ("chaos", "Chaos", 120),
}
"""What a file calls each policy: its module, its class, and its place beside a profile's own."""
SHARED = ("circuit_breaker", "bulkhead", "rate_limiter", "load_shedder", "adaptive_throttle")
"""Kinds that belong to a dependency rather than to a pipeline; the same name is the same object."""
_CHAOS = ("seed", "when", "drill", "enabled", "name")
_CIRCUIT_FIELDS = {
    "open_seconds": "timeout",
    "open_growth": "timeout_growth",
    "open_maximum": "timeout_maximum",
    "open_jitter": "timeout_jitter",
}


@dataclass(frozen=True, slots=True, eq=False)
class Spec:
    """One policy of a configuration, built and not yet in force."""

    path: str
    key: Key
    """What finds it again after a reload."""
    settings: dict[str, Any]
    policy: Policy


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration, built and checked, not yet in force."""

    pipelines: dict[str, tuple[Spec, ...]] = field(default_factory=dict)
    """Each pipeline's policies by its name, outermost first."""
    budgets: dict[str, tuple[dict[str, Any], RetryBudget]] = field(default_factory=dict)
    """Each budget with its settings."""
    specs: dict[Key, Spec] = field(default_factory=dict)
    """Every policy once, however many pipelines share it."""

    def without(self, name: str) -> Config:
        """The same without one pipeline."""
        rest = {other: specs for other, specs in self.pipelines.items() if other != name}
        return Config(rest, self.budgets, self.specs)

    def changed_from(self, before: Config) -> tuple[str, ...]:
        """The pipelines that are new, gone or changed, sorted."""
        names = {*before.pipelines, *self.pipelines}
        return tuple(
            sorted(
                name
                for name in names
                if _identity(before.pipelines.get(name)) != _identity(self.pipelines.get(name))
            )
        )


def same(one: Any, other: Any) -> bool:
    """Whether two settings are one and the same; unlike ``==``, 1 is neither True nor 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _identity(specs: tuple[Spec, ...] | None) -> list[tuple[Key, int]] | None:
    return None if specs is None else [(spec.key, id(spec.policy)) for spec in specs]


def entries(path: str, table: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """The listed policies: path, kind, and settings as they stand."""
    listed = table.get("policies", [])
    if not isinstance(listed, Sequence) or isinstance(listed, str | bytes):
        raise BadInputError(f"{path}.policies must be a list of tables, got {listed!r:.100}")
    found: list[tuple[str, str, Mapping[str, Any]]] = []
    for number, entry in enumerate(listed):
        where = f"{path}.policies[{number}]"
        settings = dict(a_table(where, entry))
        if "type" not in settings:
            raise BadInputError(f"{where}.type must be given: one of {', '.join(KINDS)}")
        kind = settings.pop("type")
        if not isinstance(kind, str) or kind not in KINDS:
            near = did_you_mean(str(kind), KINDS)
            raise BadInputError(f"{where}.type must be a policy, got {kind!r:.100}; {near}")
        found.append((where, kind, settings))
    return found


def made_of(path: str, kind: str, settings: dict[str, Any]) -> Policy:
    """A new policy."""
    module, name, _ = KINDS[kind]
    # Only what a configuration asks for is imported.
    made: Any = getattr(importlib.import_module(f"holdfast.policies.{module}"), name)
    of = f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
    if kind != "chaos":
        aliases = _CIRCUIT_FIELDS if kind == "circuit_breaker" else {}
        return build(path, made, settings, of, aliases=aliases)  # type: ignore[no-any-return]
    rest = dict(settings)
    ways = ("fault", "latency", "result", "behaviour")
    way = rest.pop("inject", None)
    if way not in ways:
        raise BadInputError(f"{at(path, 'inject')} must be one of {', '.join(ways)}, got {way!r}")
    return build(path, getattr(made, way), rest, of, also=_CHAOS)  # type: ignore[no-any-return]
