"""Pipelines and breakers by name: shared, bounded, configured from a file, changed while they run.

- A name always means the same object for as long as anybody holds it, so its
  state is never split in two.
- At most so many are kept; see `holdfast.pipeline.eviction` for who goes. If none
  can go, the new one is handed out and not kept: its calls are protected, it only
  shares no state with later ones, and `snapshot` counts it.
- A reload is all or nothing: it is built and checked as a whole before anything
  is in force, and what fails leaves everything as it was.
- Safe for all threads.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakValueDictionary

from holdfast import events
from holdfast.errors import BadInputError
from holdfast.events import hub
from holdfast.pipeline.config import Source, parse, read
from holdfast.pipeline.config_fields import build, did_you_mean
from holdfast.pipeline.config_parts import Config, Key, Spec, same
from holdfast.pipeline.eviction import KeptBreaker, make_room
from holdfast.pipeline.named import NamedPipeline
from holdfast.pipeline.pipeline import Pipeline
from holdfast.pipeline.profiles import Profile
from holdfast.policies import checks
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.sealed import Sealed
from holdfast.ports import ambient

Maker = Profile | Callable[[str], Pipeline]


class Registry(Sealed):
    """Named pipelines and breakers.

    ::

        registry = Registry()
        registry.load("holdfast.toml")
        search = registry.get("search")          # follows every reload
        host = registry.get(url.host, Profile.http_api)
    """

    settings = frozenset({"max_pipelines", "idle_seconds"})

    def __init__(self, max_pipelines: int = 1000, *, idle_seconds: float = 600.0) -> None:
        """Begin empty.

        Args:
            max_pipelines: how many pipelines are kept, and how many breakers.
            idle_seconds: after so many seconds unused, a breaker that is not open may go even
                with failures on record.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        checks.whole("max_pipelines", max_pipelines, at_least=1)
        checks.seconds("idle_seconds", idle_seconds)
        self.max_pipelines = max_pipelines
        self.idle_seconds = idle_seconds
        self._lock = threading.RLock()
        self._reloading = threading.Lock()
        self._pinned: dict[str, NamedPipeline] = {}
        """Configured or added by hand; these never go by themselves."""
        self._made: OrderedDict[str, NamedPipeline] = OrderedDict()
        """Made on demand, the longest unused first."""
        self._held: WeakValueDictionary[str, NamedPipeline] = WeakValueDictionary()
        """Not kept, but somebody has them."""
        self._gone: WeakValueDictionary[str, NamedPipeline] = WeakValueDictionary()
        """Configured once and no more; they follow again should their name come back."""
        self._breakers: OrderedDict[str, KeptBreaker] = OrderedDict()
        self._config = Config()
        self._source: Source | None = None
        self._names: Mapping[str, Any] = {}
        self._turned_away = 0

    # -- pipelines -------------------------------------------------------------------------

    def get(self, name: str, make: Maker | None = None) -> NamedPipeline:
        """The pipeline of that name; without one, ``make`` makes it.

        Args:
            name: of the pipeline.
            make: a profile, or a function that returns a `Pipeline` for the name.

        Raises:
            BadInputError: there is none and nothing to make it with.
        """
        checks.label("name", name)
        with self._lock:
            found = self._find(name)
            known = [*self._pinned, *self._made]
        if found is not None:
            return found
        if make is None:
            raise BadInputError(f"there is no pipeline {name!r}; {did_you_mean(name, known)}")
        pipeline = make.pipeline(name) if isinstance(make, Profile) else make(name)
        if not isinstance(pipeline, Pipeline):
            raise BadInputError(f"make must return a Pipeline, got {pipeline!r:.100}")
        with self._lock:
            # Another thread may have been quicker; all must have the same one.
            return self._find(name) or self._keep(self._handle(name, pipeline))

    def add(self, pipeline: Pipeline, name: str | None = None) -> NamedPipeline:
        """Keep a pipeline made by hand, under its own name or another.

        Raises:
            BadInputError: the name is taken, or there is no room.
        """
        checks.instance("pipeline", pipeline, Pipeline, optional=False)
        name = pipeline.name if name is None else name
        checks.label("name", name)
        with self._lock:
            if self._find(name) is not None:
                raise BadInputError(f"name must be a new one, got {name!r}, which is taken")
            if not self._has_room():
                told = f"max_pipelines ({self.max_pipelines}) are registered, and none can go"
                raise BadInputError(told)
            new = self._pinned[name] = self._handle(name, pipeline)
        return new

    def remove(self, name: str) -> bool:
        """Forget a pipeline; whoever holds it can go on using it. False if there is none.

        One that the configuration describes is back after the next `load` or `reload`.
        """
        with self._reloading, self._lock:
            self._held.pop(name, None)
            found = self._pinned.pop(name, None) or self._made.pop(name, None)
            if found is not None and name in self._config.pipelines:
                self._gone[name] = found
                self._config = self._config.without(name)
        return found is not None

    def names(self) -> tuple[str, ...]:
        """The names of all pipelines kept, sorted."""
        with self._lock:
            return tuple(sorted([*self._pinned, *self._made]))

    def __contains__(self, name: object) -> bool:
        with self._lock:
            return name in self._pinned or name in self._made

    def __len__(self) -> int:
        return len(self._pinned) + len(self._made)

    # -- breakers --------------------------------------------------------------------------

    def breaker(self, name: str, **settings: Any) -> CircuitBreaker:
        """The circuit breaker of that name, made with these settings if there is none.

        Raises:
            BadInputError: a setting cannot work, or contradicts those it was made with.
        """
        checks.label("name", name)
        with self._lock:
            found = self._find_breaker(name, settings)
        if found is not None:
            return found
        new: CircuitBreaker = build(
            "breaker", CircuitBreaker, {"name": name} | settings, "a circuit breaker"
        )
        with self._lock:
            found = self._find_breaker(name, settings)
            if found is None:
                found = new
                if make_room(self._breakers, self.max_pipelines, self.idle_seconds):
                    self._breakers[name] = KeptBreaker(new, settings)
        return found

    def breakers(self) -> dict[str, CircuitBreaker]:
        """All breakers kept, made by name or configured, by their names."""
        with self._lock:
            known = {name: kept.breaker for name, kept in self._breakers.items()}
            for spec in self._config.specs.values():
                if isinstance(spec.policy, CircuitBreaker):
                    known[spec.policy.name] = spec.policy
        return dict(sorted(known.items()))

    # -- configuration ---------------------------------------------------------------------

    def load(self, source: Source, names: Mapping[str, Any] | None = None) -> tuple[str, ...]:
        """Put a configuration in force: a table, or the path of a TOML file.

        Args:
            source: the table or the path.
            names: functions, exception types and profiles that it may call by name.

        Returns:
            The names of the pipelines that are new, gone or changed.

        Raises:
            BadInputError: naming the path of what is wrong, its value and what would be right;
                nothing has changed then.
            OSError: the file cannot be read.
        """
        with self._reloading:
            given = dict(names or {})
            changed = self._put_in_force(parse(read(source), given, self._config))
            self._source, self._names = source, given
        if hub.active:
            hub.emit(events.ConfigReloaded("registry", ambient.now(), changed))
        return changed

    def reload(
        self, source: Source | None = None, names: Mapping[str, Any] | None = None
    ) -> tuple[str, ...]:
        """Put a changed configuration in force, all of it or nothing.

        Calls in flight go on with what they started with; every later call, through whatever
        handle or decorated function, uses the new settings. Breakers keep their state, and so
        does all else whose settings have not changed. Without arguments, the file that was
        loaded last is read again.

        Returns:
            The names of the pipelines that are new, gone or changed.

        Raises:
            BadInputError: as for `load`; nothing has changed then.
            OSError: as for `load`.
        """
        if source is None:
            source = self._source
            if source is None:
                raise BadInputError("source must be given: nothing has been loaded yet")
        return self.load(source, self._names if names is None else names)

    # -- looking at it ---------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """The state of all that is kept, as plain data."""
        with self._lock:
            pipelines, turned_away = {**self._pinned, **self._made}, self._turned_away
        return {
            "pipelines": {name: one.snapshot() for name, one in sorted(pipelines.items())},
            "breakers": {name: one.snapshot() for name, one in self.breakers().items()},
            "budgets": self._budgets(),
            "max_pipelines": self.max_pipelines,
            "turned_away": turned_away,
        }

    def _budgets(self) -> dict[str, Any]:
        # Those of profiles have names no table can have; they are told with their pipelines.
        named = {name: one for name, (_, one) in self._config.budgets.items() if "\0" not in name}
        return {name: budget.snapshot() for name, budget in sorted(named.items())}

    def __repr__(self) -> str:
        return f"<Registry of {len(self)} pipelines, at most {self.max_pipelines}>"

    def _find(self, name: str) -> NamedPipeline | None:
        found = self._pinned.get(name)
        if found is None:
            found = self._made.get(name)
            if found is not None:
                self._made.move_to_end(name)
            else:
                found = self._held.get(name)
        if found is not None:
            found.used_at = ambient.now()
        return found

    def _handle(self, name: str, pipeline: Pipeline) -> NamedPipeline:
        """A new handle, or the one that somebody still has from when the name was configured."""
        handle = self._gone.pop(name, None)
        if handle is None:
            return NamedPipeline(name, pipeline)
        handle.switch(pipeline)
        handle.used_at = ambient.now()
        return handle

    def _keep(self, new: NamedPipeline) -> NamedPipeline:
        if self._has_room():
            self._made[new.name] = new
        else:
            self._turned_away += 1
        self._held[new.name] = new
        return new

    def _has_room(self) -> bool:
        room = self.max_pipelines - len(self._pinned)
        return make_room(self._made, room, self.idle_seconds)

    def _find_breaker(self, name: str, settings: Mapping[str, Any]) -> CircuitBreaker | None:
        spec = self._config.specs.get(("circuit_breaker", name))
        kept = self._breakers.get(name)
        if spec is not None and isinstance(spec.policy, CircuitBreaker):
            found = spec.policy
            known: Mapping[str, Any] = spec.settings
        elif kept is not None:
            found, known = kept.breaker, kept.settings
            kept.used_at = ambient.now()
            self._breakers.move_to_end(name)
        else:
            return None
        for key, value in settings.items():
            if key not in known or not same(known[key], value):
                raise BadInputError(
                    f"{key} must be what the breaker {name!r} was made with "
                    f"({known.get(key, 'the default')!r}), got {value!r:.100}"
                )
        return found

    # -- reloading -------------------------------------------------------------------------

    def _put_in_force(self, config: Config) -> tuple[str, ...]:
        before = self._config
        changed = config.changed_from(before)
        with self._lock:
            self._refuse_impossible(config)
            policies = self._settled(before, config)
            config = Config(
                {
                    name: tuple(policies[spec.key] for spec in specs)
                    for name, specs in config.pipelines.items()
                },
                config.budgets,
                policies,
            )
            # All of them before any of them is in force.
            built = {
                name: Pipeline(*(spec.policy for spec in config.pipelines[name]), name=name)
                for name in changed
                if name in config.pipelines
            }
            for name in changed:
                if name in built:
                    self._switch(name, built[name])
                else:
                    self._gone[name] = self._pinned.pop(name)
            self._config = config
        return changed

    def _refuse_impossible(self, config: Config) -> None:
        for name in config.pipelines:
            if name in self._pinned and name not in self._config.pipelines:
                raise BadInputError(f"pipelines.{name} must not be given: it was added by hand")
        room = self.max_pipelines - (len(self._pinned) - len(self._config.pipelines))
        if len(config.pipelines) > room:
            raise BadInputError(
                f"pipelines must be at most {room} (max_pipelines), got {len(config.pipelines)}"
            )

    def _settled(self, before: Config, config: Config) -> dict[Key, Spec]:
        """The policies to be in force, where one in force takes over settings if it can."""
        settled = {}
        for key, spec in config.specs.items():
            known = before.specs.get(key)
            old: Any = None if known is None else known.policy
            if key[0] == "circuit_breaker":
                # One that was made by name before the configuration knew it keeps its state, too.
                kept = self._breakers.pop(str(key[1]), None)
                old = kept.breaker if old is None and kept is not None else old
            adopt = getattr(old, "adopt_settings_of", None)
            if adopt is None or old is spec.policy:
                settled[key] = spec
            else:
                adopt(spec.policy)
                settled[key] = Spec(spec.path, key, spec.settings, old)
        return settled

    def _switch(self, name: str, pipeline: Pipeline) -> None:
        handle = self._pinned.get(name) or self._made.pop(name, None)
        handle = handle or self._held.pop(name, None) or self._gone.pop(name, None)
        if handle is None:
            handle = NamedPipeline(name, pipeline)
        handle.switch(pipeline)
        self._pinned[name] = handle


registry = Registry()
"""The process's own."""
