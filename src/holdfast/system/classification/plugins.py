"""Rules of other packages, found by entry points of the group ``holdfast.classification``.

An entry point names a `Rule`, several of them in a list or tuple, or a function that returns one of
these. They are looked for once, when something is classified for the first time. One that cannot be
loaded is said in a warning of the log, and left out.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any

from holdfast.system.classification.rule import Rule

GROUP = "holdfast.classification"
_log = logging.getLogger(__name__)


class Plugins:
    """Loads entry points once, whoever asks first."""

    def __init__(
        self,
        add: Callable[[Rule], None],
        found: Callable[[], Iterable[metadata.EntryPoint]] | None = None,
    ) -> None:
        self._add = add
        self._found = found or (lambda: metadata.entry_points(group=GROUP))
        self._lock = threading.Lock()
        self.loaded = False
        """Whether they have been looked for."""
        self.failed: tuple[str, ...] = ()
        """Entry points that could not be loaded."""

    def load(self) -> None:
        """Load what there is, unless that has been done."""
        with self._lock:
            if self.loaded:
                return
            for point in self._points():
                self._load(point)
            self.loaded = True

    def _points(self) -> Iterable[metadata.EntryPoint]:
        try:
            return sorted(self._found(), key=lambda point: point.name)
        except Exception:  # noqa: BLE001 - a stranger's metadata
            _log.warning("entry points of %s cannot be read", GROUP, exc_info=True)
            return ()

    def _load(self, point: metadata.EntryPoint) -> None:
        try:
            given: Any = point.load()
            if callable(given) and not isinstance(given, Rule):
                given = given()
            # The last one added is asked first, so they are added in reverse.
            for rule in reversed([given] if isinstance(given, Rule) else list(given)):
                self._add(rule)
        except Exception:  # noqa: BLE001 - a stranger's code
            self.failed = (*self.failed, point.name)
            _log.warning("rules of entry point %r are left out", point.name, exc_info=True)
