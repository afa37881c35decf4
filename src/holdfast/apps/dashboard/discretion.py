"""What of other users' work a visitor is not told. Pure.

How servers stand and how many errors of which kind there are, everybody with the dashboard's scope
may know. What jobs are called, and what errors say, which quotes prompts, names and paths, only who
may see everybody's jobs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from holdfast.apps.dashboard.sources import BreakerView, ErrorsView, LevelView, ServerView

HIDDEN = "what it says is shown to administrators"


def servers_for(servers: Iterable[ServerView], only: str | None) -> tuple[ServerView, ...]:
    """The servers, as somebody who sees only one user's jobs may know them."""
    if only is None:
        return tuple(servers)
    return tuple(
        replace(each, doing="A job" if each.doing else "", reason=_plain(each.reason))
        for each in servers
    )


def errors_for(errors: ErrorsView, only: str | None) -> ErrorsView:
    """The errors, likewise."""
    if only is None:
        return errors
    groups = tuple(replace(each, sample=_plain(each.sample)) for each in errors.groups)
    return replace(errors, groups=groups)


def breakers_for(breakers: Iterable[BreakerView], only: str | None) -> tuple[BreakerView, ...]:
    """The breakers, likewise."""
    if only is None:
        return tuple(breakers)
    return tuple(replace(each, reason=_plain(each.reason)) for each in breakers)


def level_for(level: LevelView, only: str | None) -> LevelView:
    """The level of service, likewise: why it changed may be an error's own words."""
    if only is None:
        return level
    changes = tuple((when, what, _plain(why)) for when, what, why in level.changes)
    return replace(level, changes=changes)


def _plain(text: str) -> str:
    return HIDDEN if text else ""
