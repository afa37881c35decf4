"""Settings: every table and field, from code and from a file; refusals name the path."""

from __future__ import annotations

import inspect
import math
from dataclasses import MISSING, fields

import pytest

from holdfast import (
    BadInputError,
    CircuitBreaker,
    ErrorAnalytics,
    ErrorHandlingSystem,
    GracefulDegradation,
)
from holdfast.policies.backoff import Backoff
from holdfast.stores import ErrorHistory
from holdfast.system.degradation import DegradationSettings, Thresholds
from holdfast.system.settings import (
    AnalyticsSettings,
    HistorySettings,
    RetrySettings,
    SystemSettings,
    settings_from,
)

WHOLE = """
[system]
name = "studio"
total = 900.0
max_breakers = 50
max_chains = 20
recover = false
integrations = false
degraded_attempts = 2

[retry]
max_attempts = 5
initial = 0.5
maximum = 20.0
base = 3.0
jitter = 0.1
budget_ratio = 0.5
budget_floor = 3

[circuit_breaker]
failure_threshold = 9
timeout = 30.0

[degradation]
severity = "high"
cooldown = 5.0
failures = {degrade = [0.2, 0.4], restore = [0.1, 0.2]}
error_rate = {degrade = [10, 20], restore = [5, 10]}
latency = {degrade = [2, 3], restore = [1.5, 2]}
latency_target = 4.0
latency_quantile = 0.9
memory = false
memory_stalls = {degrade = [0.5], restore = [0.2]}
window_seconds = 60.0
minimum_calls = 5
step_seconds = 1.0
quiet_seconds = 100.0
quiet_maximum = 200.0
reading_seconds = 7.0
max_scopes = 30
max_history = 40

[analytics]
max_history = 70
max_groups = 80

[history]
url = "PLACE"
retention_days = 3.5
max_bytes = 2000000
flush_seconds = 0.1
restore = 9

[pipelines.upload]
policies = [{type = "retry", max_attempts = 2}]

[breakers.shared]
failure_threshold = 4
"""


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / "holdfast.toml"
    path.write_text(WHOLE.replace("PLACE", str(tmp_path / "errors.db")))
    return path


def refused(config):
    with pytest.raises(BadInputError) as caught:
        SystemSettings.of(config)
    return str(caught.value)


# -- from a file, from a table, from code ----------------------------------------------------------


def test_every_field_of_every_table_can_be_set_in_a_file(whole, tmp_path):
    told = settings_from(whole)
    assert (told.name, told.total, told.max_breakers, told.max_chains) == ("studio", 900.0, 50, 20)
    assert (told.recover, told.degraded_attempts) == (False, 2)
    assert told.retry == RetrySettings(5, 0.5, 20.0, 3.0, 0.1, 0.5, 3)
    assert told.circuit_breaker == {"failure_threshold": 9, "timeout": 30.0}
    assert told.degradation == DegradationSettings(
        severity="high",
        cooldown=5.0,
        failures=Thresholds((0.2, 0.4), (0.1, 0.2)),
        error_rate=Thresholds((10, 20), (5, 10)),
        latency=Thresholds((2, 3), (1.5, 2)),
        latency_target=4.0,
        latency_quantile=0.9,
        memory=None,
        memory_stalls=Thresholds((0.5,), (0.2,)),
        window_seconds=60.0,
        minimum_calls=5,
        step_seconds=1.0,
        quiet_seconds=100.0,
        quiet_maximum=200.0,
        reading_seconds=7.0,
        max_scopes=30,
        max_history=40,
    )
    assert told.analytics == AnalyticsSettings(70, 80)
    assert told.history == HistorySettings(str(tmp_path / "errors.db"), 3.5, 2_000_000, 0.1, 9)


def test_the_file_above_leaves_out_no_field():
    """So that the test before it cannot pass over one that was added."""
    tables = {
        "system": SystemSettings,
        "retry": RetrySettings,
        "degradation": DegradationSettings,
        "analytics": AnalyticsSettings,
        "history": HistorySettings,
    }
    own_tables = {*tables, "circuit_breaker", "pipelines"}
    for table, kind in tables.items():
        section = WHOLE.partition(f"[{table}]\n")[2].partition("\n\n")[0]
        there = {line.partition(" = ")[0] for line in section.splitlines()}
        assert there == {one.name for one in fields(kind)} - own_tables


def test_a_file_and_the_same_table_are_equal(whole):
    import tomllib

    table = tomllib.loads(whole.read_text())
    assert settings_from(whole) == settings_from(table) == SystemSettings.of(table)
    assert SystemSettings.of({}) == SystemSettings.of(None) == SystemSettings()


