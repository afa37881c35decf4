"""Refusals of settings that cannot work, all in the same words.

Each names the field, says what is right and shows the value. NaN fails every
comparison, so each is written as "not what it should be".
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

from holdfast.errors import BadInputError


def number(
    field: str,
    value: Any,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    unit: str = "",
    finite: bool = True,
) -> None:
    """Refuse what is not a number in the range.

    Raises:
        BadInputError: naming the field, the range and the value.
    """
    limits = []
    if at_least is not None:
        limits.append(f"at least {at_least:g}")
    if above is not None:
        limits.append(f"above {above:g}")
    if at_most is not None:
        limits.append(f"at most {at_most:g}")
    if finite:
        limits.append("finite" if limits else "a finite number")
    right = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (isinstance(value, float) or not _endless(value))
        and (at_least is None or value >= at_least)
        and (above is None or value > above)
        and (at_most is None or value <= at_most)
        and not math.isnan(value)
        and (not finite or math.isfinite(value))
    )
    if not right:
        if finite and len(limits) > 1 and not _endless(value):
            limits.pop()
        told = " and ".join(limits)
        unit = f" {unit}" if unit else ""
        raise BadInputError(f"{field} must be {told}{unit}, got {_shown(value)}")


def _endless(value: Any) -> bool:
    """Whether a value is infinite, or too large to be reckoned with."""
    if isinstance(value, float):
        return math.isinf(value)
    return isinstance(value, int) and abs(value) > sys.float_info.max


def _shown(value: Any) -> str:
    """The value for people; a number of thousands of digits is not even writable."""
    if isinstance(value, int) and _endless(value):
        return f"a number of {value.bit_length()} bits"
    return repr(value)


def seconds(field: str, value: Any, *, zero: bool = False, optional: bool = False) -> None:
    """Refuse what is not a length of time.

    Raises:
        BadInputError: naming the field, the range and the value.
    """
    if optional and value is None:
        return
    if zero:
        number(field, value, at_least=0, unit="seconds")
    else:
        number(field, value, above=0, unit="seconds")


def whole(field: str, value: Any, *, at_least: int, optional: bool = False) -> None:
    """Refuse what is not a whole number of at least ``at_least``.

    Raises:
        BadInputError: naming the field, the range and the value.
    """
    if optional and value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        told = f"{field} must be a whole number of at least {at_least}"
        raise BadInputError(f"{told}, got {_shown(value)}")
    if _endless(value):
        raise BadInputError(f"{field} must be at most {sys.float_info.max}, got {_shown(value)}")


def flag(field: str, value: Any) -> None:
    """Refuse what is neither True nor False.

    Raises:
        BadInputError: naming the field and the value.
    """
    if not isinstance(value, bool):
        raise BadInputError(f"{field} must be True or False, got {value!r}")


def hook(field: str, value: Any) -> None:
    """Refuse what is neither None nor callable.

    Raises:
        BadInputError: naming the field and the value.
    """
    if value is not None and not callable(value):
        raise BadInputError(f"{field} must be a function or None, got {value!r}")


def label(field: str, value: Any) -> None:
    """Refuse what cannot be a name.

    Raises:
        BadInputError: naming the field and the value.
    """
    if not isinstance(value, str) or not value.strip() or len(value) > 200:
        raise BadInputError(f"{field} must be a text of 1 to 200 characters, got {value!r:.100}")


def instance(field: str, value: Any, kind: type, *, optional: bool = True) -> None:
    """Refuse what is not a ``kind``.

    Raises:
        BadInputError: naming the field, the kind and the value.
    """
    if optional and value is None:
        return
    if not isinstance(value, kind):
        raise BadInputError(f"{field} must be a {kind.__name__}, got {value!r:.100}")


def unused(given: Mapping[str, Any], without: str) -> None:
    """Refuse settings that mean nothing without another one; None is a setting not given.

    Raises:
        BadInputError: naming the field, its value, and what it needs.
    """
    for field, value in given.items():
        if value is not None:
            raise BadInputError(f"{field} needs {without} to matter, got {value!r}")
