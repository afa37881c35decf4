"""Whether a call may be repeated, and how to find out what became of it.

A request whose answer was lost may have been carried out. Repeating it blindly
does the work twice; so a call declared not idempotent gets a key that stays the
same over all attempts, and a hook that looks the key up before each repetition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from holdfast.errors import BadInputError
from holdfast.policies import checks
from holdfast.ports import ambient


@dataclass(frozen=True, slots=True)
class Found:
    """The call was carried out; this is its result."""

    value: Any = None


class Lookup(Enum):
    """What a reconcile hook may say besides `Found`."""

    ABSENT = "absent"
    """The call was not carried out: repeat it."""
    UNKNOWN = "unknown"
    """Nobody can tell now: ask again later, do not repeat it."""


def random_key() -> str:
    """A key nobody else has: 106 random bits in hexadecimal."""
    return "".join(f"{int(ambient.chance() * 2**53):014x}" for _ in range(2))


@dataclass(frozen=True, slots=True)
class Idempotency:
    """How a call behaves when it is repeated."""

    safe: bool = True
    """Whether carrying it out twice is the same as once."""
    key: Callable[[], str] | None = None
    """Makes one key per call; read it in the call from `current_scope().key`."""
    reconcile: Callable[[str], Any] | None = None
    """Given the key, says `Found(value)`, `Lookup.ABSENT` or `Lookup.UNKNOWN`; may be async."""

    def __post_init__(self) -> None:
        """Refuse hooks that cannot be called.

        Raises:
            BadInputError: naming the field.
        """
        if not isinstance(self.safe, bool):
            raise BadInputError(f"safe must be True or False, got {self.safe!r}")
        checks.hook("key", self.key)
        checks.hook("reconcile", self.reconcile)

    @classmethod
    def unsafe(
        cls,
        *,
        reconcile: Callable[[str], Any] | None = None,
        key: Callable[[], str] | None = random_key,
    ) -> Idempotency:
        """A call that must not be carried out twice."""
        return cls(safe=False, key=key, reconcile=reconcile)

    def require_lookup(self, policy: str) -> None:
        """Refuse to repeat what must not be repeated.

        Raises:
            BadInputError: the call is not idempotent, and cannot be looked up.
        """
        if not self.safe and (self.key is None or self.reconcile is None):
            lacking = " and ".join(n for n in ("key", "reconcile") if getattr(self, n) is None)
            raise BadInputError(
                f"{policy} would repeat a call that is declared not idempotent: "
                f"idempotency needs {lacking}"
            )
