"""Configuration from tables and files: what is understood, and how what is wrong is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import (
    Backoff,
    Bulkhead,
    CircuitBreaker,
    ErrorCategory,
    Fallback,
    Retry,
    Timeout,
)
from holdfast.errors import BadInputError, RateLimitedError
from holdfast.pipeline.config import parse, read
from holdfast.pipeline.config_fields import parameters
from holdfast.pipeline.config_parts import KINDS, made_of
from holdfast.pipeline.profiles import Profile, settings_of_profiles
from holdfast.policies.cache import Cache
from holdfast.policies.chaos import Chaos
from holdfast.policies.hedge import Hedge
from holdfast.policies.rate_limit import RateLimiter
from holdfast.policies.shedder import LoadShedder


def search(*policies, **rest):
    return {"pipelines": {"search": {"policies": list(policies)}}, **rest}


def policies_of(table, name="search", **names):
    return [spec.policy for spec in parse(table, names).pipelines[name]]


def refusal(table, **names):
    with pytest.raises(BadInputError) as refused:
        parse(table, names)
    return str(refused.value)


# -- what is understood --------------------------------------------------------------------


def test_listed_policies_come_in_their_order_with_their_settings():
    table = search(
        {"type": "fallback", "value": []},
        {"type": "timeout", "seconds": 60},
        {"type": "retry", "max_attempts": 4, "backoff": {"growth": "exponential", "initial": 0.1}},
        {"type": "circuit_breaker", "failure_threshold": 7, "timeout": 5.0},
        {"type": "bulkhead", "max_concurrent": 3, "max_queue": 2, "max_wait": 1.5},
        {"type": "timeout", "seconds": 10},
    )
    fallback, total, retry, breaker, bulkhead, attempt = policies_of(table)
    assert fallback == Fallback([])
    assert (total, attempt) == (Timeout(60), Timeout(10))
    assert retry == Retry(max_attempts=4, backoff=Backoff.exponential(initial=0.1))
    assert breaker.circuit.settings.failure_threshold == 7
    assert breaker.circuit.settings.open_seconds == 5.0
    assert (bulkhead.max_concurrent, bulkhead.max_queue, bulkhead.max_wait) == (3, 2, 1.5)


def test_every_kind_can_be_configured():
    table = search(
        {"type": "cache", "seconds": 60},
        {"type": "fallback", "value": None},
        {"type": "load_shedder"},
        {"type": "retry"},
        {"type": "hedge", "after": "p95"},
        {"type": "adaptive_throttle"},
        {"type": "circuit_breaker"},
        {"type": "rate_limiter", "rate": 10, "per": 60},
        {"type": "bulkhead", "max_concurrent": 5},
        {"type": "timeout", "idle": 30},
        {"type": "chaos", "inject": "fault", "error": "ConnectionError", "rate": 0.5, "seed": 7},
    )
    made = policies_of(table)
    assert [type(policy).__name__ for policy in made] == [KINDS[kind][1] for kind in KINDS]


def _least(kind):
    return {
        "bulkhead": {"max_concurrent": 1},
        "cache": {"seconds": 1},
        "fallback": {"value": 0},
        "rate_limiter": {"rate": 1},
        "timeout": {"seconds": 1},
    }.get(kind, {})


@pytest.mark.parametrize(
    ("given", "right"),
    [
        (0, Backoff.fixed(0)),
        (2.5, Backoff.fixed(2.5)),
        ({"growth": "none"}, Backoff.none()),
        ({"growth": "fixed", "delay": 3, "jitter": 0.5}, Backoff.fixed(3, 0.5)),
        ({"growth": "linear", "initial": 1, "step": 2}, Backoff.linear(1, 2)),
        ({"initial": 0.5, "jitter": "full"}, Backoff.exponential(0.5, jitter="full")),
        ("@mine", Backoff.fixed(7)),
    ],
)
def test_waits_are_a_number_or_a_table(given, right):
    (retry,) = policies_of(search({"type": "retry", "backoff": given}), mine=Backoff.fixed(7))
    assert retry.backoff == right


def test_waits_of_ones_own_are_given_by_name():
    waits = {"growth": "custom", "delays": "@squares"}
    (retry,) = policies_of(search({"type": "retry", "backoff": waits}), squares=lambda n: n**2)
    assert retry.backoff.plain(3) == 9


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("ConnectionError", ConnectionError),
        (["ConnectionError", "network"], (ConnectionError, ErrorCategory.NETWORK)),
        ("RateLimitedError", RateLimitedError),
        ("Exception", Exception),
        (["KeyError", "Mine"], (KeyError, ZeroDivisionError)),
        (["@Mine"], (ZeroDivisionError,)),
    ],
)
def test_failures_are_named(given, right):
    (retry,) = policies_of(search({"type": "retry", "on": given}), Mine=ZeroDivisionError)
    assert retry.on == right


def test_functions_are_given_by_name_with_an_at_sign():
    (fallback,) = policies_of(search({"type": "fallback", "value": "@mine"}), mine=dict)
    assert fallback.value is dict


def test_two_at_signs_are_one_and_no_name():
    (fallback,) = policies_of(search({"type": "fallback", "value": "@@holdfast"}))
    assert fallback.value == "@holdfast"


def test_chaos_is_configured_by_what_it_injects():
    (chaos,) = policies_of(
        search({"type": "chaos", "inject": "latency", "seconds": [0.5, 2.0], "rate": 0.1})
    )
    assert isinstance(chaos, Chaos)
    assert chaos.kind == "latency"


def test_a_profile_is_changed_by_what_stands_beside_it():
    table = {"pipelines": {"search": {"profile": "http_api", "max_attempts": 4, "total": 90}}}
    made = policies_of(table)
    assert [type(policy) for policy in made] == [Timeout, Retry, CircuitBreaker, Bulkhead, Timeout]
    assert made[0].seconds == 90
    assert made[1].max_attempts == 4
    assert made[1].backoff == Profile.http_api.backoff
    assert made[2].name == "search"


def test_a_listed_policy_changes_the_profiles_own_and_keeps_the_rest():
    table = {
        "pipelines": {
            "search": {
                "profile": "http_api",
                "policies": [
                    {"type": "retry", "backoff": 0.5, "max_retry_after": 10},
                    {"type": "circuit_breaker", "ramp_seconds": 20},
                ],
            }
        }
    }
    _, retry, breaker, _, _ = policies_of(table)
    assert retry.backoff == Backoff.fixed(0.5)
    assert retry.max_retry_after == 10
    assert retry.max_attempts == Profile.http_api.max_attempts
    assert retry.on is Profile.http_api.on
    assert breaker.circuit.settings.ramp_seconds == 20
    assert breaker.circuit.settings.failure_rate == Profile.http_api.failure_rate


def test_a_listed_policy_the_profile_lacks_finds_its_place():
    listed = [
        {"type": "chaos", "inject": "fault", "rate": 0.1},
        {"type": "hedge", "after": 0.5},
        {"type": "rate_limiter", "rate": 5},
        {"type": "load_shedder"},
        {"type": "fallback", "value": 0},
        {"type": "cache", "seconds": 5},
    ]
    table = {"pipelines": {"search": {"profile": "http_api", "policies": listed}}}
    assert [type(policy) for policy in policies_of(table)] == [
        Cache, Fallback, LoadShedder, Timeout, Retry, Hedge, CircuitBreaker, RateLimiter, Bulkhead,
        Timeout, Chaos,
    ]  # fmt: skip


def test_retries_and_hedges_of_a_profile_share_its_budget():
    table = {
        "pipelines": {"search": {"profile": "rpc", "policies": [{"type": "hedge", "after": 0.1}]}}
    }
    made = {type(policy): policy for policy in policies_of(table)}
    assert made[Retry].budget is made[Hedge].budget is not None


def test_a_profile_of_ones_own_is_given_by_name():
    table = {"pipelines": {"search": {"profile": "@mine"}}}
    made = policies_of(table, mine=Profile.gpu_job.but(max_attempts=9))
    assert made[1].max_attempts == 9


def test_budgets_are_shared_by_name():
    table = {
        "budgets": {"dependency": {"ratio": 0.1, "floor": 1}},
        "pipelines": {
            "one": {"policies": [{"type": "retry", "budget": "dependency"}]},
            "two": {"profile": "rpc", "budget": "dependency"},
            "three": {"profile": "rpc"},
        },
    }
    config = parse(table)
    budget = config.budgets["dependency"][1]
    assert (budget.ratio, budget.floor, budget.name) == (0.1, 1, "dependency")
    found = {
        name: next(s.policy.budget for s in specs if isinstance(s.policy, Retry))
        for name, specs in config.pipelines.items()
    }
    assert found["one"] is budget
    assert found["two"] is budget
    assert found["three"] is not budget


def test_breakers_are_shared_by_name():
    table = {
        "breakers": {"db": {"failure_threshold": 3}},
        "pipelines": {
            "one": {"policies": [{"type": "circuit_breaker", "name": "db"}]},
            "two": {"profile": "rpc", "breaker": "db"},
            "three": {"profile": "rpc"},
        },
    }
    config = parse(table)
    breakers = {
        name: next(s.policy for s in specs if isinstance(s.policy, CircuitBreaker))
        for name, specs in config.pipelines.items()
    }
    assert breakers["one"] is breakers["two"]
    assert breakers["one"] is not breakers["three"]
    assert breakers["one"].circuit.settings.failure_threshold == 3


@pytest.mark.parametrize(
    "pipeline",
    [
        {"profile": "rpc", "breaker": "db"},
        {"profile": "rpc", "policies": [{"type": "circuit_breaker", "name": "db"}]},
        {"policies": [{"type": "circuit_breaker", "name": "db"}]},
    ],
)
@pytest.mark.parametrize("name", ["x", "db"])
def test_a_breaker_with_a_table_of_its_own_has_these_settings_wherever_it_stands(pipeline, name):
    config = parse({"breakers": {"db": {"failure_threshold": 3}}, "pipelines": {name: pipeline}})
    breakers = [s.policy for s in config.specs.values() if isinstance(s.policy, CircuitBreaker)]
    assert [breaker.circuit.settings.failure_threshold for breaker in breakers] == [3]


def test_a_pipeline_of_the_name_of_a_breaker_uses_it():
    config = parse({"breakers": {"db": {}}, "pipelines": {"db": {"profile": "rpc"}}})
    assert config.specs["circuit_breaker", "db"] in config.pipelines["db"]


def test_bulkheads_and_limiters_are_shared_by_name():
    limits = [
        {"type": "rate_limiter", "name": "gpu", "rate": 2},
        {"type": "bulkhead", "name": "gpu", "max_concurrent": 2},
    ]
    config = parse({"pipelines": {"one": {"policies": limits}, "two": {"policies": limits}}})
    one, two = ([spec.policy for spec in specs] for specs in config.pipelines.values())
    assert [type(policy) for policy in one] == [RateLimiter, Bulkhead]
    assert all(a is b for a, b in zip(one, two, strict=True))


def test_retries_and_timeouts_are_never_shared_whatever_their_name():
    one = {"type": "retry", "name": "retry", "max_attempts": 2}
    config = parse(
        {"pipelines": {"a": {"policies": [one]}, "b": {"policies": [one | {"max_attempts": 5}]}}}
    )
    assert config.pipelines["b"][0].policy.max_attempts == 5


# -- what is refused -----------------------------------------------------------------------

REFUSED = {
    "an unknown setting": (
        search({"type": "retry"}, {"type": "retry", "max_atempts": 4}),
        (
            "pipelines.search.policies[1].max_atempts is no setting of a retry, got 4; "
            "did you mean max_attempts?"
        ),
    ),
    "a wrong number": (
        search({"type": "retry", "max_attempts": 0}),
        "pipelines.search.policies[0].max_attempts must be a whole number of at least 1, got 0",
    ),
    "a wrong type": (
        search({"type": "retry", "max_attempts": "3"}),
        "pipelines.search.policies[0].max_attempts must be a whole number of at least 1, got '3'",
    ),
    "a truth value for a number": (
        search({"type": "timeout", "seconds": True}),
        "pipelines.search.policies[0].seconds must be above 0 seconds, got True",
    ),
    "a missing setting": (
        search({"type": "bulkhead"}),
        "pipelines.search.policies[0].max_concurrent must be given: a bulkhead cannot do without",
    ),
    "an unknown policy": (
        search({"type": "rety"}),
        "pipelines.search.policies[0].type must be a policy, got 'rety'; did you mean retry?",
    ),
    "a type that is a list": (
        search({"type": ["retry"]}),
        ("pipelines.search.policies[0].type must be a policy, got ['retry']; did you mean retry?"),
    ),
    "a growth that is a list": (
        search({"type": "retry", "backoff": {"growth": []}}),
        (
            "pipelines.search.policies[0].backoff.growth must be exponential, linear, fixed, "
            "custom, none, got []"
        ),
    ),
    "a policy without a type": (
        search({"max_attempts": 3}),
        f"pipelines.search.policies[0].type must be given: one of {', '.join(KINDS)}",
    ),
    "a wrong setting of the waits": (
        search({"type": "retry", "backoff": {"initial": -1}}),
        "pipelines.search.policies[0].backoff.initial must be at least 0 seconds, got -1",
    ),
    "an unknown setting of the waits": (
        search({"type": "retry", "backoff": {"growth": "fixed", "dealy": 1}}),
        (
            "pipelines.search.policies[0].backoff.dealy is no setting of fixed waits, got 1; "
            "did you mean delay?"
        ),
    ),
    "an unknown growth": (
        search({"type": "retry", "backoff": {"growth": "quadratic"}}),
        (
            "pipelines.search.policies[0].backoff.growth must be exponential, linear, fixed, "
            "custom, "
            "none, got 'quadratic'"
        ),
    ),
    "an unknown exception": (
        search({"type": "retry", "on": ["OSError", "ConectionError"]}),
        (
            "pipelines.search.policies[0].on[1] must be the name of an exception or a category, "
            "got 'ConectionError'; did you mean ConnectionError?"
        ),
    ),
    "an exception that is no failure": (
        search({"type": "retry", "on": "KeyboardInterrupt"}),
        (
            "pipelines.search.policies[0].on must be the name of an exception or a category, "
            "got 'KeyboardInterrupt'; others are called by a name given at loading"
        ),
    ),
    "a setting of a breaker that is called otherwise inside": (
        search({"type": "circuit_breaker", "timeout_growth": 0}),
        "pipelines.search.policies[0].timeout_growth must be at least 1, got 0",
    ),
    "a contradiction within a policy": (
        search({"type": "timeout", "seconds": 5, "idle": 6}),
        "pipelines.search.policies[0].idle must be below seconds (5), or it never applies, got 6",
    ),
    "a contradiction between policies": (
        search(
            {"type": "timeout", "seconds": 5}, {"type": "retry"}, {"type": "timeout", "seconds": 5}
        ),
        (
            "pipelines.search: retries can never happen: the total timeout (5 s) must be above the "
            "attempt timeout (5 s)"
        ),
    ),
    "a contradiction between pipelines": (
        {
            "pipelines": {
                "a": {"policies": [{"type": "circuit_breaker", "name": "db", "timeout": 3}]},
                "b": {"policies": [{"type": "circuit_breaker", "name": "db"}]},
            }
        },
        (
            "pipelines.b.policies[0] contradicts pipelines.a.policies[0]: both are the "
            "circuit_breaker "
            "'db', with different timeout"
        ),
    ),
    "settings of a breaker in two places": (
        search({"type": "circuit_breaker", "name": "db", "timeout": 3}, breakers={"db": {}}),
        (
            "pipelines.search.policies[0].timeout must be given in breakers.db, which this policy "
            "names, got 3"
        ),
    ),
    "settings of a breaker in two places, beside a profile": (
        {
            "breakers": {"db": {}},
            "pipelines": {
                "s": {
                    "profile": "rpc",
                    "breaker": "db",
                    "policies": [{"type": "circuit_breaker", "timeout": 3}],
                }
            },
        },
        (
            "pipelines.s.policies[0].timeout must be given in breakers.db, which this policy "
            "names, got 3"
        ),
    ),
    "a name that is none": (
        search({"type": "bulkhead", "max_concurrent": 3, "name": 7}),
        "pipelines.search.policies[0].name must be a text of 1 to 200 characters, got 7",
    ),
    "a name that is none, beside a profile": (
        {"pipelines": {"s": {"profile": "rpc", "policies": [{"type": "retry", "name": []}]}}},
        "pipelines.s.policies[0].name must be a text of 1 to 200 characters, got []",
    ),
    "the same breaker twice in one pipeline": (
        search({"type": "circuit_breaker"}, {"type": "circuit_breaker"}),
        "pipelines.search has the circuit_breaker 'search' twice: give one of them another name",
    ),
    "an unknown budget": (
        search({"type": "retry", "budget": "serch"}, budgets={"search": {}}),
        (
            "pipelines.search.policies[0].budget must name one of the budgets of this "
            "configuration, "
            "got 'serch'; did you mean search?"
        ),
    ),
    "a wrong budget": (
        {"budgets": {"x": {"ratio": -1}}},
        "budgets.x.ratio must be at least 0 and at most 10, got -1",
    ),
    "a wrong breaker": (
        {"breakers": {"x": {"failure_rate": 2}}},
        "breakers.x.failure_rate must be above 0 and at most 1, got 2",
    ),
    "a second name of a breaker": (
        {"breakers": {"x": {"name": "y"}}},
        "breakers.x.name must not be given: its name is 'x' already, got 'y'",
    ),
    "an unknown name": (
        search({"type": "fallback", "value": "@cach"}),
        (
            "pipelines.search.policies[0].value must be one of the names given at loading, "
            "got '@cach'; did you mean cached?"
        ),
    ),
    "an unknown profile": (
        {"pipelines": {"search": {"profile": "htp_api"}}},
        (
            "pipelines.search.profile must be the name of a profile, got 'htp_api'; "
            "did you mean http_api?"
        ),
    ),
    "an unknown setting of a profile": (
        {"pipelines": {"search": {"profile": "rpc", "totl": 4}}},
        (
            "pipelines.search.totl is no setting of a pipeline with a profile, got 4; "
            "did you mean total?"
        ),
    ),
    "a wrong setting of a profile": (
        {"pipelines": {"search": {"profile": "rpc", "open_seconds": 0}}},
        "pipelines.search.open_seconds must be above 0 seconds, got 0",
    ),
    "a profile that contradicts itself": (
        {"pipelines": {"search": {"profile": "rpc", "total": 0.5}}},
        (
            "pipelines.search: retries can never happen: the total timeout (0.5 s) must be above "
            "the "
            "attempt timeout (1 s)"
        ),
    ),
    "a setting of a profile without a profile": (
        {"pipelines": {"search": {"max_attempts": 3, "policies": []}}},
        (
            "pipelines.search.max_attempts is no setting of a pipeline without a profile, got 3; "
            "there are policies, profile"
        ),
    ),
    "a timeout beside a profile": (
        {"pipelines": {"s": {"profile": "rpc", "policies": [{"type": "timeout", "seconds": 1}]}}},
        (
            "pipelines.s.policies[0] must not be a timeout: beside a profile, time limits are "
            "pipelines.s.total, .attempt and .idle, got {'seconds': 1}"
        ),
    ),
    "the same policy twice beside a profile": (
        {
            "pipelines": {
                "s": {"profile": "rpc", "policies": [{"type": "retry"}, {"type": "retry"}]}
            }
        },
        "pipelines.s.policies[1] must not be a second retry beside a profile",
    ),
    "an empty pipeline": (
        {"pipelines": {"search": {}}},
        "pipelines.search must have a profile or policies, got neither",
    ),
    "an unknown table": (
        {"pipelins": {}},
        "pipelins is no setting of a configuration, got {}; did you mean pipelines?",
    ),
    "a name with a dot, told so that it can be found": (
        {"pipelines": {"api.example.org": {"profile": 3}}},
        (
            'pipelines."api.example.org".profile must be the name of a profile, got 3; '
            "there are gpu_job, http_api, llm, rpc"
        ),
    ),
    "no table at all": ([], "the configuration must be a table, got []"),
    "no table of pipelines": ({"pipelines": []}, "pipelines must be a table, got []"),
    "no table of a pipeline": (
        {"pipelines": {"search": 3}},
        "pipelines.search must be a table, got 3",
    ),
    "no list of policies": (
        {"pipelines": {"search": {"policies": {"type": "retry"}}}},
        "pipelines.search.policies must be a list of tables, got {'type': 'retry'}",
    ),
    "no table of a policy": (
        search("retry"),
        "pipelines.search.policies[0] must be a table, got 'retry'",
    ),
    "chaos that injects nothing": (
        search({"type": "chaos", "rate": 0.1}),
        (
            "pipelines.search.policies[0].inject must be one of fault, latency, result, behaviour, "
            "got None"
        ),
    ),
}


@pytest.mark.parametrize(("table", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_refused_with_its_path_its_value_and_what_is_right(table, told):
    assert refusal(table, cached=dict) == told


def test_a_value_of_great_length_makes_no_message_of_great_length():
    assert len(refusal(search({"type": "x" * 100_000}))) < 500


# -- files ---------------------------------------------------------------------------------


def test_a_file_is_read_as_toml(tmp_path):
    path = tmp_path / "holdfast.toml"
    path.write_text(
        '[pipelines.search]\nprofile = "http_api"\n'
        "[[pipelines.search.policies]]\n"
        'type = "retry"\nmax_attempts = 4\nbackoff = {growth = "exponential", initial = 0.1}\n'
    )
    for source in (path, str(path)):
        (_, retry, *_) = policies_of(read(source))
        assert retry.max_attempts == 4
        assert retry.backoff.initial == 0.1


@pytest.mark.parametrize("content", [b"[pipelines", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_no_toml_is_refused_by_its_name(tmp_path, content):
    path = tmp_path / "holdfast.toml"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=r"holdfast\.toml is not TOML: "):
        read(path)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.toml")


@pytest.mark.parametrize("source", [None, 3, ["x"]])
def test_what_is_neither_table_nor_path_is_refused(source):
    with pytest.raises(BadInputError, match="source must be a table or the path of a file"):
        read(source)


# -- whatever comes ------------------------------------------------------------------------

WORDS = st.sampled_from(
    ["retry", "@f", "@x", "db", "", " ", "full", "Exception", "network", "p95", "fault", "latency"]
) | st.text(max_size=5)
SCALARS = (
    st.none() | st.booleans() | st.integers(-3, 100) | st.floats(width=16) | WORDS
)  # NaN and infinity are valid TOML
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["growth", "initial", "safe", "key", "x"]), inner, max_size=3
        )
    ),
    max_leaves=5,
)
CHAOS = {"inject", "rate", "seed", "error", "seconds", "when", "drill", "enabled"}
TAKEN = {
    kind: sorted(CHAOS if kind == "chaos" else parameters(type(made_of("", kind, _least(kind)))))
    for kind in KINDS
}


@st.composite
def entries(draw):
    """A listed policy: mostly settings it has, values of all kinds, now and then a wrong key."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    keys = st.sampled_from(TAKEN[kind]) | st.sampled_from(["type", "x"])
    listed = {"type": kind} | _least(kind) | draw(st.dictionaries(keys, VALUES, max_size=4))
    return {"rate": 0.5, "inject": "fault"} | listed if kind == "chaos" else listed


