"""The hub: every listener hears every event, and none can change a call."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from holdfast.errors import BadInputError
from holdfast.events import CallSucceeded, Event, Hub, Subscription, hub, kinds, listen
from holdfast.policies.retry import Retry

EVENT = CallSucceeded("x", 1.0, 1, 0.5)


def test_without_a_listener_the_hub_is_not_active():
    own = Hub()
    assert not own.active
    own.emit(EVENT)
    subscription = own.add(print)
    assert own.active
    subscription.close()
    assert not own.active


def test_every_listener_hears_every_event_in_order():
    own, first, second = Hub(), [], []
    own.add(first.append)
    own.add(second.append)
    other = CallSucceeded("y", 2.0, 1, 0.5)
    own.emit(EVENT)
    own.emit(other)
    assert first == second == [EVENT, other]


def test_a_listener_that_raises_is_handed_over_and_slows_nobody_down():
    own, heard, faults = Hub(), [], []

    def broken(event: Event) -> None:
        raise ZeroDivisionError

    own.fault = lambda listener, event, error: faults.append((listener, event, type(error)))
    own.add(broken)
    own.add(heard.append)
    own.emit(EVENT)
    assert heard == [EVENT]
    assert faults == [(broken, EVENT, ZeroDivisionError)]


def test_a_fault_that_raises_does_not_fail_the_call_either(monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(hub, "fault", broken)
    with listen(broken):
        assert Retry().call(lambda: 7) == 7


def test_the_same_listener_may_listen_twice_and_leaves_once_at_a_time():
    own, heard = Hub(), []
    listener = heard.append
    first, second = own.add(listener), own.add(listener)
    own.emit(EVENT)
    assert len(heard) == 2
    first.close()
    own.emit(EVENT)
    assert len(heard) == 3
    second.close()
    assert not own.active


def test_closing_twice_takes_nobody_elses_place():
    own, heard = Hub(), []
    listener = heard.append
    first = own.add(listener)
    own.add(listener)
    first.close()
    first.close()
    own.emit(EVENT)
    assert len(heard) == 1


def test_an_unknown_listener_can_be_removed():
    Hub().remove(print)


def test_a_block_listens_as_long_as_it_lasts():
    heard: list[Event] = []
    with listen(heard.append) as subscription:
        assert isinstance(subscription, Subscription)
        Retry().call(lambda: 1)
    Retry().call(lambda: 1)
    assert len(heard) == 1
    assert not hub.active


def test_a_listener_may_leave_while_it_listens():
    own, heard = Hub(), []
    subscription = own.add(lambda event: (heard.append(event), subscription.close()))
    own.emit(EVENT)
    own.emit(EVENT)
    assert heard == [EVENT]


def test_listeners_that_come_and_go_in_threads_are_not_lost():
    own, start = Hub(), threading.Barrier(4)

    def come_and_go(stay: list[Subscription]) -> None:
        start.wait()
        for _ in range(300):
            stay.append(own.add(lambda _: None))
            stay.pop(0).close()

    stays = [[own.add(lambda _: None)] for _ in range(4)]
    threads = [threading.Thread(target=come_and_go, args=(stay,)) for stay in stays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10.0)
    assert own.active
    for stay in stays:
        for subscription in stay:
            subscription.close()
    assert not own.active
    assert own._listeners == ()


KINDS = [
    kind for kind in vars(kinds).values() if isinstance(kind, type) and issubclass(kind, Event)
]


def test_there_are_kinds_of_events():
    assert len(KINDS) > 15


@pytest.mark.parametrize("kind", KINDS)
def test_events_are_frozen_small_and_hold_plain_data(kind):
    assert kind.__dataclass_params__.frozen
    assert "__dict__" not in dir(kind)
    plain = {"str", "float", "int", "bool", "float | None", "tuple[str, ...]", "str | None",
             "int | None"}  # fmt: skip
    assert {str(field.type) for field in dataclasses.fields(kind)} <= plain
    assert [field.name for field in dataclasses.fields(kind)][:2] == ["policy", "at"]


@pytest.mark.parametrize("listener", [None, "print", 5])
def test_what_cannot_be_called_cannot_listen(listener):
    with pytest.raises(BadInputError, match=r"^listener must be a function"):
        listen(listener)
    assert not hub.active
