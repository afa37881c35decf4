"""Faults: what goes wrong, when, and how to write it down.

A `Fault` says one thing that goes wrong and when. `load_faults` reads a list
of them from TOML::

    [[fault]]
    kind = "die"        # the process dies ...
    job = 2             # ... in the second job that starts here,
    node = "KSampler"   # at its sampler,
    step = 5            # after its fifth step,
    restart = 3.0       # and is back three seconds later

- A trigger that is not given is not asked for; all that are given must hold.
- ``job = 2`` means *from* the second job on, ``times`` times, at most once a
  job; so with the default of one it is the second job. ``post`` likewise.
- What concerns the whole process (`die`, `freeze`, ...) waits for a job, unless
  ``post``, ``path`` or ``after`` alone says otherwise.
- Standing faults (`missing_model`, `missing_node`, `corrupt_model`, `slow`)
  hold always unless ``times`` says how often.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.errors import BadInputError

WHOLE_PROCESS = frozenset({"die", "freeze", "zombie_socket", "stuck_reader"})
"""What can strike at any moment: at a request, in a job, or by the clock."""

AT_NODE = frozenset(
    {
        "dead_worker",
        "interrupted",
        "raise",
        "block",
        "out_of_memory",
        "huge_error",
        "empty_error",
        "broken_device",
    }
)
"""What strikes a running node, at its start or at one of its steps."""

AT_REQUEST = frozenset({"lost_response", "http_error", "slow"})
AT_SAVE = frozenset({"missing_file", "truncated_file", "black_picture", "disk_full"})
STANDING = frozenset({"missing_model", "missing_node", "corrupt_model"})

KINDS = WHOLE_PROCESS | AT_NODE | AT_REQUEST | AT_SAVE | STANDING

NEEDS: Mapping[str, tuple[str, ...]] = {
    "freeze": ("seconds",),
    "stuck_reader": ("seconds",),
    "missing_model": ("model",),
    "missing_node": ("node",),
    "corrupt_model": ("model",),
}

HTTP_STATUSES = (500, 502, 503)

TRIGGERS: Mapping[str, frozenset[str]] = {
    "standing": frozenset({"job", "post", "after"}),
    "before_save": frozenset({"job", "node", "after"}),
    "after_save": frozenset({"job", "node", "after"}),
    "request": frozenset({"post", "path", "after"}),
    "node": frozenset({"job", "node", "step", "after"}),
    "step": frozenset({"job", "node", "step", "after"}),
    "clock": frozenset({"after"}),
}
"""Which triggers can be asked at which place."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, and when."""

    kind: str
    """What goes wrong; one of `KINDS`."""
    job: int | None = None
    """From the n-th job that starts on this server on, restarts included; the first is 1."""
    post: int | None = None
    """From the n-th ``POST /prompt`` on; the first is 1."""
    node: str | None = None
    """Only at nodes of this class (for `missing_node`: the class that is missing)."""
    step: int | None = None
    """Only once a node has reported so many steps."""
    path: str | None = None
    """Only at requests whose path matches, ``*`` allowed; ``/api`` in front is ignored."""
    after: float | None = None
    """Not before so many seconds after the first start."""
    times: int | None = None
    """How often; 0 is always. None: once, or always for standing faults and `slow`."""
    restart: float | None = None
    """`die`: seconds until the server is back. None: it stays dead."""
    seconds: float | None = None
    """`freeze`, `stuck_reader`, `slow`: how long."""
    bytes_per_second: int | None = None
    """`slow`: how fast answers travel."""
    status: int = 500
    """`http_error`: 500, 502 or 503."""
    retry_after: float | None = None
    """`http_error`: seconds in the ``Retry-After`` header. None: no such header."""
    model: str | None = None
    """`missing_model`, `corrupt_model`: its name."""
    above: int | None = None
    """`out_of_memory`: only for more pixels than this (width x height x batch x frames)."""
    exception_type: str = "RuntimeError"
    """`raise`: the class name on the wire."""
    message: str | None = None
    """`raise`, `out_of_memory`, `block`: what it says."""
    bytes: int = 12_000_000
    """`huge_error`: how long its message is."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadInputError(f"kind is {self.kind!r}; it must be one of {_listed(KINDS)}")
        for name in ("job", "post", "step"):
            self._at_least(name, 1)
        for name in ("after", "times", "restart", "seconds", "retry_after", "above", "bytes"):
            self._at_least(name, 0)
        self._at_least("bytes_per_second", 1)
        for name in NEEDS.get(self.kind, ()):
            if getattr(self, name) is None:
                raise BadInputError(f"{name} is missing; a {self.kind!r} fault needs it")
        if self.status not in HTTP_STATUSES:
            raise BadInputError(f"status is {self.status!r}; it must be 500, 502 or 503")
        if self.kind == "http_error" and self.post is None and self.path is None:
            raise BadInputError(
                "post and path are missing; an 'http_error' fault needs one of them"
            )
        if self.kind == "slow" and self.seconds is None and self.bytes_per_second is None:
            raise BadInputError(
                "seconds and bytes_per_second are missing; a 'slow' fault needs one of them"
            )

        self._check_triggers()

    def _check_triggers(self) -> None:
        allowed = TRIGGERS[self.place]
        if self.kind == "missing_node":
            allowed |= {"node"}
        for name in ("job", "post", "node", "step", "path"):
            if getattr(self, name) is not None and name not in allowed:
                given = f"{name} is {getattr(self, name)!r}"
                raise BadInputError(
                    f"{given}; this {self.kind!r} fault can only be triggered by {_listed(allowed)}"
                )

    def _at_least(self, name: str, lowest: int) -> None:
        value = getattr(self, name)
        if value is not None and value < lowest:
            raise BadInputError(f"{name} is {value!r}; it must be {lowest} or more")

    @property
    def limit(self) -> int:
        """How often it happens; 0 is always."""
        if self.times is not None:
            return self.times
        return 0 if self.kind in STANDING or self.kind == "slow" else 1

    @property
    def place(self) -> str:
        """Where it strikes: a `Point.place`."""
        if self.kind in STANDING:
            return "standing"
        if self.kind in AT_SAVE:
            return "before_save" if self.kind == "disk_full" else "after_save"
        if self.kind in AT_REQUEST:
            return "request"
        if self.kind in WHOLE_PROCESS:
            if self.post is not None or self.path is not None:
                return "request"
            if self.after is not None and (self.job, self.node, self.step) == (None, None, None):
                return "clock"
        return "node" if self.step is None else "step"


@dataclass(frozen=True, slots=True)
class Fired:
    """A fault that happened."""

    at: float
    """Seconds since the first start."""
    kind: str
    what: str
    """Where it struck, in words."""


def load_faults(source: Path | str) -> tuple[Fault, ...]:
    """Read faults from a TOML file, or from TOML text.

    A string is taken for text if it holds a line break or a ``[``, otherwise
    for a path.

    Raises:
        BadInputError: the file, a table or a field cannot be understood; the
            message says which, and what would be right.
    """
    if isinstance(source, Path) or not ("\n" in source or "[" in source or not source):
        try:
            source = Path(source).read_text(encoding="utf-8")
        except OSError as error:
            raise BadInputError(f"cannot read faults from {source}: {error}") from error
    try:
        document = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise BadInputError(f"faults are not valid TOML: {error}") from error
    unknown = sorted(set(document) - {"fault"})
    if unknown:
        raise BadInputError(f"unknown table {unknown[0]!r}; faults are [[fault]] tables")
    tables = document.get("fault", [])
    if not isinstance(tables, list):
        raise BadInputError("fault is one table; write [[fault]] with two brackets")
    return tuple(_read(table, number) for number, table in enumerate(tables, start=1))


_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "str": ((str,), "text in quotes"),
}


def _read(table: Any, number: int) -> Fault:
    where = f"fault {number}"
    if not isinstance(table, dict):
        raise BadInputError(f"{where} is {table!r}; it must be a [[fault]] table")
    if "kind" not in table:
        raise BadInputError(f"{where}: kind is missing; it must be one of {_listed(KINDS)}")
    fields = {field.name: str(field.type).removesuffix(" | None") for field in _FIELDS}
    for name, value in table.items():
        if name not in fields:
            raise BadInputError(f"{where}: unknown field {name!r}; known are {_listed(fields)}")
        types, words = _TYPES[fields[name]]
        if not isinstance(value, types) or isinstance(value, bool):
            raise BadInputError(f"{where}: {name} is {value!r}; it must be {words}")
    try:
        return Fault(**table)
    except BadInputError as error:
        raise BadInputError(f"{where}: {error}") from None


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))


_FIELDS = dataclasses.fields(Fault)
