"""What makes two calls the same call.

Equal arguments of different types make different calls, because what is done
with 1 and with True, or with 1 and with 1.0, may differ.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from holdfast.errors import BadInputError


def key_of(
    name: str,
    key: Callable[..., Hashable] | None,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Hashable:
    """The key of a call in the cache of this name: made by the user's function if there is one.

    Raises:
        BadInputError: the key cannot be hashed.
    """
    made = key(*args, **kwargs) if key is not None else (identity(fn), *_told(args, kwargs))
    try:
        hash(made)
    except TypeError as error:
        told = getattr(fn, "__qualname__", type(fn).__name__)
        remedy = (
            "have key= return something hashable"
            if key is not None
            else "give key=, a function of the arguments that returns what tells calls apart"
        )
        raise BadInputError(
            f"cache {name!r}: a call of {told} has no key ({error}); {remedy}"
        ) from None
    return made


def identity(fn: Callable[..., Any]) -> Hashable:
    """What is called: the function itself, because names are shared by what is not the same.

    Lambdas, methods of two objects and wrappers of one function all have equal names.
    """
    if isinstance(fn, functools.partial):
        return (identity(fn.func), *_told(fn.args, fn.keywords))
    return fn


def _told(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Hashable, Hashable]:
    named = sorted(kwargs)
    return (
        tuple((type(arg), arg) for arg in args),
        tuple((word, type(kwargs[word]), kwargs[word]) for word in named),
    )
