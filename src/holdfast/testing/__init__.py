"""Tools for testing code that uses Holdfast: no test needs to sleep.

Each name is loaded when it is first used, because pytest imports this package
for the plugin in every run of everybody who has Holdfast installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.testing.chance import FakeChance, FixedChance
    from holdfast.testing.clock import FakeClock
    from holdfast.testing.dependency import AsyncScenario, Scenario, scenario
    from holdfast.testing.recorded import RecordedEvents, recorded_events
    from holdfast.testing.script import ScriptedCall, ScriptOverError, Step

__all__ = [
    "AsyncScenario",
    "FakeChance",
    "FakeClock",
    "FixedChance",
    "RecordedEvents",
    "Scenario",
    "ScriptOverError",
    "ScriptedCall",
    "Step",
    "recorded_events",
    "scenario",
]

_HOMES = {
    "AsyncScenario": "dependency",
    "FakeChance": "chance",
    "FakeClock": "clock",
    "FixedChance": "chance",
    "RecordedEvents": "recorded",
    "Scenario": "dependency",
    "ScriptOverError": "script",
    "ScriptedCall": "script",
    "Step": "script",
    "recorded_events": "recorded",
    "scenario": "dependency",
}


def __getattr__(name: str) -> Any:
    """Load a name on its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
