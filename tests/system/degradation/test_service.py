"""Levels read, moved by hand, per dependency, remembered and told."""

from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast.errors import BadInputError
from holdfast.events import DegradationChanged, listen
from holdfast.system.degradation import (
    Cause,
    DegradationLevel,
    DegradationSettings,
    GracefulDegradation,
)
from holdfast.testing import FakeClock, recorded_events

NAMES = ["full", "high", "medium", "low", "minimal"]


@pytest.fixture
def clock():
    with FakeClock(start=0.0) as fake:
        yield fake


def test_the_levels_are_those_of_the_original():
    degradation = GracefulDegradation()
    assert degradation.degradation_levels == {
        "full": {"quality": 1.0, "features": "all"},
        "high": {"quality": 0.8, "features": "most"},
        "medium": {"quality": 0.6, "features": "core"},
        "low": {"quality": 0.4, "features": "basic"},
        "minimal": {"quality": 0.2, "features": "essential"},
    }
    assert [level.rank for level in DegradationLevel] == [0, 1, 2, 3, 4]


def test_down_and_up_one_at_a_time():
    degradation = GracefulDegradation()
    assert degradation.current_level == "full"
    assert [degradation.degrade("busy") for _ in range(5)] == [*NAMES[1:], "minimal"]
    assert [degradation.restore() for _ in range(5)] == [*reversed(NAMES[:-1]), "full"]


def test_several_levels_at_once():
    degradation = GracefulDegradation()
    assert degradation.degrade("fire", levels=3) == "low"
    assert degradation.degrade("fire", levels=10**9) == "minimal"
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(BadInputError, match="levels must be a whole number"):
            degradation.degrade("fire", levels=wrong)


def test_the_level_can_be_assigned():
    degradation = GracefulDegradation()
    degradation.current_level = "low"
    assert degradation.current_level is DegradationLevel.LOW
    degradation.current_level = DegradationLevel.FULL
    assert degradation.current_level == "full"
    with pytest.raises(BadInputError, match="must be one of full, high, medium, low, minimal"):
        degradation.current_level = "best"


def test_the_configuration_of_a_level():
    degradation = GracefulDegradation()
    degradation.degrade("busy", scope="gpu1")
    assert degradation.get_config() == {"level": "full", "quality": 1.0, "features": "all"}
    assert degradation.get_config("gpu1") == {"level": "high", "quality": 0.8, "features": "most"}


def test_a_dependency_gets_the_worse_of_its_own_level_and_that_of_the_service():
    degradation = GracefulDegradation()
    assert degradation.degrade("hot", scope="gpu1", levels=2) == "medium"
    assert degradation.level("gpu2") == degradation.current_level == "full"
    degradation.current_level = "low"
    assert (degradation.level("gpu1"), degradation.level("gpu2")) == ("low", "low")
    degradation.current_level = "high"
    assert (degradation.level("gpu1"), degradation.level("gpu2")) == ("medium", "high")
    assert degradation.adjust_parameters({"steps": 50}, scope="gpu1") == {"steps": 30}
    assert degradation.adjust_parameters({"steps": 50}) == {"steps": 40}


def test_degrading_a_dependency_always_gives_it_less():
    degradation = GracefulDegradation()
    degradation.current_level = "medium"
    assert degradation.degrade("hot", scope="gpu1") == "low"
    assert degradation.restore(scope="gpu1") == "medium"
    assert degradation.restore(scope="never heard of") == "medium"


def test_it_restores_by_itself_one_level_after_each_quiet_period(clock):
    degradation = GracefulDegradation()
    degradation.degrade("busy", levels=2)
    clock.advance(299.9)
    assert degradation.current_level == "medium"
    clock.advance(0.2)
    assert degradation.current_level == "high"
    clock.advance(10_000)
    assert degradation.adjust_parameters({"steps": 50}) == {"steps": 50}
    assert [change.at for change in degradation.history()] == [0.0, 300.0, 600.0]
    assert {change.cause for change in degradation.history()[1:]} == {Cause.QUIET}


