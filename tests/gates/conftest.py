"""What the gates share: a clock that passes at once, both ways a call can go, no collector."""

from __future__ import annotations

import gc

import pytest

from holdfast.events import listen
from holdfast.testing import FakeClock


@pytest.fixture
def clock():
    """Time stands still until somebody waits."""
    with FakeClock() as fake:
        yield fake


@pytest.fixture(params=["hot path", "flows"])
def path(request):
    """Run the test twice: a listener sends every call through the flows."""
    if request.param == "hot path":
        yield request.param
    else:
        with listen(lambda event: None):
            yield request.param


@pytest.fixture
def heard():
    """Every event, in order."""
    events = []
    with listen(events.append):
        yield events


@pytest.fixture
def no_collector():
    """What is free here is free by reference counting alone."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
