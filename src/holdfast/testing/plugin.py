"""The pytest plugin: fake time, fixed chance and recorded events as fixtures.

Importing it imports pytest and nothing else on its own account; what a fixture
needs is loaded when a test asks for it. It neither needs nor disturbs
pytest-asyncio: an `async def` test that asks for `fake_clock` runs on fake time
in whatever selector event loop it is given.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from holdfast.testing.chance import FixedChance
    from holdfast.testing.clock import FakeClock
    from holdfast.testing.recorded import RecordedEvents


@pytest.fixture
def fake_clock(request: pytest.FixtureRequest) -> Iterator[FakeClock]:
    """A `holdfast.testing.FakeClock`, installed during the test.

    A sync test runs async code with ``fake_clock.run(main())``; an async test
    has its own event loop on fake time.
    """
    clock: FakeClock = import_module("holdfast.testing.clock").FakeClock()
    item: Any = request.node
    test = getattr(item, "obj", None)
    with clock:
        if not inspect.iscoroutinefunction(test):
            yield clock
            return
        item.obj = _on_fake_time(test, clock)
        try:
            yield clock
        finally:
            item.obj = test


@pytest.fixture
def no_waits(fake_clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """Like `fake_clock`, and `time.sleep` passes at once, too.

    Ask for it with ``pytestmark = pytest.mark.usefixtures("no_waits")``.
    """
    monkeypatch.setattr("time.sleep", fake_clock.sleep)
    return fake_clock


@pytest.fixture
def fixed_chance() -> Iterator[FixedChance]:
    """Chance that is always 0.5 during the test: jitter moves nothing.

    Set ``fixed_chance.values`` to other numbers, which then come in turn.
    """
    with import_module("holdfast.testing.chance").FixedChance(0.5) as chance:
        yield chance


@pytest.fixture
def holdfast_events() -> Iterator[RecordedEvents]:
    """Every event of every policy during the test, in order."""
    with import_module("holdfast.testing.recorded").recorded_events() as seen:
        yield seen


def _on_fake_time(test: Callable[..., Any], clock: FakeClock) -> Callable[..., Any]:
    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> Any:
        async with clock:
            return await test(*args, **kwargs)

    return run
