"""Turning a request down by all its knobs, and saying what became of it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from holdfast.errors import BadInputError
from holdfast.outcome import describe
from holdfast.policies import checks
from holdfast.system.degradation.grades import DegradationLevel
from holdfast.system.degradation.knobs import Knob, acting_level

MOST_KNOBS = 1_000


@dataclass(frozen=True, slots=True)
class Change:
    """One parameter that was turned down."""

    knob: str
    key: str
    before: Any
    after: Any
    reason: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """One parameter that should have been turned down and was left as it was."""

    knob: str
    key: str
    value: Any
    reason: str


class AdjustedParameters(dict[str, Any]):
    """The parameters to use: a dict like any other, which also says what was changed in it."""

    def __init__(
        self,
        parameters: Mapping[str, Any],
        level: DegradationLevel = DegradationLevel.FULL,
        changes: Iterable[Change] = (),
        skipped: Iterable[Skipped] = (),
    ) -> None:
        super().__init__(parameters)
        self.level = level
        """The level they were made for."""
        self.changes = list(changes)
        """What was turned down, in the order of the knobs."""
        self.skipped = list(skipped)
        """What could not be, and why."""


class _Place(NamedTuple):
    """What one knob acts on in one go."""

    knob: Knob
    keys: tuple[str, ...]
    together: bool
    rank: int


class KnobBoard:
    """The knobs of one service. Safe across threads; a change counts from the next request on."""

    __slots__ = ("_knobs", "_lock", "_places")

    def __init__(self, knobs: Iterable[Knob]) -> None:
        self._lock = threading.Lock()
        self._knobs: dict[str, Knob] = {}
        self._places: tuple[_Place, ...] = ()
        for knob in knobs:
            self.register(knob)

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """In the order in which they act."""
        with self._lock:
            return tuple(self._knobs.values())

    def register(self, knob: Knob, *, replace: bool = False) -> None:
        """Add a knob.

        Args:
            knob: the new one; it acts after those that are there.
            replace: take away those of the same name or for the same parameters first.

        Raises:
            BadInputError: it is no knob, or another one has its name or its parameters.
        """
        checks.flag("replace", replace)
        keys = _keys_of(knob)
        with self._lock:
            rivals = [
                other
                for other in self._knobs.values()
                if other.name == knob.name or keys & _keys_of(other)
            ]
            if rivals and not replace:
                raise BadInputError(
                    f"knob {knob.name!r} must have a name and parameters of its own, but "
                    f"{rivals[0].name!r} acts on {sorted(_keys_of(rivals[0]))}; "
                    "unregister that one, or give replace=True"
                )
            if len(self._knobs) - len(rivals) >= MOST_KNOBS:
                raise BadInputError(f"there must be at most {MOST_KNOBS} knobs")
            for rival in rivals:
                del self._knobs[rival.name]
            self._knobs[knob.name] = knob
            self._lay_out()

    def unregister(self, name: str) -> Knob:
        """Take a knob away and return it.

        Raises:
            BadInputError: there is none of that name; the message names those there are.
        """
        with self._lock:
            knob = self._knobs.pop(name, None)
            if knob is None:
                names = ", ".join(self._knobs) or "there is none"
                raise BadInputError(f"name must be that of a knob ({names}), got {name!r:.100}")
            self._lay_out()
            return knob

    def adjust(self, parameters: Mapping[str, Any], level: DegradationLevel) -> AdjustedParameters:
        """A copy with everything turned down that the level asks for.

        Raises:
            BadInputError: the parameters are no mapping.
        """
        if not isinstance(parameters, Mapping):
            raise BadInputError(f"params must be a mapping, got {parameters!r:.100}")
        adjusted = AdjustedParameters(parameters, level)
        rank = level.rank
        for place in self._places if rank else ():
            if rank >= place.rank and any(key in adjusted for key in place.keys):
                _turn(place, adjusted)
        return adjusted

    def _lay_out(self) -> None:
        self._places = tuple(
            _Place(
                knob,
                (keys,) if isinstance(keys, str) else tuple(keys),
                not isinstance(keys, str),
                acting_level("knob.begins", knob.begins).rank,
            )
            for knob in self._knobs.values()
            for keys in knob.keys
        )


def _turn(place: _Place, adjusted: AdjustedParameters) -> None:
    knob, keys, level = place.knob, place.keys, adjusted.level
    before = tuple(adjusted[key] for key in keys if key in adjusted)
    try:
        if len(before) < len(keys):
            raise BadInputError(f"it needs all of {', '.join(map(repr, keys))}")  # noqa: TRY301
        scaled = knob.scale(before if place.together else before[0], level.quality)
        after = tuple(scaled) if place.together else (scaled,)
        differs = [bool(new != old) for old, new in zip(before, after, strict=True)]
    except Exception as error:  # noqa: BLE001  # a stranger's knob must not fail the request
        refused = isinstance(error, BadInputError)
        why = str(error) if refused else f"the knob failed: {describe(error)}"
        there = [key for key in keys if key in adjusted]
        adjusted.skipped += [Skipped(knob.name, key, adjusted[key], why) for key in there]
        return
    reason = f"level {level}: quality {level.quality:g}, {level.features} features"
    for key, old, new, changed in zip(keys, before, after, differs, strict=True):
        if changed:
            adjusted[key] = new
            adjusted.changes.append(Change(knob.name, key, old, new, reason))


def _keys_of(knob: Any) -> set[str]:
    """All parameters of a knob; this is where what is no knob is found out.

    Raises:
        BadInputError: saying what is missing.
    """
    if not isinstance(knob, Knob) or isinstance(knob, type):
        raise BadInputError(f"knob must have name, keys, begins and scale, got {knob!r:.100}")
    checks.label("knob.name", knob.name)
    acting_level("knob.begins", knob.begins)
    keys: list[str] = []
    for each in knob.keys:
        keys += (each,) if isinstance(each, str) else each
    if isinstance(knob.keys, str) or not keys or len(set(keys)) < len(keys):
        raise BadInputError(f"knob.keys must be distinct parameters, got {knob.keys!r:.200}")
    for key in keys:
        checks.label("knob.keys", key)
    return set(keys)
