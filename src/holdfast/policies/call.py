"""One execution of one pipeline: what its policies share while it lasts.

The hot path of a pipeline makes none of these. A call gets one as soon as
anything out of the ordinary happens, or when it needs a policy whose work
cannot be skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.errors import DeadlineExceededError, RejectedError
from holdfast.outcome import Attempt, Err, Report, Result
from holdfast.policies.scope import Scope, child
from holdfast.ports import ambient

if TYPE_CHECKING:
    from holdfast.policies.retry import Retry

KEPT = 100
"""Failed attempts and steps remembered of one call."""


def _ungoverned() -> bool:
    return False


class Call:
    """The function, its arguments, and the story so far."""

    __slots__ = (
        "adopted",
        "args",
        "at_hand",
        "attempts",
        "before",
        "began",
        "cancellation",
        "changes",
        "cut_off",
        "first",
        "fn",
        "governed",
        "history",
        "idles",
        "keyed",
        "kwargs",
        "left_behind",
        "name",
        "noted",
        "paid",
        "parked",
        "permits",
        "ran_out",
        "retrying",
        "running",
        "scope",
        "steps",
        "task",
        "threaded",
        "turned",
        "unmeasured",
    )

    def __init__(  # noqa: PLR0915  # one line for each field of a record
        self,
        name: str,
        scope: Scope,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.name = name
        self.scope = scope
        """The call's own scope; `Within` gives what runs inside it a tighter one."""
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.began = ambient.now()
        """Monotonic seconds."""
        self.attempts = 0
        """How often the function was called."""
        self.running = 0
        """How many of these calls run now; more than one in a race."""
        self.parked = 0
        """How many runners of this call wait in queues of ours now."""
        self.idles: list[Any] = []
        """The limits on silence; waiting in a queue of ours is no silence."""
        self.permits: list[tuple[Any, Any]] = []
        """Breakers and their permits, of a call that may be left behind."""
        self.keyed = False
        """Whether the call has an idempotency key of its own, not one of a call around it."""
        self.left_behind = False
        """Whether nobody waits for this runner any more, so that it counts for nobody."""
        self.paid = False
        """Whether the first call has been counted in a retry budget already."""
        self.ran_out = False
        """Whether the interruption that passes now is a limit the hot path ran into."""
        self.task: Any = None
        """The asyncio task it runs in, while it runs."""
        self.cancellation: type[BaseException] = GeneratorExit
        """What a cancellation of that task is raised as."""
        self.before = 0
        """How many cancellations that task had pending when the call began."""
        self.history: list[Attempt] = []
        self.steps: list[object] = []
        self.noted: Any = None
        """What the latest failure of the function itself means, where somebody classifies it."""
        self.changes: list[str] = []
        """What was changed to get a result, in words."""
        self.retrying: Retry | None = None
        """The outermost retry of this call; retries inside it fold."""
        self.first: Result | None = None
        """The result of a first attempt that was made before this object existed."""
        self.unmeasured = False
        """Whether nobody looked at the clock when that first attempt began."""
        self.governed: Callable[[], bool] = _ungoverned
        """Says whether a retry further out governs this call without the scope knowing it."""
        self.adopted: dict[int, object] = {}
        """What the hot path already holds, by the identity of the policy."""
        self.threaded = ""
        """The name of a limit that asked for a worker thread, in async code, which has none."""
        self.cut_off: Sequence[None] = ()
        """Holds something once nobody waits for the pipeline's calls: no attempt begins then."""
        self.turned = False
        """Whether the function, called as a sync one, turned out to be async: then this call
        comes to nothing, and another that can await takes its place."""
        self.at_hand: list[Any] = []
        """What the function returned to the call whose place this one takes, to begin with."""

    def adopt(self, policy: object) -> object | None:
        """What the hot path already holds for ``policy``; it is handed over once."""
        return self.adopted.pop(id(policy), None) if self.adopted else None

    def hand_on(self, policy: object) -> None:
        """If another call takes the place of this one: ``policy`` has counted it already."""
        if self.turned:
            self.adopted[id(policy)] = True

    def ending(self, error: BaseException) -> bool:
        """Whether the caller has asked for the end of the call, and ``error`` came of that.

        The count alone proves nothing: on Python 3.11 a `TaskGroup` leaves it raised.
        """
        if self.task is None or self.task.cancelling() <= self.before:
            return False
        before: BaseException | None = error
        for _ in range(100):
            if before is None or isinstance(before, self.cancellation):
                return before is not None
            before = before.__context__
        return False

    def waited(self, seconds: float) -> None:
        """Time was spent in a queue of ours: no running, and no silence, here and further out."""
        scope: Scope | None = self.scope
        while scope is not None:
            scope.queued += seconds
            scope = scope.parent
        for idle in self.idles:
            idle.latest = ambient.now()

    def ended_in_queue(self, *, yes: bool = True) -> None:
        """Say of everything around that what is being ended was only waiting; or no longer."""
        scope: Scope | None = self.scope
        while scope is not None:
            scope.queued_out = yes
            scope = scope.parent

    def leave_behind(self, *, failed: bool) -> None:
        """Go on without this runner; whoever gave it leave hears how that counts, now."""
        self.left_behind = True
        for breaker, permit in self.permits:
            breaker.settle(permit, failed=True) if failed else breaker.abandon(permit)

    def left(self) -> float:
        """Seconds until the tightest deadline; infinite without one."""
        return self.scope.deadline - ambient.now()

    def say(self, step: object) -> None:
        """Remember what a policy did, for the outcome and the report; it is told as text."""
        self.steps.append(step)
        if len(self.steps) > 2 * KEPT:
            del self.steps[:-KEPT]

    def change(self, told: str) -> None:
        """Remember that the result is not what was asked for, or not got as it was asked for."""
        self.say(told)
        if len(self.changes) < KEPT:
            self.changes.append(told)

    def remember(self, attempt: Attempt) -> None:
        """Remember a failed attempt."""
        self.history.append(attempt)
        if len(self.history) > 2 * KEPT:
            del self.history[:-KEPT]

    def interrupted_while_running(self) -> bool:
        """Whether a limit of ours is ending the call while the function is at work."""
        if self.ran_out:
            return True
        if self.scope.queued_out:
            return False
        scope: Scope | None = self.scope
        while self.running > 0 and scope is not None:
            if scope.rang:
                return True
            scope = scope.parent
        return False

    def fork(self) -> Call:
        """A call for one runner of a race: its own scope and counts, the same story."""
        twin = Call(self.name, child(self.scope), self.fn, self.args, self.kwargs)
        twin.began = self.began
        twin.history, twin.steps, twin.changes = self.history, self.steps, self.changes
        twin.retrying, twin.keyed = self.retrying, self.keyed
        twin.governed, twin.cut_off = self.governed, self.cut_off
        twin.threaded = self.threaded
        # Together, so that whatever is handed over is handed over once.
        twin.adopted, twin.at_hand = self.adopted, self.at_hand
        return twin

    def report(self) -> Report:
        """The story, frozen."""
        return Report(
            tuple(self.history[-KEPT:]),
            tuple(map(str, self.steps[-KEPT:])),
            ambient.now() - self.began,
            tuple(self.changes),
        )

    def may_not_begin(self) -> Err | None:
        """Why no attempt may begin now, if so."""
        if ambient.now() >= self.scope.deadline:
            return self.blame_deadline()
        return Err(RejectedError(f"pipeline {self.name!r} is closed")) if self.cut_off else None

    def blame_deadline(self) -> Err:
        """The failure of a call whose time is up."""
        return Err(DeadlineExceededError(f"{self.name}: the deadline has passed"))