PROFILE_KEYS = [*settings_of_profiles(), "budget", "breaker", "bulkhead", "idempotency", "x"]


@settings(max_examples=150, deadline=None)
@given(st.lists(entries(), max_size=3), st.dictionaries(st.sampled_from(PROFILE_KEYS), VALUES))
def test_whatever_stands_beside_a_profile_is_built_or_refused_with_its_path(listed, beside):
    pipeline = {"profile": "http_api", "policies": listed} | beside
    try:
        config = parse({"pipelines": {"search": pipeline}}, {"f": len})
    except BadInputError as refused:
        assert str(refused).startswith("pipelines.search")  # noqa: PT017
    else:
        assert config.pipelines["search"]


@settings(max_examples=150, deadline=None)
@given(st.lists(entries(), max_size=3))
def test_whatever_comes_is_built_or_refused_with_its_path(policies):
    table = search(*policies)
    try:
        config = parse(table, {"f": len})
    except BadInputError as refused:
        assert str(refused).startswith("pipelines.search")  # noqa: PT017
    else:
        assert len(config.pipelines["search"]) == len(policies)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["pipelines", "budgets", "breakers", "x"]), VALUES))
def test_whatever_table_comes_is_built_or_refused(table):
    try:
        parse(table)
    except BadInputError as refused:
        assert str(refused)  # noqa: PT017


def test_no_setting_is_not_a_number():
    for setting in ("seconds", "idle"):
        told = refusal(search({"type": "timeout", setting: math.nan}))
        assert told.startswith(f"pipelines.search.policies[0].{setting} must be above 0")


@pytest.mark.parametrize("named", [{"breaker": "b"}, {}], ids=["by name", "by the pipeline's"])
def test_a_change_to_a_breaker_that_has_a_table_of_its_own_is_refused_beside_a_profile(named):
    table = {
        "breakers": {"b": {"failure_threshold": 3}},
        "pipelines": {"b": {"profile": "rpc", "failure_threshold": 9} | named},
    }
    with pytest.raises(BadInputError, match=r"pipelines\.b\.failure_threshold must be given in"):
        parse(table)


def test_a_number_of_400_digits_is_refused_by_its_path():
    table = {"pipelines": {"p": {"policies": [{"type": "timeout", "seconds": 10**400}]}}}
    with pytest.raises(BadInputError, match=r"policies\[0\]\.seconds must be above 0"):
        parse(table)
