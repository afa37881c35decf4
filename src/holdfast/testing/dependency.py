"""A dependency that does as it is told: fails, succeeds, dawdles or hangs, call by call.

::

    upload = scenario().fails(2, ConnectionError).then_succeeds("ok")
    Retry(max_attempts=3).call(upload, "a.png")
    assert upload.count == 3
    assert upload.calls[0].args == ("a.png",)

    fetch = scenario().takes(30).returns("slow").takes(0).then_succeeds("fast").as_async()
    await Timeout(10).execute(fetch)

- Each call takes the next step. Which call takes which step is settled when the
  call begins, also when several threads or tasks call at once.
- The time a step takes passes by Holdfast's clock (sync) or the event loop's
  (async): at once under a `FakeClock`.
- A script that is used up is an error, unless its last step is for ever.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any, Self

from holdfast.policies import checks
from holdfast.ports import ambient
from holdfast.testing.script import (
    Ending,
    Failure,
    ScriptedCall,
    ScriptOverError,
    Step,
    make_error,
)


class Scenario:
    """A script and the dependency that plays it, as a sync function."""

    def __init__(self, steps: Iterable[Step] = (), *, name: str = "dependency") -> None:
        checks.label("name", name)
        self.name = name
        self.__name__ = name
        self.steps: list[Step] = list(steps)
        """The script. What is added while it is played is played, too."""
        self.calls: list[ScriptedCall] = []
        """Every call so far, in the order in which they began."""
        self.running = 0
        """Calls on their way now."""
        self.most_at_once = 0
        """The most calls that were on their way at the same time."""
        self._endless = False
        self._seconds = 0.0
        self._lock = threading.Lock()
        self._released = threading.Event()

    # -- writing the script ----------------------------------------------------------------

    def takes(self, seconds: float) -> Self:
        """From here on, each step written takes so many seconds."""
        checks.seconds("seconds", seconds, zero=True)
        self._seconds = seconds
        return self

    def returns(self, value: Any = None, times: int = 1) -> Self:
        """Return ``value``, so many times."""
        return self._add(Step(Ending.RETURN, value, self._seconds), times)

    def raises(self, error: Failure, times: int = 1) -> Self:
        """Raise ``error``, so many times."""
        return self._add(Step(Ending.RAISE, error, self._seconds), times)

    def fails(self, times: int, error: Failure = ConnectionError) -> Self:
        """Fail so many times, with ``error``."""
        return self.raises(error, times)

    def does(self, function: Callable[..., Any], times: int = 1) -> Self:
        """Answer with what ``function`` makes of the call's arguments, so many times."""
        return self._add(Step(Ending.CALL, function, self._seconds), times)

    def hangs(self, times: int = 1) -> Self:
        """Never answer: until cancelled if async, until `release` if sync."""
        return self._add(Step.hangs(), times)

    def then_succeeds(self, value: Any = None) -> Self:
        """Return ``value`` from then on."""
        return self.returns(value).forever()

    def then_fails(self, error: Failure = ConnectionError) -> Self:
        """Raise ``error`` from then on."""
        return self.raises(error).forever()

    def forever(self) -> Self:
        """Do the last step again and again.

        Raises:
            BadInputError: there is no step yet.
        """
        checks.whole("steps before forever()", len(self.steps), at_least=1)
        self._endless = True
        return self

    # -- calling ---------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Play the next step in this thread.

        Raises:
            ScriptOverError: the script is used up.
            BaseException: what the step says.
        """
        call = self._begin(args, kwargs)
        try:
            if call.step.ending is Ending.HANG:
                ambient.wait(self._released, None)
            if call.step.seconds:
                ambient.sleep(call.step.seconds)
            return self._answer(call)
        finally:
            self._end(call)

    async def async_call(self, *args: Any, **kwargs: Any) -> Any:
        """Play the next step in this task.

        Raises:
            ScriptOverError: the script is used up.
            BaseException: what the step says.
        """
        call = self._begin(args, kwargs)
        try:
            if call.step.ending is Ending.HANG:
                await asyncio.get_running_loop().create_future()
            if call.step.seconds:
                await asyncio.sleep(call.step.seconds)
            answer = self._answer(call)
            return await answer if hasattr(answer, "__await__") else answer
        finally:
            self._end(call)

    def as_async(self) -> AsyncScenario:
        """The same dependency as an async function."""
        return AsyncScenario(self)

    def release(self) -> None:
        """Let the sync calls that hang return None, now and later."""
        self._released.set()

    # -- looking at it ---------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Calls so far."""
        return len(self.calls)

    @property
    def times(self) -> list[float]:
        """When each call began, in monotonic seconds."""
        return [call.began for call in self.calls]

    @property
    def gaps(self) -> list[float]:
        """Seconds from the end of each call to the beginning of the next: the waits of a retry."""
        ends = [call.began if call.ended is None else call.ended for call in self.calls]
        return [call.began - end for end, call in zip(ends, self.calls[1:], strict=False)]

    @property
    def finished(self) -> bool:
        """Whether every step was taken at least once."""
        return self.count >= len(self.steps)

    def __repr__(self) -> str:
        script = ", ".join(map(repr, self.steps)) + (" for ever" if self._endless else "")
        return f"<scenario {self.name!r}: {script or 'no steps'}; {self.count} calls so far>"

    # -- the rest --------------------------------------------------------------------------

    def _add(self, step: Step, times: int) -> Self:
        checks.whole("times", times, at_least=0)
        with self._lock:
            self.steps.extend([step] * times)
        return self

    def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ScriptedCall:
        with self._lock:
            number = len(self.calls) + 1
            if number > len(self.steps) and not self._endless:
                raise ScriptOverError(
                    f"{self.name!r} was called {number} times, and its script has "
                    f"{len(self.steps)} steps; add some, or end it with forever()"
                )
            step = self.steps[min(number, len(self.steps)) - 1]
            call = ScriptedCall(number, args, kwargs, step, ambient.now())
            self.calls.append(call)
            self.running += 1
            self.most_at_once = max(self.most_at_once, self.running)
            return call

    def _answer(self, call: ScriptedCall) -> Any:
        match call.step.ending:
            case Ending.RAISE:
                raise make_error(call.step.subject)
            case Ending.CALL:
                return call.step.subject(*call.args, **call.kwargs)
            case _:
                return call.step.subject

    def _end(self, call: ScriptedCall) -> None:
        with self._lock:
            call.ended = ambient.now()
            self.running -= 1


class AsyncScenario:
    """A scenario as an async function; what happened is in `scenario`."""

    def __init__(self, played: Scenario) -> None:
        self.scenario = played
        self.__name__ = played.name

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Play the next step in this task; see `Scenario.async_call`."""
        return await self.scenario.async_call(*args, **kwargs)

    @property
    def count(self) -> int:
        """Calls so far."""
        return self.scenario.count

    @property
    def calls(self) -> list[ScriptedCall]:
        """Every call so far, in the order in which they began."""
        return self.scenario.calls

    def __repr__(self) -> str:
        return f"{self.scenario!r} as async"


def scenario(*steps: Step, name: str = "dependency") -> Scenario:
    """Begin the script of a dependency; add steps with its methods."""
    return Scenario(steps, name=name)
