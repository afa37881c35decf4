"""Hypothesis strategies for policies, pipelines and the behaviour of dependencies.

::

    @given(strategies.pipelines(), strategies.scenarios())
    def test_my_client_always_answers(pipeline, dependency):
        with FakeClock():
            ...

- What they make is valid: settings that Holdfast refuses are never drawn.
- Each example has policies of its own, so no breaker remembers the last one.
- Hypothesis is needed only when a strategy is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.errors import HoldfastError
from holdfast.pipeline import Pipeline
from holdfast.policies.backoff import Backoff
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.budget import RetryBudget
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.fallback import Fallback
from holdfast.policies.policy import Policy
from holdfast.policies.retry import Retry
from holdfast.policies.timeout import Timeout
from holdfast.testing.dependency import Scenario
from holdfast.testing.script import Failure, Step

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

ERRORS: tuple[type[Exception], ...] = (ConnectionError, TimeoutError, OSError, ValueError)
"""What scripted dependencies fail with: three errors that a plain `Retry` repeats, and one not."""


def backoffs(longest: float = 60.0) -> SearchStrategy[Backoff]:
    """Waits of every growth and jitter, none above ``longest`` seconds."""
    st = _hypothesis()
    share = st.floats(0.0, 1.0)
    jitter = st.one_of(share, st.sampled_from(["full", "equal", "decorrelated"]))
    plain = st.one_of(share, st.sampled_from(["full", "equal"]))
    wait = st.floats(0.0, longest)
    return st.one_of(  # type: ignore[no-any-return]
        st.builds(
            Backoff.exponential,
            initial=wait,
            maximum=st.just(longest),
            base=st.floats(1.0, 10.0),
            jitter=jitter,
        ),
        st.builds(Backoff.linear, initial=wait, step=wait, maximum=st.just(longest), jitter=plain),
        # A fixed wait with jitter may reach twice its length.
        st.builds(Backoff.fixed, st.floats(0.0, longest / 2.0), jitter=share),
        st.builds(Backoff.none),
    )


def budgets() -> SearchStrategy[RetryBudget]:
    """Budgets from none at all to more than anybody needs."""
    st = _hypothesis()
    return st.builds(  # type: ignore[no-any-return]
        RetryBudget,
        ratio=st.floats(0.0, 2.0),
        floor=st.integers(0, 10),
        seconds=st.floats(0.1, 600.0),
    )


def retries(
    most_attempts: int = 5, longest_wait: float = 60.0, *, budget: bool = True
) -> SearchStrategy[Retry]:
    """Retries of 1 to ``most_attempts``; some with a budget of their own, unless told otherwise."""
    st = _hypothesis()
    on = st.sampled_from([(ConnectionError, TimeoutError, OSError), (ConnectionError,), Exception])
    return st.builds(  # type: ignore[no-any-return]
        Retry,
        max_attempts=st.integers(1, most_attempts),
        backoff=backoffs(longest_wait),
        on=on,
        budget=st.one_of(st.none(), budgets()) if budget else st.none(),
    )


def timeouts(shortest: float = 0.1, longest: float = 3600.0) -> SearchStrategy[Timeout]:
    """Time limits in seconds, ``shortest`` to ``longest``."""
    st = _hypothesis()
    return st.builds(Timeout, st.floats(shortest, longest))  # type: ignore[no-any-return]


def bulkheads(most: int = 8) -> SearchStrategy[Bulkhead]:
    """Limits of 1 to ``most`` at once, without a queue, with one, and with a longest wait."""
    st = _hypothesis()
    slots = st.integers(1, most)
    return st.one_of(  # type: ignore[no-any-return]
        st.builds(Bulkhead, slots),
        st.builds(
            Bulkhead, slots, st.integers(1, most), st.one_of(st.none(), st.floats(0.0, 60.0))
        ),
    )


def breakers() -> SearchStrategy[CircuitBreaker]:
    """Closed breakers that count failures in a row, or their share in a window, or both."""
    st = _hypothesis()
    usual = {
        "name": st.just("dependency"),
        "success_threshold": st.integers(1, 3),
        "timeout": st.floats(0.5, 120.0),
        "half_open_max_calls": st.integers(1, 3),
        "timeout_jitter": st.floats(0.0, 0.5),
        "ramp_seconds": st.one_of(st.just(0.0), st.floats(1.0, 60.0)),
    }
    in_a_row = st.integers(1, 6)
    share = st.floats(0.1, 1.0)
    minimum = st.integers(1, 5)
    return st.one_of(  # type: ignore[no-any-return]
        st.builds(CircuitBreaker, failure_threshold=in_a_row, **usual),
        st.builds(
            CircuitBreaker,
            failure_threshold=st.one_of(st.none(), in_a_row),
            failure_rate=share,
            window_calls=st.integers(5, 50),
            minimum_calls=minimum,
            **usual,
        ),
        st.builds(
            CircuitBreaker,
            failure_threshold=st.one_of(st.none(), in_a_row),
            failure_rate=share,
            window=st.floats(1.0, 300.0),
            minimum_calls=minimum,
            **usual,
        ),
    )


def fallbacks(value: Any = "fallback") -> SearchStrategy[Fallback]:
    """Substitutes for some failures or all: those of Holdfast itself, of the network, any."""
    st = _hypothesis()
    on = st.sampled_from([Exception, HoldfastError, OSError])
    return st.builds(Fallback, st.just(value), on=on)  # type: ignore[no-any-return]


def pipelines(most_attempts: int = 4, longest_wait: float = 10.0) -> SearchStrategy[Pipeline]:
    """Pipelines in the usual order, each policy there or not.

    From the outside in: fallback, total timeout, retry, breaker, bulkhead, attempt timeout.
    """
    st = _hypothesis()

    def perhaps(strategy: Any) -> Any:
        return st.one_of(st.none(), strategy)

    def build(*policies: Policy | None) -> Pipeline:
        return Pipeline(*[policy for policy in policies if policy is not None])

    return st.builds(  # type: ignore[no-any-return]
        build,
        perhaps(fallbacks()),
        # Longer than any wait or attempt below, or Holdfast would refuse the pair.
        perhaps(timeouts(longest_wait * 2.0 + 60.0, longest_wait * 2.0 + 3600.0)),
        perhaps(retries(most_attempts, longest_wait)),
        perhaps(breakers()),
        perhaps(bulkheads()),
        perhaps(timeouts(0.1, 30.0)),
    )


def steps(
    errors: Sequence[Failure] = ERRORS,
    *,
    values: SearchStrategy[Any] | None = None,
    longest: float = 120.0,
    hangs: bool = False,
) -> SearchStrategy[Step]:
    """What a dependency does once: succeed or fail, at once or after up to ``longest`` seconds."""
    st = _hypothesis()
    seconds = st.one_of(st.just(0.0), st.floats(0.0, longest))
    ways = [
        st.builds(Step.returns, st.integers() if values is None else values, seconds),
        st.builds(Step.raises, st.sampled_from(list(errors)), seconds),
    ]
    if hangs:
        ways.append(st.builds(Step.hangs))
    return st.one_of(ways)  # type: ignore[no-any-return]


def scripts(
    errors: Sequence[Failure] = ERRORS,
    *,
    longest: float = 120.0,
    hangs: bool = False,
    most: int = 10,
) -> SearchStrategy[list[Step]]:
    """What a dependency does, call by call: 1 to ``most`` steps."""
    st = _hypothesis()
    return st.lists(  # type: ignore[no-any-return]
        steps(errors, longest=longest, hangs=hangs), min_size=1, max_size=most
    )


def scenarios(
    errors: Sequence[Failure] = ERRORS,
    *,
    longest: float = 120.0,
    hangs: bool = False,
    most: int = 10,
) -> SearchStrategy[Scenario]:
    """Dependencies that play a script and then its last step for ever."""
    st = _hypothesis()
    play: Callable[[list[Step]], Scenario] = lambda script: Scenario(script).forever()  # noqa: E731
    return st.builds(play, scripts(errors, longest=longest, hangs=hangs, most=most))  # type: ignore[no-any-return]


def _hypothesis() -> Any:
    """The strategies of Hypothesis.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.import_module("hypothesis.strategies")
    except ImportError as error:
        raise ImportError(
            "holdfast.testing.strategies needs the package hypothesis, which is not installed"
        ) from error
