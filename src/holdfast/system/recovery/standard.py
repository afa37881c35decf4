"""What is done without being configured: only what needs no settings and can do no harm."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from holdfast.errors import ErrorCategory
from holdfast.system.recovery.memory import ReleaseMemory
from holdfast.system.recovery.strategy import Strategy


def standard_strategies(
    caches: Iterable[Callable[[], object]] = (),
) -> list[tuple[ErrorCategory, Strategy]]:
    """Strategies to register, each with its category.

    Releasing memory is the only one: everything else has to be told what to reconnect, restart,
    load or leave out.

    Args:
        caches: functions that each clear a cache when memory is short.
    """
    return [(ErrorCategory.MEMORY, ReleaseMemory(caches))]
