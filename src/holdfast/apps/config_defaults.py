"""`holdfast config defaults`: every setting with its default and its meaning, from the code itself.

The words are the docstrings under the fields, the values are the fields' own defaults, so neither
can differ from what the code does.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from holdfast.apps.exits import Exit
from holdfast.policies.breaker import CircuitBreaker
from holdfast.system.degradation import DegradationSettings, Thresholds
from holdfast.system.settings import (
    AnalyticsSettings,
    HistorySettings,
    RetrySettings,
    SystemSettings,
)

HEAD = (
    "# holdfast.toml: every table and setting of an ErrorHandlingSystem, with its default.\n"
    "# A setting without a value here has none; pipelines, budgets and breakers by name are in\n"
    "# docs/configuration.md. Made by: holdfast config defaults\n"
)
_TABLES: tuple[tuple[str, type[Any]], ...] = (
    ("system", SystemSettings),
    ("retry", RetrySettings),
    ("degradation", DegradationSettings),
    ("analytics", AnalyticsSettings),
    ("history", HistorySettings),
)


def print_defaults() -> int:
    """Print them all as TOML."""
    sys.stdout.write(defaults())
    return Exit.OK


def defaults() -> str:
    """All tables as TOML with comments."""
    parts = [HEAD]
    for name, kind in _TABLES:
        parts.append(f"\n[{name}]\n{''.join(_fields(name, kind))}")
        if name == "retry":
            parts.append(f"\n[circuit_breaker]\n{''.join(_breaker())}")
    return "".join(parts)


def _fields(table: str, kind: type[Any]) -> Iterator[str]:
    words = _docstrings(kind)
    for one in fields(kind):
        default = _default(one)
        if is_dataclass(default) and not isinstance(default, Thresholds):
            continue  # a table of its own
        if isinstance(default, dict):
            continue
        if table == "degradation" and one.name == "failures":
            default = None  # in a file, it has to be asked for
        yield _entry(one.name, default, words.get(one.name, ""))


def _breaker() -> Iterator[str]:
    told = inspect.getdoc(CircuitBreaker.__init__) or ""
    words, name = dict[str, str](), ""
    for line in told.partition("Args:")[2].partition("Raises:")[0].splitlines():
        head, colon, rest = line.strip().partition(": ")
        if colon and head.isidentifier():
            name = head
            words[name] = rest
        elif name and line.strip():
            words[name] += f" {line.strip()}"
    for name, parameter in inspect.signature(CircuitBreaker.__init__).parameters.items():
        if name in words and name != "name":
            default = parameter.default
            yield _entry(name, None if default == () else default, words[name])


def _entry(name: str, default: Any, words: str) -> str:
    text = " ".join(words.split())
    comment = "".join(f"# {line}\n" for line in textwrap.wrap(text, 92))
    if default is None:
        return f"{comment}# {name} =\n"
    return f"{comment}{name} = {_value(default)}\n"


def _value(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, Thresholds):
        rungs = ", ".join(map(str, default.degrade)), ", ".join(map(str, default.restore))
        return f"{{ degrade = [{rungs[0]}], restore = [{rungs[1]}] }}"
    if isinstance(default, str):
        return f'"{default}"'
    return f"{default:_}" if isinstance(default, int) and default >= 10_000 else str(default)


def _default(one: Field[Any]) -> Any:
    if one.default is not MISSING:
        return one.default
    return one.default_factory() if one.default_factory is not MISSING else None


def _docstrings(kind: type[Any]) -> dict[str, str]:
    """The text under each field of a dataclass."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for before, after in itertools.pairwise(body):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            found[before.target.id] = after.value.value
    return found
