"""Rules: how they are written, added, removed, and brought by other packages."""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint

import pytest

from holdfast.errors import BadInputError
from holdfast.system.classification import (
    Rule,
    add_rule,
    classify,
    remove_rule,
    rules,
    verdict,
)
from holdfast.system.classification.plugins import Plugins
from holdfast.system.classification.rulebook import Rulebook
from holdfast.system.classification.tables import RULES

ODD = verdict("model, low, transient, reload_model")


@pytest.fixture
def rule():
    made = Rule("the frobnicator is out of tune", ODD, says=("frobnicator tune*",))
    yield made
    if any(one.name == made.name for one in rules()):
        remove_rule(made.name)


def test_a_rule_of_ones_own_is_asked_first(rule):
    assert classify(message="CUDA out of memory: Frobnicator_TUNED").category == "memory"
    add_rule(rule)
    found = classify(message="CUDA out of memory: Frobnicator_TUNED")
    assert (found.category, found.suggested_recovery) == ("model", "reload_model")
    assert found.reason == rule.name
    remove_rule(rule.name)
    assert classify(message="CUDA out of memory: Frobnicator_TUNED").category == "memory"


def test_a_rule_can_be_put_before_another(rule):
    add_rule(rule, before="memory ran out")
    names = [one.name for one in rules()]
    assert names.index(rule.name) + 1 == names.index("memory ran out")


def test_a_name_can_be_taken_only_once(rule):
    add_rule(rule)
    with pytest.raises(BadInputError, match="name of its own"):
        add_rule(rule)


def test_unknown_places_and_names_are_refused(rule):
    with pytest.raises(BadInputError, match=r"^before must be"):
        add_rule(rule, before="no such rule")
    with pytest.raises(BadInputError, match=r"^name must be"):
        remove_rule("no such rule")
    with pytest.raises(BadInputError, match=r"^rule must be a Rule"):
        add_rule("rule")


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "", "verdict": ODD, "says": ("x",)},
        {"name": "a", "verdict": "model", "says": ("x",)},
        {"name": "a", "verdict": ODD, "says": ()},
        {"name": "a", "verdict": ODD, "says": "text"},
        {"name": "a", "verdict": ODD, "says": ("  ",)},
        {"name": "a", "verdict": ODD, "says": ("x",), "unless": ("..",)},
    ],
)
def test_a_rule_that_cannot_work_is_refused(arguments):
    with pytest.raises(BadInputError):
        Rule(**arguments)


@pytest.mark.parametrize("written", ["", "model, low, transient", "x, low, transient, retry"])
def test_a_verdict_with_other_words_is_refused(written):
    with pytest.raises(BadInputError, match="a verdict must be"):
        verdict(written)


@pytest.mark.parametrize(
    ("says", "message", "applies"),
    [
        ("out of memory", "CUDA_ERROR_OUT_OF_MEMORY", True),
        ("out of memory", "OutOfMemoryError", True),
        ("out of memory", "out of memoryless", False),
        ("allocat* bytes", "allocating BYTES", True),
        ("load .. failed", "load model from a.onnx failed", True),
        ("load .. failed", "load a b c d e f g h i failed", False),
        ("#errno28", "[Errno 28] x", True),
        ("@valueerror", "ValueError: x", True),
    ],
)
def test_phrases(says, message, applies):
    book = Rulebook((Rule("it", ODD, says=(says,)),))
    from holdfast.system.classification.report import read

    assert (book.decide(read("", message, "", None)) is not None) is applies


def test_conditions_hold_together():
    made = Rule("it", ODD, says=("a",), also=("b",), unless=("c",))
    from holdfast.system.classification.report import read

    book = Rulebook((made,))
    said = [book.decide(read("", text, "", None)) is not None for text in ("a", "a b", "a b c")]
    assert said == [False, True, False]


def test_names_of_rules_are_their_own():
    names = [one.name for one in RULES]
    assert sorted(names) == sorted(set(names))


def test_every_phrase_of_ours_can_be_found_in_the_index():
    assert not [one.text for rule in RULES for one in rule.phrases if not one.whole]


def test_rules_of_other_packages_come_in_front(monkeypatch):
    first = Rule("one", ODD, says=("x",))
    second = Rule("two", ODD, says=("x",))
    book = Rulebook(RULES[:1])
    monkeypatch.setattr(EntryPoint, "load", lambda self: [first, second])
    plugins = Plugins(book.add, lambda: [EntryPoint("a", "nowhere:x", "holdfast.classification")])
    plugins.load()
    plugins.load()
    assert [one.name for one in book.rules[:2]] == ["one", "two"]


def test_a_broken_plugin_is_said_and_left_out(caplog):
    book = Rulebook(())
    points = [EntryPoint("broken", "no.such.module:x", "holdfast.classification")]
    plugins = Plugins(book.add, lambda: points)
    with caplog.at_level(logging.WARNING):
        plugins.load()
    assert "'broken'" in caplog.text
    assert plugins.failed == ("broken",)
    assert book.rules == ()
