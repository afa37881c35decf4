"""Settings as files have them, turned into what policies take.

- Whatever is wrong is refused with the full path of the setting, its value and
  what would be right; the nearest known name where a name is unknown.
- A file names things and never runs or imports any: exceptions come from the
  language, from Holdfast and from the ``names`` its reader gives; functions
  come from these names alone, written with an at-sign (``"@close_page"``).
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast import errors
from holdfast.errors import BadInputError, ErrorCategory
from holdfast.policies.backoff import Backoff
from holdfast.policies.budget import RetryBudget
from holdfast.policies.idempotency import Idempotency

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_CATEGORIES = frozenset(category.value for category in ErrorCategory)
_GROWTHS: dict[str, Callable[..., Backoff]] = {
    "exponential": Backoff.exponential,
    "linear": Backoff.linear,
    "fixed": Backoff.fixed,
    "custom": Backoff.custom,
    "none": Backoff.none,
}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest of the known names as a question, or all of them if none is near."""
    import difflib  # noqa: PLC0415  # only mistakes need it

    choices = sorted(known)
    near = difflib.get_close_matches(str(word), choices, 1)
    if near:
        return f"did you mean {near[0]}?"
    return f"there are {', '.join(choices)}" if choices else "there are none"


def at(path: str, key: str) -> str:
    """The path of a key in a table."""
    told = key if _BARE.fullmatch(key) else f'"{key[:200]}"'
    return f"{path}.{told}" if path else told


def a_table(path: str, value: Any) -> Mapping[str, Any]:
    """The value, if it is a table with text for keys.

    Raises:
        BadInputError: it is not.
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise BadInputError(f"{path or 'the configuration'} must be a table, got {value!r:.100}")
    return value


def a_text(path: str, value: Any) -> str:
    """The value, if it is a text that says something.

    Raises:
        BadInputError: it is not.
    """
    if not isinstance(value, str) or not value.strip() or len(value) > 200:
        raise BadInputError(f"{path} must be a text of 1 to 200 characters, got {value!r:.100}")
    return value


def only_known(path: str, table: Mapping[str, Any], known: Iterable[str], of: str) -> None:
    """Refuse a key that means nothing.

    Raises:
        BadInputError: naming the key by its path, its value, and the nearest right key.
    """
    known = tuple(known)
    for key, value in table.items():
        if key not in known:
            raise BadInputError(
                f"{at(path, key)} is no setting of {of}, got {value!r:.100}; "
                f"{did_you_mean(key, known)}"
            )


def parameters(make: Callable[..., Any]) -> dict[str, bool]:
    """The settings a constructor takes, by name, and whether each must be given."""
    import inspect  # noqa: PLC0415  # only configuration needs it

    return {
        name: parameter.default is parameter.empty
        for name, parameter in inspect.signature(make).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and not name.startswith("_")
    }


def build(
    path: str,
    make: Callable[..., Any],
    settings: Mapping[str, Any],
    of: str,
    *,
    aliases: Mapping[str, str] | None = None,
    also: Iterable[str] = (),
) -> Any:
    """What ``make`` makes of the settings; its refusals get the path in front.

    Args:
        path: of the settings.
        make: the constructor.
        settings: by name, converted already.
        of: what is made, in words.
        aliases: the name in the file for each field that is called otherwise inside.
        also: names the constructor takes without showing them in its signature.

    Raises:
        BadInputError: a setting is unknown, missing, wrong, or contradicts another.
    """
    known = parameters(make) | dict.fromkeys(also, False)
    only_known(path, settings, known, of)
    for name, needed in known.items():
        if needed and name not in settings:
            raise BadInputError(f"{at(path, name)} must be given: {of} cannot do without")
    try:
        return make(**settings)
    except (ValueError, TypeError) as error:
        raise blamed(path, error, known, aliases) from None


def blamed(
    path: str, error: Exception, known: Iterable[str], aliases: Mapping[str, str] | None = None
) -> BadInputError:
    """A refusal that begins with a field's name, with the path in front."""
    first, space, rest = str(error).partition(" ")
    first = (aliases or {}).get(first, first)
    where = f"{at(path, first)} " if space and first in known else f"{path}: {first}{space}"
    return BadInputError(f"{where}{rest}")


