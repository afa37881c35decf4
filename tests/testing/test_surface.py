"""What `holdfast.testing` offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import holdfast.testing


def test_every_name_is_there_and_the_list_is_sorted():
    assert list(holdfast.testing.__all__) == sorted(holdfast.testing.__all__)
    for name in holdfast.testing.__all__:
        assert getattr(holdfast.testing, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'FakeClocks'"):
        holdfast.testing.FakeClocks  # noqa: B018  # reading it is the test


def test_names_are_what_they_are_whichever_module_was_imported_first():
    code = (
        "import holdfast.testing.dependency, holdfast.testing.strategies\n"
        "from holdfast.testing import *\n"
        "assert callable(scenario) and callable(recorded_events), scenario\n"
        "import sys; assert 'hypothesis' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
