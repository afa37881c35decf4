"""Nothing fits: the words for what is missing, and where it would have to be. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from holdfast.comfyui.engines.choosing import Lack
from holdfast.comfyui.engines.recipe import Recipe
from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.errors import ErrorCategory

_MOST_SERVERS = 3
_MOST_RECIPES = 6


def impossible(family: str, lacks: Mapping[str, Sequence[Lack]]) -> Failure:
    """No server can run any recipe of a family.

    Args:
        family: as it was asked for.
        lacks: for each recipe what each server lacks.
    """
    told = [f"{name}: {_servers(each)}" for name, each in list(lacks.items())[:_MOST_RECIPES]]
    return Failure(
        FailureKind.REJECTED,
        f"no server can make this with {family}: {'; '.join(told)}",
        elsewhere=True,
        category=ErrorCategory.MODEL,
    )


def wrong_way(family: str, recipes: Iterable[Recipe], *, from_picture: bool) -> Failure:
    """A family has no recipe that starts so."""
    names = ", ".join(dict.fromkeys(each.name for each in recipes))
    what = "from a picture" if from_picture else "without a picture"
    return Failure(
        FailureKind.REJECTED,
        f"{family} has no way to start {what} ({names})",
        category=ErrorCategory.VALIDATION,
    )


def _servers(lacks: Sequence[Lack]) -> str:
    by_words: dict[str, list[str]] = {}
    for each in lacks:
        by_words.setdefault(each.words, []).append(each.server)
    told = [
        f"{words} on {', '.join(servers[:_MOST_SERVERS])}"
        + (f" and {len(servers) - _MOST_SERVERS} more" if len(servers) > _MOST_SERVERS else "")
        for words, servers in list(by_words.items())[:_MOST_SERVERS]
    ]
    return ", ".join(told)
