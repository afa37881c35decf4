"""Holdfast's own errors: calls it refused to make, and time that ran out."""

from __future__ import annotations

from holdfast.system.classification.answer import verdict
from holdfast.system.classification.rule import Rule

LATER = verdict("network, low, transient, wait_and_retry")
ELSEWHERE = verdict("network, medium, transient, switch_backend")
SLOW = verdict("network, medium, transient, retry")
BAD = verdict("validation, medium, lasting, fix_request")
GONE = verdict("network, high, transient, wait_and_retry")
FAULT = verdict("network, low, transient, retry")

RULES = (
    Rule("a setting or an argument cannot work", BAD, says=("@badinputerror",)),
    Rule("a circuit breaker is open", ELSEWHERE, says=("@circuitbreakeropenerror",)),
    Rule("Holdfast held the call back", LATER, says=("@rejectederror",)),
    Rule(
        "the time allowed is used up",
        SLOW,
        says=("@deadlineexceedederror",),
        also=("@from:holdfast",),
    ),
    Rule("every target failed", GONE, says=("@fallbackchainexhaustederror",)),
    Rule("a fault injected on purpose", FAULT, says=("@chaoserror",)),
)
