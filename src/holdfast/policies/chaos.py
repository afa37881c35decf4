"""Trouble made on purpose, to see whether what should survive it does.

- Off by one switch per policy, for one block (`Chaos.spared`), or for the whole process at once
  (`Chaos.all_off`); each is looked at anew in every call.
- Nothing is made up in silence: the outcome's steps, `ChaosInjected` and a note on an injected
  error say what was injected.
- With a seed, which of the matching calls are struck is the same in every run.
- Delays are real ones: they end at the deadline and can be cancelled.

It belongs innermost, in place of the dependency it plays. It cannot know whether it runs in
production: whoever builds the pipeline does, and must not build it in there.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from holdfast import events
from holdfast.errors import BadInputError, ChaosError
from holdfast.events import hub
from holdfast.machines.dice import chance_at
from holdfast.outcome import Err
from holdfast.policies import checks, injections
from holdfast.policies.blast_radius import ChaosTarget, here, mains, target_of
from holdfast.policies.call import Call
from holdfast.policies.effects import Flow, Step
from holdfast.policies.policy import Bound, Policy
from holdfast.ports import ambient


class Chaos(Policy):
    """Do something bad to a share of the calls; built by its four constructors.

    ::

        Chaos.fault(ConnectionError, rate=0.1)
        Chaos.latency((0.5, 2.0), rate=0.2, when=lambda call: call.name == "load")
        Chaos.result(dict, rate=0.05, seed=7)
        Chaos.behaviour(fill_the_disk, rate=1.0, drill="game-day")
    """

    __slots__ = (
        "_calls",
        "_enabled",
        "_injected",
        "_lock",
        "_longest",
        "_rate",
        "_trouble",
        "drill",
        "kind",
        "name",
        "seed",
        "when",
    )

    settings = frozenset({"drill", "kind", "name", "seed", "when"})

    def __init__(
        self,
        kind: str,
        trouble: injections.Trouble,
        longest: float,
        *,
        rate: float,
        seed: int | None = None,
        when: Callable[[ChaosTarget], object] | None = None,
        drill: str | None = None,
        enabled: bool = True,
        name: str = "chaos",
    ) -> None:
        """Check the settings. Use `fault`, `latency`, `result` or `behaviour` instead.

        Args:
            kind: what is injected, in a word.
            trouble: the flow that injects it.
            longest: seconds it takes at most, for `Pipeline.explain`.
            rate: the share of the matching calls that are struck, 0 to 1.
            seed: makes the choice of calls repeatable; None for chance.
            when: says which calls may be struck; None for all.
            drill: strike only inside ``with Chaos.only_in(drill)``; None for everywhere.
            enabled: whether it is switched on from the start.
            name: for events and messages.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        checks.whole("seed", seed, at_least=0, optional=True)
        checks.hook("when", when)
        if drill is not None:
            checks.label("drill", drill)
        checks.label("name", name)
        self.kind = kind
        self._trouble = trouble
        self._longest = longest
        self.rate = rate
        self.seed = seed
        self.when = when
        self.drill = drill
        self.enabled = enabled
        self.name = name
        self._calls = 0
        self._injected = 0
        self._lock = threading.Lock()

    # -- what can be injected --------------------------------------------------------------

    @classmethod
    def fault(
        cls,
        error: Exception | type[Exception] | Callable[[], Any] = ChaosError,
        *,
        rate: float,
        **settings: Any,
    ) -> Chaos:
        """Fail instead of making the call.

        Args:
            error: an exception (each call gets a copy of its own), its type, or a function
                that returns one, sync or async.
            rate: the share of the matching calls that are struck, 0 to 1.
            **settings: ``seed``, ``when``, ``drill``, ``enabled`` and ``name``, as of `Chaos`.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        return cls("fault", injections.fault(error), 0.0, rate=rate, **settings)

    @classmethod
    def latency(
        cls, seconds: float | tuple[float, float], *, rate: float, **settings: Any
    ) -> Chaos:
        """Wait before the call: so many seconds, or between the lowest and the highest.

        Args:
            seconds: how long, or a pair of limits between which all lengths are equally likely.
            rate: the share of the matching calls that are struck, 0 to 1.
            **settings: ``seed``, ``when``, ``drill``, ``enabled`` and ``name``, as of `Chaos`.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        low, high = seconds if isinstance(seconds, tuple) and len(seconds) == 2 else (seconds,) * 2
        checks.seconds("seconds", low, zero=True)
        checks.seconds("seconds", high, zero=True)
        if low > high:
            raise BadInputError(f"seconds must be (lowest, highest), got {seconds!r}")
        return cls("latency", injections.latency(low, high), high, rate=rate, **settings)

    @classmethod
    def result(cls, value: Any, *, rate: float, **settings: Any) -> Chaos:
        """Return something instead of making the call.

        Args:
            value: what, or a function without arguments that returns it, sync or async.
            rate: the share of the matching calls that are struck, 0 to 1.
            **settings: ``seed``, ``when``, ``drill``, ``enabled`` and ``name``, as of `Chaos`.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        return cls("result", injections.result(value), 0.0, rate=rate, **settings)

    @classmethod
    def behaviour(cls, action: Callable[[], Any], *, rate: float, **settings: Any) -> Chaos:
        """Do something before the call; if that raises, the call fails with it.

        Args:
            action: a function without arguments, sync or async.
            rate: the share of the matching calls that are struck, 0 to 1.
            **settings: ``seed``, ``when``, ``drill``, ``enabled`` and ``name``, as of `Chaos`.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        return cls("behaviour", injections.behaviour(action), math.inf, rate=rate, **settings)

    # -- switches --------------------------------------------------------------------------

    @property
    def enabled(self) -> bool:
        """Whether this policy is switched on; may be set while calls are on their way."""
        return self._enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise BadInputError(f"enabled must be True or False, got {value!r:.100}")
        self._enabled = value

    @property
    def rate(self) -> float:
        """The share of the matching calls that are struck; may be set at any time."""
        return self._rate

    @rate.setter
    def rate(self, value: float) -> None:
        checks.number("rate", value, at_least=0, at_most=1)
        self._rate = value

    @staticmethod
    def all_off() -> None:
        """Stop all injection in this process at once; delays that have begun go on."""
        mains.on = False

    @staticmethod
    def all_on() -> None:
        """Take `all_off` back."""
        mains.on = True

    @staticmethod
    @contextmanager
    def only_in(drill: str) -> Generator[None, None, None]:
        """A block in which policies with this ``drill`` strike, which they do nowhere else.

        It follows the block's calls into tasks and threads that copy their context.

        Raises:
            BadInputError: ``drill`` cannot be a name.
        """
        checks.label("drill", drill)
        outside = here.get()
        mark = here.set(replace(outside, drills=outside.drills | {drill}))
        try:
            yield
        finally:
            here.reset(mark)

    @staticmethod
    @contextmanager
    def spared() -> Generator[None, None, None]:
        """A block in which nothing is injected: for alarms, audits and chaos control itself."""
        mark = here.set(replace(here.get(), spared=True))
        try:
            yield
        finally:
            here.reset(mark)

    def reset(self) -> None:
        """Begin the seeded sequence and the counts anew."""
        with self._lock:
            self._calls = self._injected = 0

    # -- looking at it ---------------------------------------------------------------------

    def describe(self) -> str:
        """What, how often and where, in one line."""
        where = "" if self.drill is None else f", only in drill {self.drill!r}"
        state = "" if self.enabled else " (switched off)"
        some = "the calls" if self.when is None else "some calls"
        return f"Chaos {self.name!r}: {self.kind} in {self.rate:.3g} of {some}{where}{state}"

    def bound(self, inner: Bound) -> Bound:
        """The longest delay, too."""
        longest = self._longest if self.rate > 0 else 0.0
        return replace(inner, seconds=inner.seconds + longest)

    def snapshot(self) -> dict[str, Any]:
        """Settings, and how many calls matched and were struck."""
        with self._lock:
            return {
                "kind": self.kind,
                "enabled": self.enabled and mains.on,
                "rate": self.rate,
                "drill": self.drill,
                "calls": self._calls,
                "injected": self._injected,
            }

    # -- in a call -------------------------------------------------------------------------

    def flow(self, call: Call, inner: Step) -> Flow:
        """Strike the call, or let it pass."""
        try:
            chance = self._strike(call)
        except Exception as error:  # noqa: BLE001  # the user's `when`; failures are values
            return Err(error)
        if chance is not None:
            result = yield from self._trouble(call, chance, functools.partial(self._tell, call))
            if result is not None:
                return result
        return (yield from inner(call))

    def _tell(self, call: Call, what: str) -> None:
        """Let nobody take it for real."""
        call.say(f"{self.name}: injected {what}")
        if hub.active:
            hub.emit(events.ChaosInjected(self.name, ambient.now(), self.kind))

    def _strike(self, call: Call) -> float | None:
        """None to let the call pass, or a chance in [0, 1) for how to strike it."""
        if not (self._enabled and mains.on):
            return None
        around = here.get()
        if around.spared or not (self.drill is None or self.drill in around.drills):
            return None
        if self.when is not None and not self.when(target_of(call)):
            return None
        with self._lock:
            number = self._calls
            self._calls += 1
        struck = self._chance(2 * number) < self._rate
        if not struck:
            return None
        with self._lock:
            self._injected += 1
        # A number of its own, or those struck would all get the shortest delays.
        return self._chance(2 * number + 1)

    def _chance(self, number: int) -> float:
        return ambient.chance() if self.seed is None else chance_at(self.seed, number)

    def __repr__(self) -> str:
        return f"Chaos.{self.kind}(rate={self.rate}, seed={self.seed}, name={self.name!r})"
