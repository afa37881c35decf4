"""What may have been meant by a name, within a budget: looking for it is slow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.model_inputs import NAME_LIMIT, near_choices

MOST = 100
"""Names that are looked for in one workflow. A broken one may have ten thousand, and comparing
each with thousands of models letter by letter takes minutes."""


class Guesses:
    """Looks for names, and stops guessing when it has done so often enough."""

    def __init__(self, most: int = MOST) -> None:
        self._left = most
        self._classes: dict[str, tuple[str, ...]] = {}

    def classes(self, name: str, catalog: Catalog) -> tuple[str, ...]:
        """Node classes that may be meant, the nearest first."""
        name = name[:NAME_LIMIT]
        if name not in self._classes:
            if not self._spend():
                return ()
            self._classes[name] = tuple(catalog.nearest(name))
        return self._classes[name]

    def choices(self, value: object, choices: Sequence[Any]) -> tuple[str, ...]:
        """Values that may be meant, the nearest first."""
        return tuple(near_choices(value, choices)) if self._spend() else ()

    def _spend(self) -> bool:
        self._left -= 1
        return self._left >= 0
