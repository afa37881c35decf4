"""Error classification: what went wrong, how far it reaches, whether it may pass, what to do first.

::

    from holdfast.system.classification import classify

    meaning = classify(error)
    meaning.category, meaning.severity, meaning.transient, meaning.suggested_recovery
    meaning.reason  # the rule that decided, in words

The rules are the tables in ``rules_*.py``; ``tables.py`` has their order. `add_rule` and entry
points of the group ``holdfast.classification`` put further ones in front.
"""

from holdfast.system.classification.answer import Classification, Verdict, verdict
from holdfast.system.classification.classify import add_rule, classify, remove_rule, rules
from holdfast.system.classification.report import Report
from holdfast.system.classification.rule import Rule

__all__ = [
    "Classification",
    "Report",
    "Rule",
    "Verdict",
    "add_rule",
    "classify",
    "remove_rule",
    "rules",
    "verdict",
]