def test_a_system_from_a_file_behaves_as_it_says(whole):
    with ErrorHandlingSystem.from_toml(whole) as system:
        assert system.settings == settings_from(whole)
        assert system.error_analytics.max_history == 70
        assert system.error_analytics.max_groups == 80
        assert system.graceful_degradation.settings.cooldown == 5.0
        assert system.get_circuit_breaker("a").circuit.settings.failure_threshold == 9
        assert system.get_circuit_breaker("shared").circuit.settings.failure_threshold == 4
        assert system.registry.breakers()["shared"] is system.get_circuit_breaker("shared")
        assert system.history.state()["url"].endswith("errors.db")
        for number in range(20):
            system.get_fallback_chain(f"chain {number}")
        with pytest.raises(BadInputError, match="20"):
            system.get_fallback_chain("one more")


def test_settings_as_they_are_pass_through():
    settings = SystemSettings(name="mine")
    assert SystemSettings.of(settings) is settings
    assert ErrorHandlingSystem(settings).settings is settings


def test_a_degradation_switch_in_a_file_is_true_or_false():
    on = SystemSettings.of({"degradation": {"failures": True, "memory": True}}).degradation
    assert on.failures == DegradationSettings().failures
    assert on.memory == DegradationSettings().memory
    off = SystemSettings.of({"degradation": {"failures": False, "memory": False}}).degradation
    assert off.failures is None
    assert off.memory is None


def test_names_are_what_pipelines_may_call(tmp_path):
    path = tmp_path / "holdfast.toml"
    path.write_text('[pipelines.a]\npolicies = [{type = "retry", on = "OddError"}]\n')
    with pytest.raises(BadInputError, match="OddError"):
        ErrorHandlingSystem.from_toml(path)
    odd = type("OddError", (Exception,), {})
    system = ErrorHandlingSystem.from_toml(path, names={"OddError": odd})
    assert system.settings.pipelines["pipelines"]["a"]


def test_a_missing_file_is_told_as_the_system_tells_it(tmp_path):
    with pytest.raises(FileNotFoundError):
        ErrorHandlingSystem.from_toml(tmp_path / "none.toml")


# -- defaults --------------------------------------------------------------------------------------


def defaults_of(kind):
    found = {}
    for one in fields(kind):
        found[one.name] = one.default if one.default is not MISSING else one.default_factory()
    return found


def parameters_of(make):
    return {
        name: one.default
        for name, one in inspect.signature(make).parameters.items()
        if one.default is not one.empty
    }


@pytest.mark.parametrize(
    ("kind", "make", "apart"),
    [
        (AnalyticsSettings, ErrorAnalytics, set()),
        # Nothing is kept unless a place is named, and what is read back is the system's affair.
        (HistorySettings, ErrorHistory, {"url", "restore"}),
        (
            RetrySettings,
            Backoff.exponential,
            {"max_attempts", "budget_ratio", "budget_floor"},
        ),
    ],
)
def test_defaults_are_those_of_the_classes(kind, make, apart):
    ours, theirs = defaults_of(kind), parameters_of(make)
    for name in ours.keys() - apart:
        assert ours[name] == theirs[name], name


def test_degradation_has_its_own_defaults_but_for_what_costs_every_call():
    ours = SystemSettings().degradation
    own = GracefulDegradation().settings
    apart = [one.name for one in fields(ours) if getattr(ours, one.name) != getattr(own, one.name)]
    assert apart == ["failures"]
    assert ours.failures is None
    assert SystemSettings.of({"degradation": {}}).degradation == ours


def test_a_breaker_of_a_system_is_like_any_other():
    ours = ErrorHandlingSystem().get_circuit_breaker("a").circuit.settings
    assert ours == CircuitBreaker("a").circuit.settings


# -- refusals ----------------------------------------------------------------------------------

NUMBERS = [
    ("system", "total"),
    ("system", "max_breakers"),
    ("system", "max_chains"),
    ("system", "degraded_attempts"),
    ("retry", "max_attempts"),
    ("retry", "initial"),
    ("retry", "maximum"),
    ("retry", "base"),
    ("retry", "jitter"),
    ("retry", "budget_ratio"),
    ("retry", "budget_floor"),
    ("circuit_breaker", "failure_threshold"),
    ("circuit_breaker", "success_threshold"),
    ("circuit_breaker", "timeout"),
    ("degradation", "cooldown"),
    ("degradation", "latency_quantile"),
    ("degradation", "window_seconds"),
    ("degradation", "minimum_calls"),
    ("degradation", "step_seconds"),
    ("degradation", "quiet_seconds"),
    ("degradation", "quiet_maximum"),
    ("degradation", "reading_seconds"),
    ("degradation", "max_scopes"),
    ("degradation", "max_history"),
    ("analytics", "max_history"),
    ("analytics", "max_groups"),
    ("history", "retention_days"),
    ("history", "max_bytes"),
    ("history", "flush_seconds"),
    ("history", "restore"),
]
ZERO_IS_RIGHT = {
    ("system", "degraded_attempts"),
    ("retry", "initial"),
    ("retry", "maximum"),
    ("retry", "jitter"),
    ("retry", "budget_ratio"),
    ("retry", "budget_floor"),
    ("degradation", "cooldown"),
    ("degradation", "step_seconds"),
    ("history", "restore"),
}


