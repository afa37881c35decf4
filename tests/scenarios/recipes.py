"""Random pipelines and random dependencies, as plain data that Hypothesis can shrink.

- A `Recipe` makes a fresh pipeline at every `build`, so that each driver has
  its own and none sees the state another left.
- All lengths of time are multiples of 1/64 s, so that sums are exact; each kind
  of policy has its own remainder, so that two of them seldom end at one instant,
  where the order would be chance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from holdfast.errors import BadInputError, BulkheadFullError, RejectedError
from holdfast.pipeline import Pipeline
from holdfast.policies.backoff import Backoff
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.budget import RetryBudget
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.fallback import Fallback
from holdfast.policies.policy import Policy
from holdfast.policies.retry import Retry
from holdfast.policies.timeout import Timeout


class PlainError(Exception):
    """A failure that no default of any policy repeats."""


FAILURES: dict[str, type[Exception]] = {
    "connection": ConnectionError,
    "timeout": TimeoutError,
    "plain": PlainError,
    "full": BulkheadFullError,
}
CONDITIONS: dict[str, Any] = {
    "default": (ConnectionError, TimeoutError, OSError),
    "connection": ConnectionError,
    "plain": PlainError,
    "timeout": TimeoutError,
    "all": Exception,
    "rejected": RejectedError,
}


def _asks_nothing(error: BaseException) -> None:
    """What a retry hears that is deaf to the wishes of others."""


@dataclass(frozen=True)
class Ingredient:
    """One policy: which, and with what settings."""

    kind: str
    settings: dict[str, Any] = field(default_factory=dict)

    def build(self) -> Policy:
        """A fresh policy."""
        chosen = dict(self.settings)
        for name in ("on", "exclude"):
            if name in chosen:
                chosen[name] = CONDITIONS[chosen[name]]
        match self.kind:
            case "timeout":
                return Timeout(**chosen)
            case "retry":
                chosen["backoff"] = Backoff.linear(jitter=0.0, **chosen["backoff"])
                if chosen.pop("deaf", False):
                    chosen["retry_after"] = _asks_nothing
                if chosen.get("budget") is not None:
                    chosen["budget"] = RetryBudget(**chosen["budget"])
                return Retry(**chosen)
            case "breaker":
                return CircuitBreaker(timeout_jitter=0.0, **chosen)
            case "bulkhead":
                return Bulkhead(**chosen)
            case _:
                return Fallback("substitute", **chosen)


@dataclass(frozen=True)
class Recipe:
    """A whole pipeline, outermost policy first."""

    ingredients: tuple[Ingredient, ...]

    def build(self) -> Pipeline:
        """A fresh pipeline."""
        return Pipeline(*(one.build() for one in self.ingredients), name="scenario")

    @property
    def kinds(self) -> list[str]:
        """What the policies are, outermost first."""
        return [one.kind for one in self.ingredients]

    def sensible(self) -> bool:
        """Whether the pipeline can be built; a senseless order is refused."""
        try:
            self.build()
        except BadInputError:
            return False
        return True


@dataclass(frozen=True)
class Turn:
    """What the dependency does when it is called once."""

    kind: str
    """`ok`, or the name of a failure."""
    seconds: float


@dataclass(frozen=True)
class Visit:
    """One call through the pipeline."""

    gap: float
    """Seconds after the one before it (in a sequence) or after the beginning (in a crowd)."""
    turns: tuple[Turn, ...]
    """One for each attempt; the last one again and again."""
    cancelled: float | None = None
    """In a crowd: seconds after which its caller ends it."""
    deadline: float | None = None
    """Seconds its caller has left for it, or None."""
    strangers: int = 0
    """In a sequence: slots of the bulkhead that others hold while it lasts."""


def seconds(low: int, high: int, remainder: int = 0) -> st.SearchStrategy[float]:
    """Quarters of a second, and a remainder in 1/1024 s."""
    return st.integers(low, high).map(lambda n: n / 4 + remainder / 1024)


def _timeouts() -> st.SearchStrategy[Ingredient]:
    return seconds(2, 40, 3).map(lambda s: Ingredient("timeout", {"seconds": s}))


def _retries(*, deaf: bool) -> st.SearchStrategy[Ingredient]:
    return st.fixed_dictionaries(
        {
            "deaf": st.just(deaf),
            "max_attempts": st.integers(1, 4),
            "backoff": st.fixed_dictionaries({"initial": seconds(0, 6, 5), "step": seconds(0, 4)}),
            "on": st.sampled_from(["default", "connection", "all", "plain", "rejected"]),
            "budget": st.none()
            | st.fixed_dictionaries(
                {
                    "ratio": st.sampled_from([0.0, 0.5, 1.0]),
                    "floor": st.integers(0, 2),
                    "seconds": seconds(8, 40),
                }
            ),
        }
    ).map(lambda chosen: Ingredient("retry", chosen))


def _breakers() -> st.SearchStrategy[Ingredient]:
    plain = {
        "failure_threshold": st.integers(1, 3),
        "success_threshold": st.integers(1, 2),
        "timeout": seconds(1, 16, 7),
        "half_open_max_calls": st.integers(1, 2),
        "timeout_growth": st.sampled_from([1.0, 2.0]),
    }
    rest = {
        "exclude": st.sampled_from(["plain", "connection", "timeout"]),
        "on": st.sampled_from(["connection", "all", "timeout"]),
        "failure_rate": st.sampled_from([0.5, 1.0]),
        "window_calls": st.integers(2, 5),
    }
    return st.fixed_dictionaries(plain, optional=rest).map(_with_window)


def _with_window(chosen: dict[str, Any]) -> Ingredient:
    if "failure_rate" not in chosen or "window_calls" not in chosen:
        chosen = {k: v for k, v in chosen.items() if k not in ("failure_rate", "window_calls")}
    return Ingredient("breaker", chosen)


def _bulkheads() -> st.SearchStrategy[Ingredient]:
    return st.builds(
        lambda most, line, wait: Ingredient(
            "bulkhead",
            {"max_concurrent": most, "max_queue": line, "max_wait": wait if line else None},
        ),
        st.integers(1, 3),
        st.integers(0, 3),
        st.none() | seconds(0, 8, 11),
    )


def _fallbacks() -> st.SearchStrategy[Ingredient]:
    return st.sampled_from(["all", "connection", "plain", "rejected", "timeout"]).map(
        lambda on: Ingredient("fallback", {"on": on})
    )


@st.composite
def recipes(draw: st.DrawFn, *, crowded: bool = False) -> Recipe:
    """Any of the policies that have a hot path, in any order that makes sense.

    In a crowd, retries do not wait for the moment at which a breaker lets the next one in:
    all of them would come back at that instant, and who is first would be chance.
    """
    retries = _retries(deaf=crowded)
    makers = [_timeouts(), _timeouts(), retries, _breakers(), _bulkheads(), _fallbacks()]
    order = draw(st.permutations(range(len(makers))))
    chosen = order[: draw(st.integers(1, len(makers)))]
    return Recipe(tuple(draw(makers[index]) for index in chosen))


def turns(remainder: int = 0) -> st.SearchStrategy[Turn]:
    """What the dependency may do; success and repeatable failure are the most frequent."""
    kind = st.sampled_from(["ok", "ok", "ok", "connection", "connection", *FAILURES])
    return st.builds(Turn, kind, seconds(0, 12, remainder))


def visits(most: int = 12) -> st.SearchStrategy[list[Visit]]:
    """A sequence of calls."""
    one = st.builds(
        Visit,
        seconds(0, 20, 13),
        st.lists(turns(), min_size=1, max_size=4).map(tuple),
        deadline=st.none() | st.none() | seconds(0, 24, 19),
        strangers=st.sampled_from([0, 0, 0, 1, 3]),
    )
    return st.lists(one, min_size=1, max_size=most)


@st.composite
def crowds(draw: st.DrawFn) -> list[Visit]:
    """Calls at the same time; each attempt of each call lasts a length of its own."""
    crowd = []
    for number in range(draw(st.integers(2, 7))):
        lengths = [
            draw(turns(17 + 16 * number + 2 * attempt))
            for attempt in range(draw(st.integers(1, 3)))
        ]
        cancelled = draw(st.none() | st.none() | seconds(0, 16, 150 + number))
        deadline = draw(st.none() | st.none() | seconds(0, 24, 170 + number))
        begins = draw(seconds(0, 8, 200 + number))
        crowd.append(Visit(begins, tuple(lengths), cancelled, deadline))
    return crowd
