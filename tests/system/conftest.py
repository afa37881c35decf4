"""What the tests of the system share: its clock, a system, and the databases of the stores."""

from __future__ import annotations

import pytest

from holdfast import ErrorHandlingSystem
from holdfast.testing import FakeClock
from tests.stores.conftest import postgres, url

__all__ = ["clock", "postgres", "system", "url"]


@pytest.fixture
def clock():
    with FakeClock() as clock:
        yield clock


@pytest.fixture
def system():
    return ErrorHandlingSystem()
