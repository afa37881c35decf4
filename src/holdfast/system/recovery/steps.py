"""Workflows: leave out what was declared optional, take the next simpler variant, or hand in anew.

Each changes the retry of one call, says what it changed, and drops nothing that is required.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.error_info import ErrorInfo
from holdfast.errors import BadInputError
from holdfast.policies import checks
from holdfast.system.recovery.arguments import MISSING, value_of, with_value
from holdfast.system.recovery.asking import Asking, settle
from holdfast.system.recovery.context import RecoveryContext
from holdfast.system.recovery.probing import required
from holdfast.system.recovery.strategy import Strategy


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a workflow; calling it calls its function."""

    name: str
    fn: Callable[..., Any]
    optional: bool = False
    """Whether the work is worth having without it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do it."""
        return self.fn(*args, **kwargs)


def optional_step(name: str, fn: Callable[..., Any]) -> Step:
    """A step the work is worth having without."""
    return Step(name, fn, optional=True)


class SkipOptional(Strategy):
    """Leave out optional steps in the retry.

    If the error says which step failed, in ``error.context["step"]`` or as ``step`` on the
    exception, only that one is left out; if that one is required, nothing is. Otherwise all
    optional ones are.
    """

    name = "skip optional steps"
    shared = False
    cooldown = 0.0

    def __init__(self, argument: str = "steps", *, name: str | None = None) -> None:
        """Set which argument holds the steps.

        Args:
            argument: of the call; a list or tuple of objects with ``name`` and ``optional``,
                such as `Step`.
            name: default "skip optional steps".

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        super().__init__(name=name)
        checks.label("argument", argument)
        self.argument = argument

    def applies(self, error: ErrorInfo, context: RecoveryContext) -> bool:
        """Whether there is something that may be left out."""
        return bool(self._dropped(error, context))

    def apply(self, error: ErrorInfo, context: RecoveryContext) -> None:
        """Leave it out."""
        steps, dropped = value_of(context, self.argument), self._dropped(error, context)
        kept = type(steps)(step for step in steps if not any(step is one for one in dropped))
        context.use_arguments(*with_value(context, self.argument, kept))
        context.degrade(f"left out: {', '.join(str(step.name) for step in dropped)}")

    def verify(self, error: ErrorInfo, context: RecoveryContext) -> bool:
        """Whether the retry has every required step, in order, and none that was left out."""
        before, dropped = value_of(context, self.argument), self._dropped(error, context)
        after = _changed(context, self.argument)
        if not dropped or not isinstance(after, list | tuple) or not after:
            return False
        expected = [step for step in before if not any(step is one for one in dropped)]
        return len(after) == len(expected) and all(
            one is other for one, other in zip(after, expected, strict=True)
        )

    def _dropped(self, error: ErrorInfo, context: RecoveryContext) -> list[Any]:
        steps = value_of(context, self.argument)
        if not isinstance(steps, list | tuple):
            return []
        optional = [step for step in steps if getattr(step, "optional", False) is True]
        failed = (error.context or {}).get("step") or getattr(context.exception, "step", None)
        if failed is not None:
            failed = getattr(failed, "name", failed)
            optional = [step for step in optional if step.name == failed]
        # Without any step there is no work left.
        return optional if len(optional) < len(steps) else []


SimplifySteps = SkipOptional


class SimplerVariant(Strategy):
    """Take the next simpler variant of an argument in the retry."""

    name = "simpler variant"
    shared = False
    cooldown = 0.0

    def __init__(self, argument: str, ladder: Sequence[Any], *, name: str | None = None) -> None:
        """Set the variants.

        Args:
            argument: of the call.
            ladder: its possible values, the fullest first, each simpler than the one before.
            name: default "simpler variant".

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        super().__init__(name=name)
        checks.label("argument", argument)
        if isinstance(ladder, str) or len(ladder) < 2:
            raise BadInputError(f"ladder must have two variants or more, got {ladder!r:.100}")
        if any(value in ladder[:place] for place, value in enumerate(ladder)):
            raise BadInputError(f"ladder must have each variant once, got {ladder!r:.100}")
        self.argument, self.ladder = argument, tuple(ladder)

    def applies(self, error: ErrorInfo, context: RecoveryContext) -> bool:  # noqa: ARG002
        """Whether the call used a variant that is not the simplest."""
        return self._next(context) is not MISSING

    def apply(self, error: ErrorInfo, context: RecoveryContext) -> None:  # noqa: ARG002
        """Step down."""
        before, after = value_of(context, self.argument), self._next(context)
        context.use_arguments(*with_value(context, self.argument, after))
        context.degrade(f"{self.argument} {before!r:.100} -> {after!r:.100}, which is simpler")

    def verify(self, error: ErrorInfo, context: RecoveryContext) -> bool:  # noqa: ARG002
        """Whether the retry has the simpler one."""
        simpler = self._next(context)
        return simpler is not MISSING and bool(_changed(context, self.argument) == simpler)

    def _next(self, context: RecoveryContext) -> Any:
        value = value_of(context, self.argument)
        if value is MISSING or value not in self.ladder:
            return MISSING
        place = self.ladder.index(value) + 1
        return self.ladder[place] if place < len(self.ladder) else MISSING


class Resubmit(Strategy):
    """Hand the work in anew, see that it was accepted, and have the retry collect its result.

    For services that take work now and give the result later: what failed may be lost there, and
    only handing it in again helps.
    """

    name = "resubmit"
    shared = False
    cooldown = 0.0

    def __init__(
        self,
        submit: Callable[[RecoveryContext], Any],
        accepted: Callable[[Any], bool | Awaitable[bool]],
        collect: Callable[[Any], Any],
        *,
        name: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Set the functions, each sync or async.

        Args:
            submit: given the failed call's context, hands the work in and returns its handle.
            accepted: given the handle, answers True if the service has the work.
            collect: given the handle, returns the result; this is what the retry calls.
            name: default "resubmit".
            timeout: seconds for each of the first two.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        super().__init__(name=name, timeout=timeout)
        required("submit", submit)
        required("accepted", accepted)
        required("collect", collect)
        self.submit, self.accepted, self.collect = submit, accepted, collect

    def apply(self, error: ErrorInfo, context: RecoveryContext) -> Any:  # noqa: ARG002
        """Hand it in."""
        return settle(self._submit(context))

    def verify(self, error: ErrorInfo, context: RecoveryContext) -> bool | Awaitable[bool]:  # noqa: ARG002
        """Ask whether it was accepted."""
        return self.accepted(context.scratch.pop(self))

    def _submit(self, context: RecoveryContext) -> Asking[None]:
        handle = yield self.submit(context)
        context.scratch[self] = handle
        collect = self.collect

        def collect_resubmitted(*_args: Any, **_kwargs: Any) -> Any:
            return collect(handle)

        context.use_call(collect_resubmitted)
        context.note(f"handed in anew as {handle!r:.100}")


def _changed(context: RecoveryContext, argument: str) -> Any:
    """The argument as the retry will have it."""
    if context.changes.arguments is None:
        return MISSING
    twin = context.branch(may_change=False)
    twin.args, twin.kwargs = context.changes.arguments
    return value_of(twin, argument)
