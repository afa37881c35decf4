"""Who looks at a page, and what they may do there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from starlette.requests import HTTPConnection

Audit = Callable[[str, str, str, bool], object]
"""Told of an action: user, action, target, whether it was done."""


class Scope(StrEnum):
    """What a caller may be allowed to do here."""

    READ = "dashboard"
    """Open the dashboard, and see one's own jobs."""
    SUBMIT = "cancel"
    """Cancel and rank one's own jobs."""
    RUN = "run"
    """Retry one's own jobs, which runs them."""
    ADMIN = "admin"
    """See and handle everybody's jobs, servers, breakers and levels."""


class Caller(Protocol):
    """Who was let through, as the gateway leaves it in ``request.state.caller``."""

    @property
    def user(self) -> str:
        """Whose jobs are their own."""
        ...

    def can(self, scope: str, /) -> bool:
        """Whether they may do what the scope names; asked anew at every action."""
        ...


Renew = Callable[[Any], "Caller | None"]
"""What a caller may now, some time after they were let through; None if nothing any more."""


Admit = Callable[[Any], Awaitable[None]]
"""Asked before a caller's job is queued again; raises `BadInputError` where a quota is used up."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """A caller as the pages ask it."""

    caller: Caller | None = None
    """None where nobody is asked for a key: then everything is allowed."""
    renew: Renew | None = None
    """Asked before each answer, because a page stays open while its key is taken away."""

    def can(self, scope: Scope) -> bool:
        """Whether this visitor may do that now."""
        if self.caller is None:
            return True
        caller = self._by_now
        return caller is not None and bool(caller.can(scope.value) or caller.can(Scope.ADMIN.value))

    @property
    def _by_now(self) -> Caller | None:
        if self.caller is None or self.renew is None:
            return self.caller
        return self.renew(self.caller)

    @property
    def name(self) -> str:
        """How to call them in the audit log."""
        return "" if self.caller is None else str(self.caller.user)

    @property
    def only(self) -> str | None:
        """The one user whose jobs they may see; None if they may see everybody's."""
        return None if self.can(Scope.ADMIN) else self.name

    @property
    def top_priority(self) -> int | None:
        """The highest priority they may give a job; None for any."""
        found = getattr(getattr(self._by_now, "quotas", None), "top_priority", None)
        return found if isinstance(found, int) else None

    def why_not(self, scope: Scope) -> str:
        """Why an action is not theirs; empty if it is."""
        return "" if self.can(scope) else f"Your key has not the scope “{scope.value}”"


def visitor_of(connection: HTTPConnection, renew: Renew | None = None) -> Visitor:
    """Who asks."""
    caller: Any = getattr(connection.state, "caller", None)
    return Visitor(caller, renew)
