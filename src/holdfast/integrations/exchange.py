"""One HTTP request and every answer to it: the rules all client integrations share.

- A status that counts as a failure becomes a `ResponseFailure` inside the pipeline,
  so that retries and breakers see it. When they give up, the caller gets the last
  response all the same, as from the bare library.
- Only what may be repeated is repeated: an idempotent method, or a request with an
  `Idempotency-Key`, whose body is in memory. Anything else is sent once.
- Every response but the one handed out is closed: before the next attempt, at the
  end, or when it comes after the caller has gone on.

Nothing here does I/O or knows a library; what is to be closed is said, not done.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast

from holdfast.errors import BadInputError, ErrorCategory, HoldfastError, RejectedError
from holdfast.integrations.hosts import Guards, Hosts
from holdfast.outcome import Err, Outcome
from holdfast.pipeline.compose import raise_error
from holdfast.policies import checks
from holdfast.policies.retry_after import read
from holdfast.policies.scope import child, current_scope, enter, leave
from holdfast.ports import ambient

R = TypeVar("R")

FAILED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that say "not now" or "something broke here", rather than "your request is wrong"."""
IDEMPOTENT_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"})
"""Methods whose effect is the same however often they are carried out (RFC 9110, 9.2.2)."""
SMALL = 65_536
"""Longest body of a failed response, in bytes, that is read at once to free its connection."""


class ResponseFailure(HoldfastError, ConnectionError):  # noqa: N818  # the response is what failed
    """A response whose status counts as a failure; callers get the response, policies get this."""

    category = ErrorCategory.NETWORK

    def __init__(self, status: int, response: Any, retry_after: float | None = None) -> None:
        super().__init__(f"the server answered with status {status}")
        self.status = status
        self.response = response
        """As the library made it."""
        self.retry_after = retry_after
        """Seconds the server asked to wait, or None."""


class ConnectionFailedError(ConnectionError):
    """What a library's own network error also is inside a pipeline, so that defaults know it."""

    original: Exception


class CallersOwnError(RejectedError):
    """What the caller did: a request that cannot be sent, or a time limit around all attempts.

    It is no failure of any server, and not worth repeating.
    """

    def __init__(self, original: Exception) -> None:
        super().__init__(str(original))
        self.original = original


@lru_cache(maxsize=64)
def _twin(kind: type[Exception]) -> type[ConnectionFailedError]:
    return cast(
        "type[ConnectionFailedError]", type(kind.__name__, (kind, ConnectionFailedError), {})
    )


def as_connection_error(error: Exception) -> Exception:
    """The error, as an instance of its own class and of `ConnectionError`.

    A policy's default ``on`` then matches it, and so does one that names the library's type.
    """
    if isinstance(error, OSError):
        return error
    # mypy holds that classes of exceptions cannot be hashed.
    kind = _twin(cast("Any", type(error)))
    twin = kind.__new__(kind)
    twin.args = error.args
    twin.__dict__.update(error.__dict__)
    twin.original = error
    return twin


class Protection:
    """A client's pipelines and rules."""

    __slots__ = ("failed_statuses", "hosts", "retry_unsafe")

    def __init__(
        self,
        pipeline: Guards,
        *,
        failed_statuses: Collection[int] = FAILED_STATUSES,
        retry_unsafe: bool = False,
        per_host: bool = False,
        max_hosts: int = 256,
    ) -> None:
        given: Any = failed_statuses
        if not isinstance(given, Collection):
            raise BadInputError(f"failed_statuses must be some statuses, got {given!r:.100}")
        for status in failed_statuses:
            checks.number("failed_statuses", status, at_least=100, at_most=599)
            checks.whole("failed_statuses", status, at_least=100)
        checks.flag("retry_unsafe", retry_unsafe)
        self.failed_statuses = frozenset(failed_statuses)
        self.retry_unsafe = retry_unsafe
        self.hosts = Hosts(pipeline, per_host=per_host, max_hosts=max_hosts)

    def repeatable(self, method: str, headers: Mapping[str, str], *, in_memory: bool) -> bool:
        """Whether a request may be sent more than once."""
        return in_memory and (
            self.retry_unsafe
            or method.upper() in IDEMPOTENT_METHODS
            or headers.get("Idempotency-Key") is not None
        )


