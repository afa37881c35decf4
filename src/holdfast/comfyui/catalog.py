"""The node classes a server knows, read from its `/object_info`.

What a workflow may say depends on the server: which classes there are, which
inputs they take in which order, which models are on its disk. A `Catalog` is
that answer as a value. It may come from a live server or from a file, and it
is never trusted: what is not shaped as ComfyUI shapes it is left out.
"""

from __future__ import annotations

import difflib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from holdfast.errors import BadInputError

MAX_FILE_BYTES = 256 * 2**20
"""A catalog file larger than this, packed or unpacked, is not read; servers with hundreds of
packs send 10 MB."""

_GZIP = b"\x1f\x8b"

PLAIN_TYPES = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN"})
"""Types of values written into the workflow itself."""

COMBO = "COMBO"
"""The type of an input that takes one of a list of values."""

ANY = "*"
"""The type that fits every other."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input of a node class."""

    name: str
    type: str
    """``INT``, ``MODEL``, ...; ``COMBO`` for a list of values, whichever way it was written."""
    required: bool
    options: Mapping[str, Any]
    """As the server gave them: ``default``, ``min``, ``max``, ``step``, ``forceInput``, ..."""
    choices: tuple[Any, ...] | None = None
    """The values a COMBO takes; None for other types, and for lists asked for elsewhere."""

    @property
    def is_plain(self) -> bool:
        """Whether a value is written into the workflow, unless it is linked."""
        forced = self.options.get("forceInput") is True
        return (self.type in PLAIN_TYPES or self.type == COMBO) and not forced

    @property
    def default(self) -> Any:
        """What the page fills in, None if nothing is known."""
        if "default" in self.options:
            return self.options["default"]
        return self.choices[0] if self.choices else None

    @property
    def minimum(self) -> float | None:
        """The smallest number the server takes."""
        return self._number("min")

    @property
    def maximum(self) -> float | None:
        """The largest number the server takes."""
        return self._number("max")

    @property
    def step(self) -> float | None:
        """The step the page offers; the server does not enforce it."""
        return self._number("step")

    def _number(self, name: str) -> float | None:
        value = self.options.get(name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if number else None

    def accepts(self, produced: str) -> bool:
        """Whether an output of this type may be linked here, by the server's own rule."""
        if ANY in (self.type, produced):
            return True
        return bool(_parts(self.type) & _parts(produced))


@dataclass(frozen=True)
class NodeClass:
    """One node class."""

    name: str
    display_name: str
    inputs: Mapping[str, InputSpec]
    """In the server's order: required ones, then optional ones."""
    hidden: frozenset[str]
    outputs: tuple[str, ...]
    """Types, in order."""
    output_names: tuple[str, ...]
    output_is_list: tuple[bool, ...]
    output_node: bool
    """Whether it ends a branch: only branches with such a node run."""
    api_node: bool
    """Whether it calls a paid service."""
    category: str
    module: str
    """Where it comes from: ``nodes``, ``comfy_extras.x``, ``custom_nodes.pack``."""
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def required(self) -> tuple[InputSpec, ...]:
        """The inputs without which the server refuses the node."""
        return tuple(each for each in self.inputs.values() if each.required)


class Catalog(Mapping[str, NodeClass]):
    """Node classes by name. A value: nothing changes it."""

    def __init__(self, classes: Mapping[str, NodeClass]) -> None:
        self._classes = MappingProxyType(dict(classes))

    @classmethod
    def of(cls, given: Catalog | Mapping[str, Any] | str | Path) -> Catalog:
        """A catalog, whichever way it is given: itself, a parsed answer, or a file of one.

        Raises:
            BadInputError: this is none.
        """
        if isinstance(given, Catalog):
            return given
        return cls.load(given) if isinstance(given, str | Path) else cls.parse(given)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file that holds what a server answered to `/object_info`; gzip is unpacked.

        Raises:
            BadInputError: the file cannot be read, or is none.
        """
        path = Path(path)
        try:
            size = path.stat().st_size
            if size > MAX_FILE_BYTES:
                raise BadInputError(f"{path}: {size:,} bytes is too large for an object_info file")
            loaded = json.loads(_unpacked(path.read_bytes(), path))
        except OSError as error:
            reason = error.strerror or str(error)
            raise BadInputError(f"{path}: cannot read the object_info file: {reason}") from None
        except zlib.error as error:
            raise BadInputError(f"{path}: not a whole gzip file: {error}") from None
        except (ValueError, RecursionError) as error:
            raise BadInputError(f"{path}: not JSON: {error}") from None
        return cls.parse(loaded, source=str(path))

    @classmethod
    def parse(cls, loaded: Any, *, source: str = "object_info") -> Self:
        """Take the parsed answer of `/object_info`.

        Raises:
            BadInputError: it holds no node class.
        """
        if not isinstance(loaded, Mapping):
            what = type(loaded).__name__
            raise BadInputError(f"{source}: object_info is an object of node classes, not {what}")
        classes = {
            name: node
            for name, given in loaded.items()
            if isinstance(name, str) and (node := _node_class(name, given)) is not None
        }
        if not classes:
            raise BadInputError(
                f"{source}: no node class in it; it must hold what a server answers to /object_info"
            )
        return cls(classes)

    def __getitem__(self, name: str) -> NodeClass:
        """A class by name."""
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._classes)

    def __len__(self) -> int:
        """How many classes there are."""
        return len(self._classes)

    def nearest(self, name: str, *, count: int = 3) -> list[str]:
        """Classes that may be meant by an unknown name, the nearest first."""
        folded = self._folded
        close = difflib.get_close_matches(name.lower(), folded, n=count, cutoff=0.6)
        return [folded[each] for each in close]

    @cached_property
    def produced(self) -> frozenset[str]:
        """The types that some class makes."""
        outputs = (each for cls in self.values() for each in cls.outputs)
        return frozenset(part for each in outputs for part in _parts(each)) - {ANY}

    @cached_property
    def _folded(self) -> dict[str, str]:
        return {name.lower(): name for name in self._classes}


def _unpacked(raw: bytes, path: Path) -> bytes:
    if not raw.startswith(_GZIP):
        return raw
    # Never more than the limit in memory, however much a small file says it holds.
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    unpacked = stream.decompress(raw, MAX_FILE_BYTES + 1)
    if len(unpacked) > MAX_FILE_BYTES:
        raise BadInputError(
            f"{path}: unpacked, it is too large for an object_info file "
            f"(at most {MAX_FILE_BYTES:,} bytes)"
        )
    if not stream.eof:
        raise BadInputError(f"{path}: not a whole gzip file: its end is missing")
    return unpacked


def _parts(given: str) -> set[str]:
    return {part.strip() for part in given.split(",")}


def _node_class(name: str, given: Any) -> NodeClass | None:
    if not isinstance(given, Mapping) or not isinstance(given.get("input"), Mapping):
        return None
    groups = given["input"]
    order = given.get("input_order")
    inputs: dict[str, InputSpec] = {}
    for group in ("required", "optional"):
        listed = groups.get(group)
        if not isinstance(listed, Mapping):
            continue
        for each in _ordered(listed, order.get(group) if isinstance(order, Mapping) else None):
            spec = input_spec(each, listed[each], required=group == "required")
            if spec is not None:
                inputs[each] = spec
    hidden = groups.get("hidden")
    outputs = tuple(_type_name(each) for each in _list(given.get("output")))
    names = [each if isinstance(each, str) else "" for each in _list(given.get("output_name"))]
    lists = [each is True for each in _list(given.get("output_is_list"))]
    count = len(outputs)
    return NodeClass(
        name,
        _text(given.get("display_name")) or name,
        MappingProxyType(inputs),
        frozenset(hidden if isinstance(hidden, Mapping) else ()),
        outputs,
        tuple((names + list(outputs[len(names) :]))[:count]),
        tuple((lists + [False] * count)[:count]),
        given.get("output_node") is True,
        given.get("api_node") is True,
        _text(given.get("category")),
        _text(given.get("python_module")),
        given,
    )


def _ordered(listed: Mapping[str, Any], order: Any) -> list[str]:
    first = [each for each in _list(order) if isinstance(each, str) and each in listed]
    return [*dict.fromkeys(first), *(each for each in listed if each not in first)]


def input_spec(name: str, given: Any, *, required: bool) -> InputSpec | None:
    """One input as a server describes it, None if this is no description."""
    # Both ways of writing are in use: ["INT", {...}] and, rarely, "INT" alone.
    parts = given if isinstance(given, list) else [given]
    if not parts:
        return None
    kind = parts[0]
    options = parts[1] if len(parts) > 1 and isinstance(parts[1], Mapping) else {}
    if isinstance(kind, list):
        return InputSpec(name, COMBO, required, options, tuple(kind))
    if not isinstance(kind, str):
        return None
    choices = options.get("options") if kind == COMBO else None
    return InputSpec(name, kind, required, options, tuple(choices) if choices else None)


def _type_name(given: Any) -> str:
    # An output may be declared by its list of values, as some samplers' nodes do.
    return given if isinstance(given, str) else COMBO


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
