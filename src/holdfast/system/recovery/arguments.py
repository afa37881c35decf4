"""One argument of a failed call, wherever it was given: by position, by name, or not at all."""

from __future__ import annotations

import inspect
from typing import Any, Final

from holdfast.system.recovery.context import RecoveryContext

MISSING: Final = object()
"""The call has no such argument."""


def value_of(context: RecoveryContext, name: str) -> Any:
    """The argument's value in the failed call, its default included, or `MISSING`."""
    if name in context.kwargs:
        return context.kwargs[name]
    place, default = _place(context, name)
    if place is not None and place < len(context.args):
        return context.args[place]
    return default


def with_value(
    context: RecoveryContext, name: str, value: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of the failed call with another value for one of them."""
    place, _ = _place(context, name)
    if name not in context.kwargs and place is not None and place < len(context.args):
        return (*context.args[:place], value, *context.args[place + 1 :]), dict(context.kwargs)
    return context.args, context.kwargs | {name: value}


def _place(context: RecoveryContext, name: str) -> tuple[int | None, Any]:
    """Where it stands among the positional arguments, and its default."""
    if context.operation is None:
        return None, MISSING
    try:
        parameters = inspect.signature(context.operation).parameters
    except (TypeError, ValueError):
        return None, MISSING  # written in C, without a signature
    parameter = parameters.get(name)
    if parameter is None:
        return None, MISSING
    default = MISSING if parameter.default is parameter.empty else parameter.default
    if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
        return None, default if parameter.kind is parameter.KEYWORD_ONLY else MISSING
    return list(parameters).index(name), default