@pytest.mark.parametrize("value", [math.nan, math.inf, -1, -0.5, True, "5", [5]], ids=repr)
@pytest.mark.parametrize(("table", "field"), NUMBERS)
def test_what_is_no_number_in_the_range_is_refused_by_its_path(table, field, value):
    if (field, value) == ("maximum", math.inf):
        assert SystemSettings.of({table: {field: value}}).retry.maximum == math.inf  # no limit
        return
    told = refused({table: {field: value}})
    assert told.startswith(f"{table}.{field} "), told
    assert f"{value!r}" in told


@pytest.mark.parametrize(("table", "field"), [one for one in NUMBERS if one not in ZERO_IS_RIGHT])
def test_zero_is_refused_where_it_makes_no_sense(table, field):
    told = refused({table: {field: 0}})
    assert told.startswith(f"{table}.{field} "), told


@pytest.mark.parametrize(
    ("config", "path", "near"),
    [
        ({"sistem": {}}, "sistem", "system"),
        ({"system": {"totl": 5}}, "system.totl", "total"),
        ({"retry": {"max_atempts": 5}}, "retry.max_atempts", "max_attempts"),
        ({"circuit_breaker": {"timeuot": 5}}, "circuit_breaker.timeuot", "timeout"),
        ({"degradation": {"cool_down": 5}}, "degradation.cool_down", "cooldown"),
        (
            {"degradation": {"memory": {"degrad": [0.5]}}},
            "degradation.memory.degrad",
            "degrade",
        ),
        ({"analytics": {"max_histroy": 5}}, "analytics.max_histroy", "max_history"),
        ({"history": {"ulr": "a"}}, "history.ulr", "url"),
        (
            {"pipelines": {"a": {"policies": [{"type": "retry", "max_atempts": 2}]}}},
            "pipelines.a.policies[0].max_atempts",
            "max_attempts",
        ),
        ({"pipelines": {"a": {"polices": []}}}, "pipelines.a.polices", "policies"),
        ({"breakers": {"a": {"timeuot": 2}}}, "breakers.a.timeuot", "timeout"),
        ({"budgets": {"a": {"ration": 2}}}, "budgets.a.ration", "ratio"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(config, path, near):
    told = refused(config)
    assert told.startswith(f"{path} "), told
    assert f"did you mean {near}?" in told


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"system": {"name": ""}}, "system.name"),
        ({"system": {"name": 5}}, "system.name"),
        ({"system": {"recover": 1}}, "system.recover"),
        ({"system": {"recover": "yes"}}, "system.recover"),
        ({"degradation": {"severity": "grave"}}, "degradation.severity"),
        ({"degradation": {"latency_target": 5.0}}, "degradation.latency_target"),
        ({"degradation": {"quiet_maximum": 1.0}}, "degradation.quiet_maximum"),
        ({"degradation": {"memory": 5}}, "degradation.memory"),
        ({"degradation": {"memory": {"degrade": [2.0]}}}, "degradation.memory"),
        ({"degradation": {"memory": {"degrade": [0.5, 0.4]}}}, "degradation.memory"),
        ({"history": {"url": ""}}, "history.url"),
        ({"history": {"url": 5}}, "history.url"),
        ({"retry": {"maximum": 0.5}}, "retry"),
        ({"circuit_breaker": {"name": "a"}}, "circuit_breaker.name"),
        ({"system": 5}, "system"),
        ({"retry": [1]}, "retry"),
        ({"circuit_breaker": 5}, "circuit_breaker"),
        ({"pipelines": 5}, "pipelines"),
        ({5: {}}, "config"),
    ],
)
def test_what_contradicts_itself_is_refused_by_its_path(config, path):
    assert refused(config).startswith(path)


@pytest.mark.parametrize("config", [5, "holdfast.toml", [("retry", {})], object()])
def test_what_is_no_configuration_is_refused(config):
    assert refused(config).startswith("config must be a table")


def test_settings_from_code_are_refused_when_they_are_built():
    for build, field in [
        (lambda: SystemSettings(total=-1), "total"),
        (lambda: SystemSettings(retry=None), "retry"),
        (lambda: SystemSettings(degradation={"cooldown": 5}), "degradation"),
        (lambda: SystemSettings(analytics=5), "analytics"),
        (lambda: SystemSettings(history="errors.db"), "history"),
        (lambda: SystemSettings(circuit_breaker=5), "circuit_breaker"),
        (lambda: RetrySettings(max_attempts=0), "max_attempts"),
        (lambda: RetrySettings(budget_ratio="much"), "budget_ratio"),
        (lambda: HistorySettings(restore=-1), "restore"),
        (lambda: AnalyticsSettings(max_groups=True), "max_groups"),
    ]:
        with pytest.raises(BadInputError, match=field):
            build()


def test_a_total_in_which_no_retry_fits_is_refused():
    with pytest.raises(BadInputError, match=r"system\.total must be above the first wait"):
        SystemSettings.of({"system": {"total": 0.5}})
    assert SystemSettings.of({"system": {"total": 0.5}, "retry": {"max_attempts": 1}}).total == 0.5
