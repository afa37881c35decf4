"""Rules in their order, and the index that finds the few that could apply to an error.

Nearly every phrase has words that must be there whole; the rarest of them stands for it. Looking up
the words of an error in a table of those gives the few phrases that could be there; only they are
looked for.
"""

from __future__ import annotations

import threading
from collections import Counter

from holdfast.errors import BadInputError
from holdfast.policies.checks import instance
from holdfast.system.classification.answer import Classification, told
from holdfast.system.classification.report import Report
from holdfast.system.classification.rule import Phrase, Rule

_ARTICLES = ("a", "an", "and", "at", "by", "failed", "for", "from", "has", "have", "in", "is", "no")
_EVERYWHERE = frozenset((*_ARTICLES, "not", "of", "on", "or", "the", "to", "was", "with"))
"""Words that are no help in an index, although few rules have them."""


class _Index:
    """An unchanging list of rules, searchable by word."""

    __slots__ = ("always", "by_word", "rules")

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        self.always: list[tuple[int, Phrase]] = []
        self.by_word: dict[str, list[tuple[int, Phrase]]] = {}
        common = Counter(word for rule in rules for one in rule.phrases for word in one.whole)
        for place, rule in enumerate(rules):
            for one in rule.phrases:
                if one.whole:
                    rarest = min(one.whole, key=lambda word: (word in _EVERYWHERE, common[word]))
                    self.by_word.setdefault(rarest, []).append((place, one))
                else:
                    self.always.append((place, one))

    def rules_for(self, line: str) -> list[Rule]:
        """The rules of which a phrase is in a line of words, first to last."""
        found = {place for place, one in self.always if one.within(line)}
        by_word = self.by_word
        for word in by_word.keys() & line.split():
            for place, one in by_word[word]:
                if place not in found and one.within(line):
                    found.add(place)
        return [self.rules[place] for place in sorted(found)]


class Rulebook:
    """An ordered list of rules that can be added to; safe to use from many threads."""

    def __init__(self, rules: tuple[Rule, ...] = ()) -> None:
        self._lock = threading.Lock()
        self._index = _Index(rules)
        self.edition = 0
        """Goes up with every change."""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules, first to last."""
        return self._index.rules

    def add(self, rule: Rule, *, before: str | None = None) -> None:
        """Put a rule before the one of that name, or before all others.

        Raises:
            BadInputError: it is no rule, its name is taken, or there is no rule ``before``.
        """
        instance("rule", rule, Rule, optional=False)
        with self._lock:
            rules = self.rules
            if any(one.name == rule.name for one in rules):
                raise BadInputError(f"rule must have a name of its own, got {rule.name!r}")
            place = 0 if before is None else _place(rules, "before", before)
            self._change((*rules[:place], rule, *rules[place:]))

    def remove(self, name: str) -> None:
        """Take a rule out.

        Raises:
            BadInputError: there is no rule of that name.
        """
        with self._lock:
            rules = self.rules
            place = _place(rules, "name", name)
            self._change((*rules[:place], *rules[place + 1 :]))

    def _change(self, rules: tuple[Rule, ...]) -> None:
        self._index = _Index(rules)
        self.edition += 1

    def decide(self, report: Report) -> tuple[Classification, bool] | None:
        """What the first rule that applies says, and whether it only guesses."""
        for rule in self._index.rules_for(report.words):
            verdict = rule.judge(report)
            if verdict is not None:
                return told(verdict, rule.name), rule.weak
        return None


def _place(rules: tuple[Rule, ...], field: str, name: str) -> int:
    for place, rule in enumerate(rules):
        if rule.name == name:
            return place
    raise BadInputError(f"{field} must be the name of a rule, got {name!r:.100}")
