"""What classifying an error tells: a verdict, and the rule that gave it."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.errors import BadInputError, ErrorCategory, ErrorSeverity, SuggestedRecovery


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says of the errors it is about."""

    category: ErrorCategory
    severity: ErrorSeverity
    transient: bool
    recovery: SuggestedRecovery


def verdict(written: str) -> Verdict:
    """A verdict out of its four words, as tables have it: "memory, medium, transient, retry".

    The third word is ``transient`` or ``lasting``.

    Raises:
        BadInputError: it has not four words, or one of them is unknown.
    """
    parts = [part.strip() for part in written.split(",")]
    try:
        category, severity, lasts, recovery = parts
        transient = {"transient": True, "lasting": False}[lasts]
        return Verdict(
            ErrorCategory(category), ErrorSeverity(severity), transient, SuggestedRecovery(recovery)
        )
    except (ValueError, KeyError):
        raise BadInputError(
            "a verdict must be a category, a severity, 'transient' or 'lasting', and a recovery, "
            f"got {written!r:.100}"
        ) from None


@dataclass(frozen=True, slots=True)
class Classification:
    """What an error means and what to do about it first."""

    category: ErrorCategory
    """Whose trouble it is."""
    severity: ErrorSeverity
    """How far it reaches."""
    transient: bool
    """Whether the very same request may well succeed later, with nothing changed."""
    suggested_recovery: SuggestedRecovery
    """The best first step."""
    reason: str
    """The rule that decided, in words."""


def told(verdict: Verdict, reason: str) -> Classification:
    """A verdict with its reason."""
    return Classification(
        verdict.category, verdict.severity, verdict.transient, verdict.recovery, reason
    )