class Exchange(Generic[R]):
    """One request on its way, and the responses it has had."""

    __slots__ = (
        "_error",
        "_failed",
        "_failed_statuses",
        "_kept",
        "_lock",
        "_over",
        "_repeatable",
        "_sent",
        "_winner",
    )

    def __init__(self, failed_statuses: frozenset[int], *, repeatable: bool) -> None:
        self._failed_statuses = failed_statuses
        self._repeatable = repeatable
        self._lock = threading.Lock()
        self._kept: list[R] = []
        self._failed: list[R] = []
        self._sent = self._over = False
        self._error: Exception | None = None
        self._winner: R | None = None

    @contextmanager
    def governed(self) -> Iterator[None]:
        """Around the pipeline: retries in it run once if the request is to be sent once."""
        if self._repeatable:
            yield
            return
        scope = child(current_scope())
        scope.folds = True
        mark = enter(scope)
        try:
            yield
        finally:
            scope.live = False
            leave(mark)

    def begin(self) -> list[R]:
        """Begin an attempt; close what this returns before sending.

        Raises:
            RejectedError: the request is to be sent once, and was.
        """
        with self._lock:
            if self._sent and not self._repeatable:
                raise RejectedError("this request is not repeated: it may have been carried out")
            self._sent = True
            # Only these: in a race, a good response may have come this very moment.
            superseded, self._failed = self._failed, []
            self._kept = [one for one in self._kept if not _among(superseded, one)]
        return superseded

    def fault(self, error: Exception, own: tuple[type[Exception], ...] = ()) -> Exception:
        """What to raise in the pipeline for an error of the library.

        Args:
            error: the library's.
            own: types that are the caller's own doing.
        """
        if isinstance(error, own):
            return CallersOwnError(error)
        if not self._repeatable:
            self._error = error
        return as_connection_error(error)

    def keep(self, response: R) -> bool:
        """Take a response in; False if the caller has gone on, and it is to be closed."""
        with self._lock:
            if not self._over:
                self._kept.append(response)
            return not self._over

    def judge(self, response: R, status: int, headers: Mapping[str, str]) -> R:
        """The response, if its status is no failure.

        Raises:
            ResponseFailure: it is.
        """
        if status not in self._failed_statuses:
            return response
        with self._lock:
            self._failed.append(response)
        raise ResponseFailure(status, response, read(headers.get("Retry-After"), ambient.wall()))

    def conclude(self, outcome: Outcome[R] | None) -> list[R]:
        """End it (None: it was interrupted), and say which responses to close."""
        with self._lock:
            self._over = True
            kept, self._kept = self._kept, []
        if outcome is not None:
            if outcome.error is None:
                self._winner = outcome.value
            elif isinstance(outcome.error, ResponseFailure | RejectedError) and kept:
                # A breaker may have refused the repetition: the last real answer says more.
                told = getattr(outcome.error, "response", None)
                self._winner = told if _among(kept, told) else kept[-1]
        return [response for response in kept if response is not self._winner]

    def answer(self, outcome: Outcome[R]) -> R:  # noqa: RET503  # `raise_error` never returns
        """The response to hand out.

        Raises:
            Exception: the library's own error, or Holdfast's, when there is none.
        """
        error = outcome.error
        if error is None or self._winner is not None:
            return cast("R", self._winner)
        told = error
        if isinstance(error, ConnectionFailedError | CallersOwnError):
            told = error.original
        elif isinstance(error, RejectedError):
            # One rejection may serve many callers; each must get a traceback of its own.
            told = self._error or copy.copy(error)
        if told is not error:
            for name in ("__notes__", "__holdfast__"):
                if hasattr(error, name):
                    setattr(told, name, getattr(error, name))
        failure = Err(told)
        del error, told, outcome
        self._error = None
        raise_error(failure)


def is_small(headers: Mapping[str, str]) -> bool:
    """Whether a response says that its body is small."""
    length = headers.get("Content-Length", "")
    return length.isascii() and length.isdigit() and len(length) < 10 and int(length) <= SMALL


def _among(responses: list[R], one: object) -> bool:
    # By identity: what equality means for a response is the library's affair.
    return any(response is one for response in responses)
