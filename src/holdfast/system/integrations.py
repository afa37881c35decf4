"""What other packages bring to every system: rules, recovery strategies, degradation knobs.

A package names a function in the entry-point group ``holdfast.integrations``::

    [project.entry-points."holdfast.integrations"]
    my_package = "my_package.errors:install"

It is called with each `ErrorHandlingSystem` when that is made. One that fails is logged and left
out: a broken package must not take down the service it was to help.
"""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.system.error_handling import ErrorHandlingSystem

GROUP = "holdfast.integrations"
log = logging.getLogger("holdfast.system")


@cache
def installed() -> tuple[tuple[str, Callable[[ErrorHandlingSystem], object]], ...]:
    """The functions of all installed packages, by name; looked up once in a process."""
    found = []
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            found.append((entry.name, entry.load()))
        except Exception:
            log.exception("the integration %r cannot be loaded and is left out", entry.name)
    return tuple(found)


def install(system: ErrorHandlingSystem) -> None:
    """Have every installed package bring what it has."""
    for name, add in installed():
        try:
            add(system)
        except Exception:
            log.exception("the integration %r failed and is left out", name)
