"""`classify`: one error, an exception or what is known of it, and what it means.

The text decides before the class does, and a cause before an error that only wraps it:

- Exhausted memory anywhere among an error's causes is what it is about.
- A rule that only guesses by the class gives way to one that understood a cause.
- A group counts as its worst leaf: lasting before transient, then by severity; a cancellation among
  its leaves wins, because somebody asked to stop.
- Holdfast's own errors, and any that carry an `ErrorCategory` as ``category``, keep it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
from functools import lru_cache
from typing import Any

from holdfast.errors import (
    BadInputError,
    ErrorCategory,
    ErrorSeverity,
    FallbackChainExhaustedError,
    HoldfastError,
    SuggestedRecovery,
)
from holdfast.system.classification.answer import Classification
from holdfast.system.classification.plugins import Plugins
from holdfast.system.classification.report import (
    class_marks,
    http_of,
    marks_of,
    message_of,
    name_marks,
    read,
)
from holdfast.system.classification.rule import Rule
from holdfast.system.classification.rulebook import Rulebook
from holdfast.system.classification.tables import RULES
from holdfast.system.classification.words import HEAD, TAIL, clipped

DEPTH = 16
"""Causes of an error that are looked at."""
LEAVES = 256
"""Leaves of a group that are looked at."""
REMEMBERED = 2_048
"""Answers kept, for messages of up to `SHORT` characters."""
SHORT = 400

_ENDING = re.compile(r"^.*[.:](?=\w+$)")
"""What stands before the last part of a dotted name."""
_SEVERITIES = list(ErrorSeverity)
_STOP = (
    asyncio.CancelledError,
    concurrent.futures.CancelledError,
    KeyboardInterrupt,
    SystemExit,
    GeneratorExit,
)
_STOPPED = Classification(
    ErrorCategory.UNKNOWN,
    ErrorSeverity.LOW,
    transient=False,
    suggested_recovery=SuggestedRecovery.NONE,
    reason="somebody asked to stop",
)
_UNKNOWN = Classification(
    ErrorCategory.UNKNOWN,
    ErrorSeverity.MEDIUM,
    transient=False,
    suggested_recovery=SuggestedRecovery.RETRY,
    reason="no rule fits",
)
_OWN: dict[ErrorCategory, tuple[ErrorSeverity, bool, SuggestedRecovery]] = {
    ErrorCategory.NETWORK: (ErrorSeverity.LOW, True, SuggestedRecovery.WAIT_AND_RETRY),
    ErrorCategory.MEMORY: (ErrorSeverity.MEDIUM, True, SuggestedRecovery.FREE_MEMORY),
    ErrorCategory.VALIDATION: (ErrorSeverity.MEDIUM, False, SuggestedRecovery.FIX_REQUEST),
    ErrorCategory.MODEL: (ErrorSeverity.HIGH, False, SuggestedRecovery.DOWNLOAD_MODEL),
    ErrorCategory.WORKFLOW: (ErrorSeverity.HIGH, False, SuggestedRecovery.FIX_REQUEST),
    ErrorCategory.SYSTEM: (ErrorSeverity.CRITICAL, False, SuggestedRecovery.RESTART_SERVER),
    ErrorCategory.UNKNOWN: (ErrorSeverity.MEDIUM, False, SuggestedRecovery.RETRY),
}

book = Rulebook(RULES)
plugins = Plugins(book.add)

_Answer = tuple[Classification, bool]
"""What is answered, and whether it is only a guess."""


def classify(
    error: BaseException | None = None,
    *,
    exception_type: str | type[BaseException] | None = None,
    message: str | bytes = "",
    node_type: str | None = None,
    http_status: int | None = None,
) -> Classification:
    """What an error means: category, severity, whether it may pass, and the best first step.

    Args:
        error: the exception. What follows adds to it, or stands alone.
        exception_type: the class or its name, with or without its module.
        message: what it says; bytes are decoded as UTF-8, and what cannot be is replaced.
        node_type: the type of the ComfyUI node that failed.
        http_status: the HTTP status that came with it.

    Raises:
        BadInputError: an argument is of the wrong type; never because of what the error is like.
    """
    message = _checked(error, exception_type, message, node_type, http_status)
    if not plugins.loaded:
        plugins.load()
    node = (node_type or "")[:200]
    if error is not None:
        return _of_error(error, message, node, http_status)
    if isinstance(exception_type, type):
        names = class_marks(exception_type)
    else:
        names = name_marks((exception_type or "")[:300])
        if exception_type and not (names and message.strip()):
            # A name is all there is to read, or it is none of a class but part of the text.
            message = f"{_ENDING.sub('', exception_type[:300])}\n{message}"
    return _of_parts(names, message, node, http_status)[0]


def add_rule(rule: Rule, *, before: str | None = None) -> None:
    """Put a rule before the one of the name ``before``, or before all others.

    Raises:
        BadInputError: it is no rule, its name is taken, or there is no rule ``before``.
    """
    book.add(rule, before=before)


def remove_rule(name: str) -> None:
    """Take the rule of that name out.

    Raises:
        BadInputError: there is no rule of that name.
    """
    book.remove(name)


def rules() -> tuple[Rule, ...]:
    """All rules in the order in which they are asked."""
    if not plugins.loaded:
        plugins.load()
    return book.rules


def _checked(
    error: Any, exception_type: Any, message: Any, node_type: Any, http_status: Any
) -> str:
    if error is not None and not isinstance(error, BaseException):
        raise BadInputError(f"error must be an exception or None, got {_shown(error)}")
    text: str
    if isinstance(message, str):
        text = message
    elif isinstance(message, bytes | bytearray):
        text = _decoded(bytes(message))
    else:
        raise BadInputError(f"message must be a text or bytes, got {_shown(message)}")
    if node_type is not None and not isinstance(node_type, str):
        raise BadInputError(f"node_type must be a text or None, got {_shown(node_type)}")
    if http_status is not None and (
        not isinstance(http_status, int)
        or isinstance(http_status, bool)
        or not 100 <= http_status <= 599
    ):
        raise BadInputError(
            f"http_status must be a whole number from 100 to 599 or None, got {_shown(http_status)}"
        )
    if exception_type is not None and not (
        isinstance(exception_type, str)
        or (isinstance(exception_type, type) and issubclass(exception_type, BaseException))
    ):
        raise BadInputError(
            "exception_type must be a class of exceptions, the name of one, or None, "
            f"got {_shown(exception_type)}"
        )
    return text


def _decoded(raw: bytes) -> str:
    if len(raw) > 2 * HEAD:
        raw = raw[:HEAD] + b"\n" + raw[-TAIL:]
    return raw.decode("utf-8", "replace")


def _shown(value: object) -> str:
    try:
        return f"{value!r:.100}"
    except Exception:  # noqa: BLE001 - whatever a stranger's __repr__ does
        return f"a {type(value).__name__}"


def _of_parts(names: str, message: str, node: str, http: int | None, extra: str = "") -> _Answer:
    if len(message) > SHORT:
        return _decide(names, clipped(message), node, http, extra)
    return _remembered(book.edition, names, message, node, http, extra)


@lru_cache(maxsize=REMEMBERED)
def _remembered(  # noqa: PLR0917 - one argument a part of the key, and calls by name are slower
    edition: int,  # noqa: ARG001 - answers of an earlier edition are no longer found
    names: str,
    message: str,
    node: str,
    http: int | None,
    extra: str,
) -> _Answer:
    return _decide(names, message, node, http, extra)


def _decide(names: str, message: str, node: str, http: int | None, extra: str) -> _Answer:
    answer = book.decide(read(names, message, node, http, extra))
    if (answer is None or answer[1]) and 'File "' in message:
        # The error itself says nothing, so where it happened may.
        answer = book.decide(read(names, message, node, http, extra, frames=True)) or answer
    return answer or (_UNKNOWN, True)


def _of_error(error: BaseException, message: str, node: str, http: int | None) -> Classification:
    if isinstance(error, BaseExceptionGroup):
        return _worst(error, message, node, http)
    if isinstance(error, _STOP):
        return _STOPPED
    answer, guessed = _of_one(error, message, node, http)
    cause = _cause(error)
    if cause is None or answer.category is ErrorCategory.MEMORY:
        return answer
    seen = {id(error)}
    while cause is not None and id(cause) not in seen and len(seen) < DEPTH:
        seen.add(id(cause))
        if isinstance(cause, BaseExceptionGroup):
            return _worst(cause, "", node, http) if guessed else answer
        if not isinstance(cause, _STOP):
            of_cause, also_guessed = _of_one(cause, "", node, None)
            if of_cause.category is ErrorCategory.MEMORY and not isinstance(error, HoldfastError):
                return of_cause
            if guessed and (not also_guessed or answer is _UNKNOWN):
                answer, guessed = of_cause, also_guessed
        cause = _cause(cause)
    return answer


def _of_one(error: BaseException, message: str, node: str, http: int | None) -> _Answer:
    kind = type(error)
    said = message_of(error)
    if len(said) > SHORT:
        said = clipped(said)
    if not said.strip():
        said = kind.__name__
    if message:
        said = f"{message}\n{said}"
    if http is None:
        http = http_of(error)
    if not node:
        own_node = _plain(error, "node_type")
        node = own_node[:200] if isinstance(own_node, str) else ""
    answer = _of_parts(class_marks(kind), said, node, http, marks_of(error))
    own = _plain(error, "category")
    if isinstance(own, ErrorCategory) and own is not answer[0].category:
        severity, transient, recovery = _OWN[own]
        return Classification(own, severity, transient, recovery, "the error says so itself"), False
    return answer


def _plain(owner: object, name: str) -> Any:
    try:
        return getattr(owner, name, None)
    except Exception:  # noqa: BLE001 - a property of a stranger
        return None


def _cause(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None:
        return error.__cause__
    if isinstance(error, FallbackChainExhaustedError) and error.errors:
        return next(reversed(error.errors.values()))
    return None if error.__suppress_context__ else error.__context__


def _worst(
    group: BaseExceptionGroup[Any], message: str, node: str, http: int | None
) -> Classification:
    worst: Classification | None = None
    waiting: list[BaseException] = [group]
    left = LEAVES
    while waiting and left:
        part = waiting.pop()
        if isinstance(part, BaseExceptionGroup):
            waiting.extend(part.exceptions[:LEAVES])
            left -= 1
            continue
        left -= 1
        found = _of_error(part, message, node, http)
        if found is _STOPPED:
            return found
        if worst is None or _badness(found) > _badness(worst):
            worst = found
    return worst or _UNKNOWN


def _badness(one: Classification) -> tuple[bool, int]:
    return not one.transient, _SEVERITIES.index(one.severity)
