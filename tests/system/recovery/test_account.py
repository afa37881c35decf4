"""The books: bounded, whatever strategies are called."""

from __future__ import annotations

import pytest

from holdfast.system.recovery import account
from holdfast.system.recovery.account import OTHERS, Ledger
from holdfast.system.recovery.result import Ending


def test_names_are_bounded_and_no_run_is_lost(monkeypatch):
    monkeypatch.setattr(account, "MOST_NAMES", 3)
    ledger = Ledger(10)
    for number in range(8):
        ledger.ran(f"s{number}", Ending.MENDED, 1.0)
        ledger.ran(f"s{number}", Ending.LATE, 2.0)
    rates = ledger.rates()
    assert set(rates) == {"s5", "s6", "s7", OTHERS}
    assert sum(figures["runs"] for figures in rates.values()) == 16
    assert rates[OTHERS]["successes"] == 5
    assert rates[OTHERS]["seconds"] == pytest.approx(15)


@pytest.mark.parametrize("ending", list(Ending))
def test_only_what_acted_itself_is_a_run(ending):
    ledger = Ledger(10)
    ledger.ran("s", ending, 1.0)
    acted = ending in {Ending.MENDED, Ending.NOT_VERIFIED, Ending.FAILED, Ending.LATE}
    figures = ledger.rates()["s"]
    assert figures["runs"] == acted
    assert figures["successes"] == (ending is Ending.MENDED)
    assert (figures["rate"] is None) is not acted
