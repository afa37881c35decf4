"""Stand-in servers with the model files of every family, for the engines' tests."""

from __future__ import annotations

from collections import defaultdict

from holdfast.comfyui.engines import RECIPES
from holdfast.comfyui.standin import StandIn, StandInConfig
from holdfast.comfyui.standin.config import GIB
from holdfast.comfyui.verdict import Patience

QUICK = Patience(idle=1.2, ask=0.4, deaf=0.4, unanswered=1.5, absent=0.3, settle=2.0)
FAST = {"patience": QUICK, "call_seconds": 2.0, "reach_seconds": 8.0}
"""Options of an engine that has no time to lose."""

VERY_LARGE = 400 * GIB


def files_of(*families: str) -> dict[str, tuple[str, ...]]:
    """The makers' files of these families (or single recipes), by folder; of all if none given."""
    found = defaultdict(dict)
    for recipe in RECIPES:
        if not families or recipe.family in families or recipe.name in families:
            for role in recipe.roles:
                found[role.folder][role.example] = None
    return {folder: tuple(names) for folder, names in found.items()}


def server(*families: str, **settings) -> StandIn:
    """A server with the files of these families."""
    settings.setdefault("models", files_of(*families))
    settings.setdefault("vram_bytes", VERY_LARGE)
    settings.setdefault("step_seconds", 0.0)
    return StandIn(StandInConfig(**settings))
