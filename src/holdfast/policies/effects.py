"""What a policy may ask its driver to do, and nothing else.

A policy is written once, as a flow: a generator that yields these effects and
gets their results back. Two drivers perform them, one for threads and one for
asyncio. A flow

- gets every failure of the protected function as an `Err` value, never raised;
- is thrown into only when the call is being ended from outside (cancellation,
  `KeyboardInterrupt`, a time limit further out), and must let that pass after
  giving back what it holds;
- holds no lock while it yields, and drops what failed before it sleeps.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.outcome import Result

if TYPE_CHECKING:
    from holdfast.policies.call import Call
    from holdfast.policies.ticket import Ticket


class Invoke:
    """Call the protected function. The answer is a `Result`."""

    __slots__ = ()


@dataclass(slots=True, eq=False, repr=False)
class Sleep:
    """Wait. The answer is None."""

    seconds: float


@dataclass(slots=True, eq=False, repr=False)
class Within:
    """Run a flow and end it when its time is up. The answer is its `Result`."""

    flow: Step
    policy: str
    """Who set the limit; named in the error."""
    seconds: float | None
    """Longest running time, counted from now; None for no limit."""
    idle: float | None = None
    """Longest time without progress, in seconds; None for no limit."""
    thread: bool = False
    """Sync only: run it in a worker thread that is left behind when the time is up."""
    dispose: Callable[[object], object] | None = None
    """Sync only: what to do with a result that came too late."""


@dataclass(slots=True, eq=False, repr=False)
class Park:
    """Wait until a ticket is granted. The answer is True, or False when the time was up first."""

    ticket: Ticket
    seconds: float | None
    policy: str


@dataclass(slots=True, eq=False, repr=False)
class Run:
    """Call a hook of the user's, which may be async. The answer is a `Result`."""

    action: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


@dataclass(slots=True, eq=False, repr=False)
class Race:
    """Run flows against each other; the answer is a `Raced`.

    Each flow runs with a `Call` of its own. ``first`` starts at once. Whenever all that run
    are still running after ``delay()`` seconds, or all have failed, ``another()`` is asked for
    a flow; None means no more. The first good result wins; the others are cancelled and awaited.
    """

    first: Step
    another: Callable[[int, bool], Step | None]
    """Called with the number of the next flow (from 1) and whether one has just failed."""
    delay: Callable[[], float]
    """Seconds to wait before the next one."""
    good: Callable[[Result], bool]
    """Whether a result ends the race."""
    policy: str
    dispose: Callable[[object], object] | None
    """What to do with results nobody needs."""


@dataclass(slots=True, eq=False, repr=False)
class Raced:
    """How a race ended."""

    winner: int
    started: int
    result: Result


Effect = Invoke | Sleep | Within | Park | Run | Race
Flow = Generator[Effect, Any, Result]
Step = Callable[["Call"], Flow]
"""What is inside a policy: it makes the flow of one run."""
INVOKE = Invoke()
