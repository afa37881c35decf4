"""Packages bring what they have to every system; broken ones are left out."""

from __future__ import annotations

import importlib.metadata
import sys
import types

import pytest

from holdfast import ErrorHandlingSystem
from holdfast.system import integrations


@pytest.fixture
def packages(monkeypatch):
    """Installs functions as entry points."""
    module = types.ModuleType("pretended_package")
    monkeypatch.setitem(sys.modules, "pretended_package", module)

    def install(**functions):
        vars(module).update(functions)
        points = [
            importlib.metadata.EntryPoint(name, f"pretended_package:{name}", integrations.GROUP)
            for name in functions
        ]
        real = importlib.metadata.entry_points
        monkeypatch.setattr(
            importlib.metadata,
            "entry_points",
            lambda **wanted: (
                points if wanted.get("group") == integrations.GROUP else real(**wanted)
            ),
        )
        integrations.installed.cache_clear()

    yield install
    integrations.installed.cache_clear()


def test_every_system_gets_what_packages_bring(packages):
    seen = []
    packages(mine=seen.append)
    systems = [ErrorHandlingSystem(), ErrorHandlingSystem()]
    assert seen == systems


def test_a_broken_package_is_said_and_left_out(packages, caplog):
    seen = []

    def broken(system):
        raise RuntimeError("no")

    packages(broken=broken, mine=seen.append)
    system = ErrorHandlingSystem()
    assert seen == [system]
    assert "'broken' failed" in caplog.text


def test_a_package_that_cannot_be_loaded_is_said_and_left_out(packages, caplog):
    packages(gone=1)
    del sys.modules["pretended_package"]
    assert ErrorHandlingSystem().call_with_resilience(int) == 0
    assert "'gone' cannot be loaded" in caplog.text


def test_they_can_be_switched_off(packages):
    seen = []
    packages(mine=seen.append)
    ErrorHandlingSystem({"system": {"integrations": False}})
    assert seen == []
