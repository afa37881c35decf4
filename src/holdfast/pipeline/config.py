"""Pipelines out of a table or a TOML file: read, checked and built before anything is in force.

- Nothing here changes what is in force; `Registry.reload` does, once all is well.
- Whatever is wrong is refused with its full path, its value and what would be right.
- Policies with state are known by kind and name: two pipelines that name the
  same breaker share it, and a reload finds it again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from holdfast.errors import BadInputError
from holdfast.pipeline.config_fields import (
    Names,
    a_table,
    a_text,
    at,
    blamed,
    build,
    did_you_mean,
    only_known,
)
from holdfast.pipeline.config_parts import KINDS, SHARED, Config, Key, Spec, entries, made_of, same
from holdfast.pipeline.pipeline import Pipeline
from holdfast.pipeline.profiles import SETTINGS_OF_BREAKERS, Profile, settings_of_profiles
from holdfast.policies.budget import RetryBudget

Source = Mapping[str, Any] | str | os.PathLike[str]
_PLACES = {"total": 40, "attempt": 110}
_PROFILES = ("rpc", "http_api", "llm", "gpu_job")
_BESIDE_PROFILE = ("profile", "policies", "budget", "breaker", "bulkhead", "idempotency")


def read(source: Source) -> Mapping[str, Any]:
    """The table itself, or what the TOML file at that path holds.

    Raises:
        BadInputError: the file is not TOML.
        OSError: it cannot be read.
    """
    if isinstance(source, Mapping):
        return source
    if not isinstance(source, str | os.PathLike):
        raise BadInputError(f"source must be a table or the path of a file, got {source!r:.100}")
    import tomllib  # noqa: PLC0415  # only files need it

    with open(source, "rb") as file:  # noqa: PTH123  # pathlib would be imported for this alone
        try:
            return tomllib.load(file)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadInputError(f"{os.fspath(source)} is not TOML: {error}") from None


def parse(
    table: Mapping[str, Any], names: Mapping[str, Any] | None = None, before: Config | None = None
) -> Config:
    """Build and check all that a table describes.

    Args:
        table: with ``pipelines``, ``budgets`` and ``breakers``.
        names: functions, exception types and profiles that the table may call by name.
        before: the configuration in force, whose policies are kept where nothing has changed.

    Raises:
        BadInputError: naming the path of what is wrong, its value, and what would be right.
    """
    only_known("", a_table("", table), ("pipelines", "budgets", "breakers"), "a configuration")
    return _Reader(table, names or {}, before or Config()).read()


class _Reader:
    """Reads one table."""

    def __init__(self, table: Mapping[str, Any], names: Mapping[str, Any], before: Config) -> None:
        self._table = table
        self._before = before
        self._made = Config()
        self._breakers = a_table("breakers", table.get("breakers", {}))
        self._names = Names(names)

    def read(self) -> Config:
        budgets = a_table("budgets", self._table.get("budgets", {}))
        for name, settings in budgets.items():
            self._budget(at("budgets", name), name, dict(a_table(at("budgets", name), settings)))
        self._names = Names(
            self._names.given, {name: budget for name, (_, budget) in self._made.budgets.items()}
        )
        for name, settings in self._breakers.items():
            path = at("breakers", name)
            self._breaker(path, name, a_table(path, settings))
        pipelines = a_table("pipelines", self._table.get("pipelines", {}))
        for name, settings in pipelines.items():
            path = at("pipelines", a_text("a pipeline's name", name))
            self._made.pipelines[name] = self._pipeline(path, name, a_table(path, settings))
        return self._made

    def _budget(self, path: str, name: str, settings: dict[str, Any]) -> RetryBudget:
        known = self._before.budgets.get(name)
        if known is not None and same(known[0], settings):
            self._made.budgets[name] = known
        else:
            budget = build(path, RetryBudget, {"name": name} | settings, "a budget")
            self._made.budgets[name] = (settings, budget)
        return self._made.budgets[name][1]

    def _breaker(self, path: str, name: str, settings: Mapping[str, Any]) -> None:
        if "name" in settings:
            raise BadInputError(
                f"{at(path, 'name')} must not be given: its name is {name!r} already, "
                f"got {settings['name']!r:.100}"
            )
        self._spec(path, "circuit_breaker", name, self._converted(path, settings) | {"name": name})

    def _pipeline(self, path: str, name: str, table: Mapping[str, Any]) -> tuple[Spec, ...]:
        if "profile" in table:
            specs = self._with_profile(path, name, table)
        else:
            only_known(path, table, ("profile", "policies"), "a pipeline without a profile")
            specs = [
                self._listed(where, kind, name, number, settings)
                for number, (where, kind, settings) in enumerate(entries(path, table))
            ]
            if not specs:
                raise BadInputError(f"{path} must have a profile or policies, got neither")
        seen: set[Key] = set()
        for spec in specs:
            if spec.key in seen:
                raise BadInputError(
                    f"{path} has the {spec.key[0]} {spec.key[1]!r} twice: "
                    "give one of them another name"
                )
            seen.add(spec.key)
        try:
            Pipeline(*(spec.policy for spec in specs), name=name)
        except BadInputError as error:
            raise BadInputError(f"{path}: {error}") from None
        return tuple(specs)

    def _listed(
        self, path: str, kind: str, pipeline: str, number: int, settings: Mapping[str, Any]
    ) -> Spec:
        """A policy as it is listed."""
        converted = self._converted(path, settings)
        if kind not in SHARED:
            return self._spec(path, kind, pipeline, converted, number)
        return self._shared(path, kind, pipeline, converted)

    def _shared(self, path: str, kind: str, pipeline: str, settings: dict[str, Any]) -> Spec:
        """A policy that belongs to a dependency."""
        name = a_text(at(path, "name"), settings.setdefault("name", pipeline))
        if kind == "circuit_breaker" and name in self._breakers:
            for key, value in settings.items():
                if key != "name":
                    raise BadInputError(
                        f"{at(path, key)} must be given in {at('breakers', name)}, which this "
                        f"policy names, got {value!r:.100}"
                    )
            return self._made.specs[kind, name]
        return self._spec(path, kind, name, settings)

    def _give_way(self, settings: dict[str, Any]) -> None:
        """Let go of a profile's settings where the breaker has a table of its own."""
        name = settings["name"]
        if isinstance(name, str) and name in self._breakers:
            settings.clear()
            settings["name"] = name

    def _with_profile(self, path: str, name: str, table: Mapping[str, Any]) -> list[Spec]:
        """A profile's policies, changed by what is given and joined by what is listed."""
        parts, budget = self._profile_parts(path, name, table)
        where_from = dict.fromkeys(parts, path)
        for where, kind, settings in entries(path, table):
            if kind == "timeout":
                raise BadInputError(
                    f"{where} must not be a timeout: beside a profile, time limits are "
                    f"{path}.total, .attempt and .idle, got {dict(settings)!r:.100}"
                )
            if where_from.get(kind, path) != path:
                raise BadInputError(f"{where} must not be a second {kind} beside a profile")
            where_from[kind] = where
            part, converted = parts.setdefault(kind, {}), self._converted(where, settings)
            if "name" in converted:
                part["name"] = converted.pop("name")
            if kind == "circuit_breaker":
                self._give_way(part)
            if kind == "hedge":
                # Retries and hedges are extra calls alike, and share one budget.
                part["budget"] = budget
            part |= converted
        places = {kind: _PLACES.get(kind) or KINDS[kind][2] for kind in parts}
        return [
            self._placed(where_from[kind], kind, name, parts[kind])
            for kind in sorted(parts, key=places.__getitem__)
        ]

    def _profile_parts(
        self, path: str, name: str, table: Mapping[str, Any]
    ) -> tuple[dict[str, dict[str, Any]], RetryBudget | None]:
        """The profile's policies, changed by what stands beside it, and their budget."""
        profile, known = (
            self._profile(at(path, "profile"), table["profile"]),
            settings_of_profiles(),
        )
        only_known(path, table, (*known, *_BESIDE_PROFILE), "a pipeline with a profile")
        changes = {key: value for key, value in table.items() if key in known}
        try:
            profile = profile.but(**self._converted(path, changes))
        except (ValueError, TypeError) as error:
            raise blamed(path, error, known) from None
        budget, idempotency = self._profile_budget(path, name, profile, table), None
        if "idempotency" in table:
            where = at(path, "idempotency")
            idempotency = self._names.idempotency(where, table["idempotency"])
        made = profile.parts(name, budget=budget, idempotency=idempotency)
        parts = {kind: settings for kind, _, settings in made}
        for kind, key in (("circuit_breaker", "breaker"), ("bulkhead", "bulkhead")):
            if key in table and kind in parts:
                parts[kind]["name"] = a_text(at(path, key), table[key])
        self._refuse_beside_table(path, parts["circuit_breaker"]["name"], changes)
        self._give_way(parts["circuit_breaker"])
        return parts, budget

    def _refuse_beside_table(self, path: str, name: str, changes: Mapping[str, Any]) -> None:
        """Refuse changes to a profile's breaker where a table of its own takes the profile's place.

        Raises:
            BadInputError: naming the path of the change.
        """
        for key in SETTINGS_OF_BREAKERS if name in self._breakers else ():
            if key in changes:
                raise BadInputError(
                    f"{at(path, key)} must be given in {at('breakers', name)}, which has all "
                    f"settings of this pipeline's breaker, got {changes[key]!r:.100}"
                )

    def _placed(self, path: str, kind: str, pipeline: str, settings: dict[str, Any]) -> Spec:
        """A policy whose settings are converted already."""
        if kind in _PLACES:
            return self._spec(path, "timeout", pipeline, settings, _PLACES[kind])
        if kind not in SHARED:
            return self._spec(path, kind, pipeline, settings, 0)
        return self._shared(path, kind, pipeline, settings)

    def _profile(self, path: str, value: Any) -> Profile:
        if isinstance(value, str) and value.startswith("@"):
            value = self._names.plain(path, value)
        if isinstance(value, Profile):
            return value
        if value not in _PROFILES:
            near = did_you_mean(str(value), _PROFILES)
            raise BadInputError(f"{path} must be the name of a profile, got {value!r:.100}; {near}")
        profile: Profile = getattr(Profile, value)
        return profile

    def _profile_budget(
        self, path: str, name: str, profile: Profile, table: Mapping[str, Any]
    ) -> RetryBudget | None:
        if "budget" in table:
            return self._names.budget(at(path, "budget"), table["budget"])
        if profile.budget_ratio is None:
            return None
        # A name no table can have, because this budget is nobody else's.
        return self._budget(path, f"{name}\0", {"ratio": profile.budget_ratio, "floor": 10})

    def _converted(self, path: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {
            key: self._names.convert(at(path, key), key, value) for key, value in settings.items()
        }

    def _spec(
        self, path: str, kind: str, name: str, settings: dict[str, Any], number: int | None = None
    ) -> Spec:
        """The policy with these settings: the one in force if there is one, else a new one."""
        key: Key = (kind, name) if number is None else (kind, name, number)
        twin = self._made.specs.get(key)
        if twin is not None:
            if not same(twin.settings, settings):
                raise BadInputError(
                    f"{path} contradicts {twin.path}: both are the {kind} {name!r}, with "
                    f"different {_differing(twin.settings, settings)}"
                )
            return twin
        known = self._before.specs.get(key)
        if known is not None and same(known.settings, settings):
            policy = known.policy
        else:
            policy = made_of(path, kind, settings)
        spec = Spec(path, key, settings, policy)
        self._made.specs[key] = spec
        return spec


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    names = [name for name in {**one, **other} if not same(one.get(name), other.get(name))]
    return ", ".join(names)