def test_tick_restores_everything_that_is_due_and_says_what(clock):
    degradation = GracefulDegradation()
    degradation.degrade("busy")
    degradation.degrade("hot", scope="gpu1", levels=2)
    clock.advance(300)
    told = {(change.scope, change.old, change.new) for change in degradation.tick()}
    assert told == {(None, "high", "full"), ("gpu1", "low", "medium")}
    assert degradation.tick() == ()


def test_pinned_it_stays_until_unpinned(clock):
    degradation = GracefulDegradation()
    degradation.current_level = "low"
    degradation.pin()
    clock.advance(100_000)
    assert degradation.current_level == "low"
    degradation.observe_error("critical")
    assert degradation.current_level == "low"
    degradation.unpin()
    assert degradation.current_level == "low"
    clock.advance(300)
    assert degradation.current_level == "medium"


def test_one_dependency_can_be_pinned_alone(clock):
    degradation = GracefulDegradation()
    degradation.degrade("hot", scope="gpu1")
    degradation.degrade("hot", scope="gpu2")
    degradation.pin(scope="gpu1")
    clock.advance(1_000)
    assert (degradation.level("gpu1"), degradation.level("gpu2")) == ("high", "full")
    assert degradation.snapshot()["scopes"]["gpu1"]["pinned"] is True


def test_reset_makes_everything_as_new_but_for_its_memory():
    degradation = GracefulDegradation()
    degradation.degrade("busy", levels=2)
    degradation.degrade("hot", scope="gpu1")
    degradation.pin()
    with recorded_events(DegradationChanged) as seen:
        assert degradation.reset() == "full"
    assert {(event.scope, event.new) for event in seen.of(DegradationChanged)} == {
        (None, "full"),
        ("gpu1", "full"),
    }
    assert degradation.level("gpu1") == "full"
    assert degradation.snapshot()["pinned"] is False
    assert len(degradation.history()) == 4


def test_every_change_is_an_event_with_its_reason_and_its_cause(clock):
    degradation = GracefulDegradation(name="render")
    with recorded_events(DegradationChanged) as seen:
        degradation.degrade("too hot", scope="gpu1")
        degradation.degrade("too hot", scope="gpu1", levels=3)
        degradation.degrade("at the end already", scope="gpu1")
        clock.advance(300)
        degradation.tick()
    assert list(seen.of(DegradationChanged)) == [
        DegradationChanged("render", 0.0, "gpu1", "full", "high", "too hot", "hand"),
        DegradationChanged("render", 0.0, "gpu1", "high", "minimal", "too hot", "hand"),
        DegradationChanged("render", 300.0, "gpu1", "minimal", "low", "quiet for 300 s", "quiet"),
    ]


def test_changes_are_logged_and_what_strangers_wrote_is_made_safe(caplog, clock):
    degradation = GracefulDegradation()
    with caplog.at_level(logging.INFO, logger="holdfast.degradation"):
        degradation.degrade("no\nsuch \x1b[31mline" + "x" * 9_000)
        degradation.restore()
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.INFO]
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith(
        "degradation: the whole service degraded from full to high: no such \ufffd[31mline"
    )
    assert first.endswith("(hand)")
    assert len(first) < 600
    assert second == (
        "degradation: the whole service restored from high to full: restored by hand (hand)"
    )


def test_history_is_bounded_and_what_is_gone_is_counted():
    degradation = GracefulDegradation(DegradationSettings(max_history=10))
    for _ in range(50):
        degradation.degrade("again")
        degradation.restore()
    assert len(degradation.history()) == 10
    assert degradation.snapshot()["changes"] == 100


def test_history_tells_the_date_of_each_change(clock):
    degradation = GracefulDegradation()
    start = clock.wall()
    degradation.degrade("busy")
    clock.advance(1_000)
    degradation.tick()
    assert [change.wall - start for change in degradation.history()] == [0.0, 300.0]


