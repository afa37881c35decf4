"""How often the labels of real messages are met (`benchmarks.classification` prints figures)."""

from __future__ import annotations

import pytest

from benchmarks.classification import accuracy, messages

FLOORS = {
    "developed on": {"category": 0.98, "transient": 0.98, "best_recovery": 0.96, "severity": 0.96},
    "tuned on": {"category": 0.96, "transient": 0.98, "best_recovery": 0.95, "severity": 0.95},
    # What was reached before anything was tuned on messages of their kind.
    "held out": {"category": 0.952, "transient": 0.976, "best_recovery": 0.928, "severity": 0.952},
}


@pytest.mark.parametrize("name", FLOORS)
def test_accuracy_stays_above_its_floor(name):
    reached = accuracy(messages()[name])
    short = {field: value for field, value in reached.items() if value < FLOORS[name][field]}
    assert not short


def test_the_corpus_has_at_least_150_messages_of_our_own_and_a_third_is_held_out():
    found = messages()
    held, tuned = len(found["held out"]), len(found["tuned on"])
    assert held + tuned >= 150
    assert held / (held + tuned) > 0.3


def test_no_message_is_in_two_sets():
    keys = [
        (one["exception_type"], one["message"], one["node_type"])
        for labelled in messages().values()
        for one in labelled
    ]
    own = [key for key in keys if key[1]]
    assert len(own) - len(set(own)) <= 4  # a few famous messages are in both
