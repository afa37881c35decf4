"""What a recovery strategy is: it says when it applies, acts, and proves that it helped.

No strategy ever claims a success: it acts in ``apply``, and it is the answer True of ``verify``,
asked afterwards, that counts. Subclass `Strategy`, or write any object with the same names.
"""

from __future__ import annotations

from collections.abc import Awaitable, Hashable
from typing import Any, Protocol, runtime_checkable

from holdfast.error_info import ErrorInfo
from holdfast.errors import BadInputError
from holdfast.policies import checks
from holdfast.system.recovery.context import RecoveryContext


@runtime_checkable
class StrategyLike(Protocol):
    """What `RecoveryProcedure` needs. ``key``, ``shared`` and ``adjust`` may be missing."""

    name: str
    timeout: float
    cooldown: float

    def applies(self, error: ErrorInfo, context: RecoveryContext) -> bool | Awaitable[bool]:
        """Whether there is any sense in trying."""
        ...

    def apply(self, error: ErrorInfo, context: RecoveryContext) -> Any:
        """Act."""
        ...

    def verify(self, error: ErrorInfo, context: RecoveryContext) -> bool | Awaitable[bool]:
        """Whether it helped."""
        ...


class Strategy:
    """One way to mend something. Each method may be `def` or `async def`.

    A plain ``def`` runs in a thread of its own, with the caller's context variables, so that it
    can be left behind when its time is up.
    """

    name: str
    """Unique among the strategies of a category; for history, rates and events."""
    timeout: float = 30.0
    """Seconds that each of the steps may take."""
    cooldown: float = 30.0
    """Seconds after a run in which it is not run again for the same dependency."""
    shared: bool = True
    """Whether it mends something that all calls to the dependency share. Then one run serves all
    failures of the moment, and ``apply`` cannot change a single call; ``adjust`` can. False: it
    changes one call, and each failure has its own run."""

    def __init__(
        self,
        *,
        name: str | None = None,
        timeout: float | None = None,
        cooldown: float | None = None,
    ) -> None:
        """Set what is to differ from the class.

        Args:
            name: default: the class's ``name``, or else the name of the class.
            timeout: seconds for each step.
            cooldown: seconds between runs.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        self.name = name if name is not None else getattr(type(self), "name", type(self).__name__)
        if timeout is not None:
            self.timeout = timeout
        if cooldown is not None:
            self.cooldown = cooldown
        check_strategy(self)

    @property
    def key(self) -> Hashable:
        """What tells its runs for one dependency apart from those of other strategies."""
        return self.name

    def applies(self, error: ErrorInfo, context: RecoveryContext) -> bool | Awaitable[bool]:  # noqa: ARG002
        """Whether there is any sense in trying; quick, and without effect."""
        return True

    def apply(self, error: ErrorInfo, context: RecoveryContext) -> Any:
        """Act. What it returns is ignored; what it raises is a failure."""
        raise NotImplementedError(f"{type(self).__name__} must say what it does")

    def verify(self, error: ErrorInfo, context: RecoveryContext) -> bool | Awaitable[bool]:
        """Whether it helped: True, and nothing else, is a success."""
        raise NotImplementedError(f"{type(self).__name__} must say how its effect is seen")

    def adjust(self, error: ErrorInfo, context: RecoveryContext) -> Any:
        """After a success, for each call that shares it: change this one call's retry."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def check_strategy(strategy: StrategyLike) -> None:
    """Refuse what is no strategy.

    Raises:
        BadInputError: naming what is missing or wrong.
    """
    for method in ("applies", "apply", "verify"):
        if not callable(getattr(strategy, method, None)):
            raise BadInputError(
                f"strategy must have a method {method}(error, context), got {strategy!r:.100}"
            )
    for setting in ("name", "timeout", "cooldown"):
        if not hasattr(strategy, setting):
            raise BadInputError(f"strategy must have {setting}, got {strategy!r:.100}")
    checks.label("name", strategy.name)
    checks.seconds("timeout", strategy.timeout)
    checks.seconds("cooldown", strategy.cooldown, zero=True)
    checks.flag("shared", getattr(strategy, "shared", True))