def test_dependencies_at_full_make_room_and_what_finds_none_is_said(caplog, clock):
    degradation = GracefulDegradation(DegradationSettings(max_scopes=3))
    for name in ("a", "b", "c"):
        degradation.degrade("x", scope=name)
    with caplog.at_level(logging.WARNING, logger="holdfast.degradation"):
        assert degradation.degrade("x", scope="d") == "full"
        assert degradation.degrade("x", scope="e") == "full"
    told = [r.getMessage() for r in caplog.records if "no room" in r.getMessage()]
    assert len(told) == 1
    assert "no room for a level of 'd': all 3 scopes are degraded or pinned" in told[0]
    assert degradation.snapshot()["refused_scopes"] == 2
    degradation.restore(scope="b")
    clock.advance(1.0)
    assert degradation.degrade("x", scope="d") == "high"
    assert set(degradation.snapshot()["scopes"]) == {"a", "c", "d"}


def test_what_is_due_for_restoring_makes_room_as_well(clock):
    degradation = GracefulDegradation(DegradationSettings(max_scopes=2))
    degradation.degrade("x", scope="a")
    degradation.degrade("x", scope="b")
    clock.advance(1_000)
    assert degradation.degrade("x", scope="c") == "high"
    assert degradation.level("a") == "full"
    assert [change.scope for change in degradation.history()] == ["a", "b", "a", "c"]


def test_a_pinned_dependency_is_not_forgotten(clock):
    degradation = GracefulDegradation(DegradationSettings(max_scopes=1))
    degradation.pin(scope="a")
    assert degradation.degrade("x", scope="b") == "full"


def test_a_million_names_do_not_fill_the_memory(clock):
    degradation = GracefulDegradation(DegradationSettings(max_scopes=50))
    for number in range(5_000):
        degradation.observe_call(number % 2 == 0, 0.1, f"name {number}")
    assert degradation.snapshot()["known_scopes"] == 50


def test_asking_makes_nothing():
    degradation = GracefulDegradation()
    degradation.level("x")
    degradation.get_config("y")
    degradation.adjust_parameters({}, scope="z")
    degradation.unpin(scope="u")
    degradation.restore(scope="v")
    assert degradation.snapshot()["known_scopes"] == 0


def test_a_scope_must_be_a_name():
    degradation = GracefulDegradation()
    for wrong in ("", 5, "x" * 201):
        with pytest.raises(BadInputError, match="scope must be a text"):
            degradation.degrade("x", scope=wrong)


def test_the_snapshot_is_plain_data(clock):
    degradation = GracefulDegradation()
    degradation.degrade("hot", scope="gpu1")
    told = json.loads(json.dumps(degradation.snapshot()))
    assert told["level"] == "full"
    assert told["scopes"] == {"gpu1": {"level": "high", "pinned": False, "quiet_seconds": 300.0}}
    assert told["last_change"]["reason"] == "hot"
    assert type(degradation.snapshot()["level"]) is str


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"settings": {}}, "settings must be a DegradationSettings"),
        ({"name": ""}, "name must be a text"),
        ({"knobs": [5]}, "knob must have name"),
    ],
)
def test_what_cannot_work_is_refused(arguments, told):
    with pytest.raises(BadInputError, match=told):
        GracefulDegradation(**arguments)


def test_a_listener_may_ask_and_act_while_it_is_told():
    degradation = GracefulDegradation()
    seen = []

    def hear(event):
        seen.append(degradation.current_level)
        if len(seen) < 3:
            degradation.degrade("more")

    with listen(hear):
        degradation.degrade("first")
    assert seen == ["high", "medium", "low"]


def test_no_change_is_lost_in_threads():
    degradation = GracefulDegradation(DegradationSettings(max_history=100_000))
    start = threading.Barrier(8)

    def work(number):
        start.wait(10)
        for turn in range(200):
            scope = None if turn % 2 else f"gpu{number % 3}"
            degradation.degrade("x", scope=scope)
            degradation.adjust_parameters({"steps": 50, "resolution": "1080p"}, scope=scope)
            degradation.observe_call(turn % 3 == 0, 0.1, scope)
            degradation.restore(scope=scope)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    level = {}
    for change in degradation.history():
        assert change.old == level.get(change.scope, "full")
        level[change.scope] = change.new
    assert len(degradation.history()) == degradation.snapshot()["changes"]
    assert level[None] == degradation.current_level
