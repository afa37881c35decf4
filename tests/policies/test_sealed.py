"""Settings stay as they were given, whoever holds the policy."""

from __future__ import annotations

import copy
import pickle

import pytest

from holdfast import (
    AdaptiveThrottle,
    Backoff,
    Bulkhead,
    Cache,
    Chaos,
    CircuitBreaker,
    Deadline,
    Fallback,
    FallbackChain,
    Hedge,
    LoadShedder,
    Pipeline,
    RateLimiter,
    Registry,
    Retry,
    RetryBudget,
    Timeout,
)

STATEFUL = [
    AdaptiveThrottle(),
    Bulkhead(3),
    Cache(60),
    Chaos.fault(OSError, rate=0.5),
    CircuitBreaker("api"),
    FallbackChain("chain"),
    Hedge(1.0),
    LoadShedder(),
    RateLimiter(5),
    RetryBudget(),
]


SEALED = [
    *STATEFUL,
    Deadline(1.0),
    Pipeline(Retry(), name="mine"),
    Registry(),
    Registry().add(Pipeline(name="named")),
]


@pytest.mark.parametrize("policy", SEALED, ids=lambda policy: type(policy).__name__)
def test_no_setting_can_be_assigned_or_deleted(policy):
    assert policy.settings
    for name in policy.settings:
        before = getattr(policy, name)
        with pytest.raises(AttributeError, match=f"{name} is a setting"):
            setattr(policy, name, before)
        with pytest.raises(AttributeError, match=f"{name} is a setting"):
            delattr(policy, name)
        assert getattr(policy, name) is before


@pytest.mark.parametrize("policy", STATEFUL[:-1], ids=lambda policy: type(policy).__name__)
def test_what_has_state_is_not_copied_in_silence(policy):
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=f"{type(policy).__name__} cannot be pickled or copied"):
            attempt(policy)


@pytest.mark.parametrize(
    "policy",
    [
        Retry(4, Backoff.fixed(2.0), on=(ConnectionError,)),
        Timeout(5.0),
        Timeout(idle=3.0),
        Fallback([]),
    ],
)
def test_what_is_settings_alone_can_be_pickled(policy):
    twin = pickle.loads(pickle.dumps(policy))
    assert twin == policy
    assert twin.call(int) == 0
    assert copy.deepcopy(policy) == policy
