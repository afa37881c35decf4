"""Which failures a policy is about: by exception type, predicate or category.

- Only `Exception` is ever matched. A group counts as its worst leaf: it matches
  "worth repeating" only if every leaf does, and "counts as a failure" if any does.
- Rejections by Holdfast itself are not matched by types they merely inherit
  from (a full queue is a `TimeoutError`, but says nothing about the dependency).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from holdfast.errors import BadInputError, DeadlineExceededError, ErrorCategory, RejectedError

Condition = (
    type[BaseException]
    | ErrorCategory
    | Callable[[BaseException], bool]
    | Iterable[type[BaseException] | ErrorCategory | Callable[[BaseException], bool]]
)
Test = Callable[[BaseException], bool]

_CATEGORIES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], ErrorCategory], ...]
_CATEGORIES = (
    (MemoryError, ErrorCategory.MEMORY),
    ((ConnectionError, TimeoutError), ErrorCategory.NETWORK),
    ((ValueError, TypeError), ErrorCategory.VALIDATION),
    (OSError, ErrorCategory.SYSTEM),
)


def categorise(error: BaseException) -> ErrorCategory:
    """The error's own `category`, or what its type alone tells."""
    own = getattr(error, "category", None)
    if isinstance(own, ErrorCategory):
        return own
    return next(
        (kind for types, kind in _CATEGORIES if isinstance(error, types)), ErrorCategory.UNKNOWN
    )


class Classifier:
    """Who tells the category of an error; the error-handling system puts a better one in place."""

    __slots__ = ("categorise",)

    def __init__(self) -> None:
        self.categorise: Callable[[BaseException], ErrorCategory] = categorise


classifier = Classifier()


def leaves(error: BaseException) -> Iterable[BaseException]:
    """The errors in a group, however deep; an error that is no group is its own leaf."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from leaves(part)
    else:
        yield error


def compile_condition(field: str, condition: Any) -> Test:
    """One test out of what a user may give for ``on`` and its like.

    Raises:
        BadInputError: it is not an exception type, a category, a predicate or some of them.
    """
    parts = condition if isinstance(condition, list | tuple | set | frozenset) else (condition,)
    types: list[type[BaseException]] = []
    others: list[Test] = []
    for part in parts:
        if isinstance(part, type) and issubclass(part, BaseException):
            if not issubclass(part, Exception):
                raise BadInputError(
                    f"{field} must name subclasses of Exception, got {part.__name__}: "
                    "cancellation and exits are never handled"
                )
            types.append(part)
        elif isinstance(part, ErrorCategory):
            others.append(_of_category(part))
        elif callable(part) and not isinstance(part, type):
            others.append(part)
        else:
            raise BadInputError(
                f"{field} must be exception types, ErrorCategory values or a predicate, "
                f"got {part!r}"
            )
    named = tuple(types)
    rejections = tuple(
        kind for kind in types if kind is Exception or issubclass(kind, RejectedError)
    )

    def matches(error: BaseException) -> bool:
        if isinstance(error, rejections if isinstance(error, RejectedError) else named):
            return True
        return any(test(error) for test in others)

    return matches


def refuse_empty(field: str, condition: Any, beside: str = "") -> None:
    """Refuse a collection of conditions that has none in it, and so matches nothing.

    Raises:
        BadInputError: naming the field, and what may stand ``beside`` it to make sense of that.
    """
    if isinstance(condition, list | tuple | set | frozenset) and not condition:
        unless = f" (or {beside} must be given)" if beside else ""
        raise BadInputError(f"{field} must name at least one failure{unless}, got {condition!r}")


def may_match_rejections(condition: Any) -> bool:
    """Whether a condition could match a rejection of ours; a predicate could match anything."""
    parts = condition if isinstance(condition, list | tuple | set | frozenset) else (condition,)
    return any(
        part is Exception
        or (issubclass(part, RejectedError) if isinstance(part, type) else callable(part))
        for part in parts
    )


def _of_category(category: ErrorCategory) -> Test:
    def matches(error: BaseException) -> bool:
        # A rejection of ours says nothing about the dependency, whatever it is a kind of.
        return not isinstance(error, RejectedError) and classifier.categorise(error) is category

    return matches


def every_leaf(test: Test, error: BaseException) -> bool:
    """Whether ``test`` holds for all leaves of a group, or for a plain error."""
    if not isinstance(error, BaseExceptionGroup):
        return isinstance(error, Exception) and test(error)
    return all(isinstance(leaf, Exception) and test(leaf) for leaf in leaves(error))


def any_leaf(test: Test, error: BaseException) -> bool:
    """Whether ``test`` holds for some leaf of a group, or for a plain error."""
    if not isinstance(error, BaseExceptionGroup):
        return isinstance(error, Exception) and test(error)
    return any(isinstance(leaf, Exception) and test(leaf) for leaf in leaves(error))


def counts_as_failure(error: BaseException) -> bool:
    """The default of breakers: everything but rejections, which prove nothing."""
    return not isinstance(error, RejectedError) or isinstance(error, DeadlineExceededError)
