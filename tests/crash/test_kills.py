"""The crash test in short: SIGKILL and SIGSTOP over gateways and servers under load."""

from __future__ import annotations

import pytest

from benchmarks.crash.__main__ import Setting, run


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("store", "kills"), [("sqlite", 12), ("postgres", 8)])
def test_nothing_is_lost_and_nothing_comes_twice(store, kills, capsys):
    told: list[str] = []
    wrong = run(Setting(kills, kills / 24, 7, store), tell=told.append)
    assert wrong == 0, "\n".join(told)
    assert "0 wrong" in told[0]
