"""Every event in the log, at the level it deserves, as a sentence and as data.

::

    holdfast.log_events()                                     # to the logger "holdfast"
    holdfast.log_events("my.service", levels={"CallFailed": logging.ERROR})
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields

from holdfast import events
from holdfast.errors import BadInputError
from holdfast.events import Subscription, listen
from holdfast.events.kinds import Event
from holdfast.text import printable

LONGEST_FIELD = 500
"""Characters of one field of an event in the sentence."""

LEVELS: Mapping[str, int] = {
    "CallSucceeded": logging.DEBUG,
    "CacheServed": logging.DEBUG,
    "HedgeStarted": logging.DEBUG,
    "HedgeEnded": logging.DEBUG,
    "OutcomeDiscarded": logging.DEBUG,
    "ResultDiscarded": logging.DEBUG,
    "RetryScheduled": logging.INFO,
    "HedgeSuppressed": logging.INFO,
    "ConfigReloaded": logging.INFO,
    "RecoveryStarted": logging.INFO,
    "RecoverySucceeded": logging.INFO,
    "WorkerAbandoned": logging.ERROR,
}
"""Events of other kinds are warnings."""


def log_events(
    logger: str | logging.Logger | logging.LoggerAdapter[logging.Logger] = "holdfast",
    *,
    levels: Mapping[str, int] | None = None,
) -> Subscription:
    """Log every event of every policy in this process, until the subscription is closed.

    Args:
        logger: where to, or its name.
        levels: by the name of an event's class; those not named have the level of `LEVELS`.

    Each record has the event itself as its attribute ``holdfast_event``, for handlers that write
    JSON.

    Raises:
        BadInputError: ``levels`` names an event that does not exist, or no level.
    """
    chosen = dict(levels or {})
    for name, level in chosen.items():
        if name not in events.__all__:
            raise BadInputError(f"levels must name events of holdfast.events, got {name!r:.100}")
        if isinstance(level, bool) or not isinstance(level, int):
            raise BadInputError(f"levels[{name!r}] must be a level of logging, got {level!r:.100}")
    target = logging.getLogger(logger) if isinstance(logger, str) else logger
    known = {**LEVELS, **chosen}

    def hear(event: Event) -> None:
        level = known.get(type(event).__name__, logging.WARNING)
        if target.isEnabledFor(level):
            target.log(level, "%s", sentence(event), extra={"holdfast_event": event})

    return listen(hear)


def sentence(event: Event) -> str:
    """An event in one printable line: who, what, and its fields."""
    told = [
        f"{one.name}={_text(getattr(event, one.name))}"
        for one in fields(event)
        if one.name not in ("policy", "at")
    ]
    words = [f"{printable(event.policy)}:", type(event).__name__, *told]
    return " ".join(words)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = printable(str(value))
    text = text if len(text) <= LONGEST_FIELD else text[:LONGEST_FIELD] + "..."
    return f'"{text}"' if " " in text or not text else text
