"""Who calls, what they may do, and how much of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from holdfast.errors import BadInputError
from holdfast.policies import checks


class Scope(StrEnum):
    """One thing that a key may be good for."""

    VIEW = "view"
    """See servers, one's own jobs and files, and open the page."""
    RUN = "run"
    """Queue and retry jobs, upload files, save workflows."""
    CANCEL = "cancel"
    """Cancel, interrupt and forget one's own jobs."""
    DASHBOARD = "dashboard"
    """Open the dashboard, with servers, errors and one's own jobs."""
    ADMIN = "admin"
    """Everything, for all users: keys, audit, pausing, server settings."""


EVERY_SCOPE = frozenset(Scope)


def scopes_of(names: Iterable[str]) -> frozenset[Scope]:
    """Read names of scopes.

    Raises:
        BadInputError: there is no such scope, or none was given.
    """
    if isinstance(names, str):
        names = [names]
    try:
        found = frozenset(Scope(name) for name in names)
    except ValueError as error:
        known = ", ".join(Scope)
        raise BadInputError(f"scopes must be among {known}; {error}") from None
    if not found:
        raise BadInputError(f"scopes must be at least one of {', '.join(Scope)}, got none")
    return found


@dataclass(frozen=True, slots=True)
class Quotas:
    """How much a key may ask for; None is no limit."""

    max_queued: int | None = None
    """Jobs of its user waiting or running at once."""
    max_running: int | None = None
    """Jobs of its user running at once; of a user's keys the most generous counts."""
    jobs_per_hour: int | None = None
    """Jobs accepted in any hour."""
    top_priority: int | None = None
    """The highest priority its jobs may have."""

    def __post_init__(self) -> None:
        for name, least in (("max_queued", 0), ("max_running", 1), ("jobs_per_hour", 0)):
            checks.whole(name, getattr(self, name), at_least=least, optional=True)
        checks.whole("top_priority", self.top_priority, at_least=-(2**31), optional=True)
        for part in fields(self):
            value = getattr(self, part.name)
            if value is not None and value >= 2**31:
                raise BadInputError(f"{part.name} must be below {2**31}, got {value}")


UNLIMITED = Quotas()


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever made a request, once it is known that they may."""

    user: str
    scopes: frozenset[Scope]
    key_id: str
    """Empty where no key is asked for."""
    address: str
    quotas: Quotas = UNLIMITED

    def can(self, scope: Scope | str) -> bool:
        """Whether this caller may do what ``scope`` allows; an admin may everything."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def sees(self) -> str | None:
        """Whose jobs this caller sees: one user's, or None for those of all."""
        return None if self.can(Scope.ADMIN) else self.user


def caller_of(scope: Mapping[str, Any]) -> Caller | None:
    """The caller of an ASGI request, as the access check has found; None if it has not run."""
    found = (scope.get("state") or {}).get("caller")
    return found if isinstance(found, Caller) else None