@dataclass(frozen=True, slots=True)
class Names:
    """What a file may call by name."""

    given: Mapping[str, Any] = field(default_factory=dict)
    """Functions, exception types and other objects, by the name the file has for them."""
    budgets: Mapping[str, RetryBudget] = field(default_factory=dict)
    """The file's own budgets."""

    def convert(self, path: str, key: str, value: Any) -> Any:
        """One setting of a policy, as its constructor takes it.

        Raises:
            BadInputError: it cannot be that.
        """
        match key:
            case "backoff":
                return self.backoff(path, value)
            case "budget":
                return self.budget(path, value)
            case "idempotency":
                return self.idempotency(path, value)
            case "on" | "exclude" | "rejected" | "dropped" | "stop_on" | "error":
                return self.condition(path, value)
            case "seconds" if isinstance(value, list):
                return tuple(value)
            case _:
                return self.plain(path, value)

    def plain(self, path: str, value: Any) -> Any:
        """The value, or the object it names with an at-sign; two at-signs stand for one."""
        if not isinstance(value, str) or not value.startswith("@"):
            return value
        name = value[1:]
        if name.startswith("@"):
            return name
        if name not in self.given:
            raise BadInputError(
                f"{path} must be one of the names given at loading, got {value!r:.100}; "
                f"{did_you_mean(name, self.given)}"
            )
        return self.given[name]

    def condition(self, path: str, value: Any) -> Any:
        """Exception types, categories and predicates out of one name or a list of them."""
        if isinstance(value, list | tuple):
            parts = [self._kind(f"{path}[{n}]", part) for n, part in enumerate(value)]
            return tuple(parts)
        return self._kind(path, value)

    def _kind(self, path: str, value: Any) -> Any:
        if not isinstance(value, str):
            raise BadInputError(
                f"{path} must be the name of an exception or a category, got {value!r:.100}"
            )
        if value.startswith("@"):
            return self.plain(path, value)
        if value in self.given:
            return self.given[value]
        if value in _CATEGORIES:
            return ErrorCategory(value)
        for source in (builtins, errors):
            found = getattr(source, value, None)
            if isinstance(found, type) and issubclass(found, Exception):
                return found
        known = [name for name in (*vars(builtins), *vars(errors)) if name.endswith("Error")]
        raise BadInputError(
            f"{path} must be the name of an exception or a category, got {value!r:.100}; "
            f"{_near(value, [*known, *_CATEGORIES, *self.given, 'Exception'])}"
        )

    def backoff(self, path: str, value: Any) -> Backoff:
        """Waits: a number of seconds, or a table with ``growth`` and what belongs to it."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return build(path, Backoff.fixed, {"delay": value}, "a wait")  # type: ignore[no-any-return]
        if isinstance(value, str) and value.startswith("@"):
            return self.plain(path, value)  # type: ignore[no-any-return]
        settings = dict(a_table(path, value))
        growth = settings.pop("growth", "exponential")
        if not isinstance(growth, str) or growth not in _GROWTHS:
            raise BadInputError(
                f"{at(path, 'growth')} must be {', '.join(_GROWTHS)}, got {growth!r:.100}"
            )
        for key, given in settings.items():
            settings[key] = self.plain(at(path, key), given)
        return build(path, _GROWTHS[growth], settings, f"{growth} waits")  # type: ignore[no-any-return]

    def budget(self, path: str, value: Any) -> RetryBudget:
        """A budget of the file, by name."""
        if isinstance(value, str) and value.startswith("@"):
            return self.plain(path, value)  # type: ignore[no-any-return]
        name = a_text(path, value)
        if name not in self.budgets:
            raise BadInputError(
                f"{path} must name one of the budgets of this configuration, got {value!r}; "
                f"{did_you_mean(name, self.budgets)}"
            )
        return self.budgets[name]

    def idempotency(self, path: str, value: Any) -> Idempotency:
        """Whether a call may be repeated: true, or a table with hooks by name."""
        if isinstance(value, bool):
            value = {"safe": value}
        if isinstance(value, str):
            return self.plain(path, value)  # type: ignore[no-any-return]
        table = a_table(path, value)
        settings = {key: self.plain(at(path, key), given) for key, given in table.items()}
        return build(path, Idempotency, settings, "idempotency")  # type: ignore[no-any-return]


def _near(word: str, known: Iterable[str]) -> str:
    """A question only: a list of all exceptions there are would help nobody."""
    told = did_you_mean(word, {str(name) for name in known})
    return told if told.startswith("did") else "others are called by a name given at loading"
