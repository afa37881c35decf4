"""Memory: only what was measured to be gone counts."""

from __future__ import annotations

import subprocess
import sys
import weakref

import pytest

from holdfast.errors import BadInputError, ErrorCategory
from holdfast.system.recovery import RecoveryContext, RecoveryProcedure, ReleaseMemory, memory_use
from holdfast.system.recovery.memory import LEAST
from holdfast.system.recovery.standard import standard_strategies

MB = 1_000_000


class Meter:
    """Bytes in use, by hand."""

    def __init__(self, used):
        self.used = used

    def __call__(self):
        return self.used

    def free(self, amount):
        def clear():
            self.used -= amount

        return clear


@pytest.fixture
def mend(recover, make_error):
    def run(strategy, context=None):
        procedure = RecoveryProcedure()
        procedure.register(ErrorCategory.MEMORY, strategy)
        return recover(procedure, make_error(ErrorCategory.MEMORY), context)

    return run


def test_enough_was_released(mend):
    meter = Meter(100 * MB)
    result = mend(ReleaseMemory([meter.free(40 * MB)], measure=meter, at_least=30 * MB))
    assert result.success
    assert "cleared 1 of 1 caches" in result.notes[0]
    assert "in use: 100.0 MB before, 60.0 MB after" in result.notes[0]


@pytest.mark.parametrize(
    ("freed", "settings", "success"),
    [
        (29 * MB, {"at_least": 30 * MB}, False),
        (0, {"at_least": 1}, False),
        (-5 * MB, {"at_least": 1}, False),
        (5 * MB, {"at_least": 30 * MB, "fraction": 0.05}, True),
        (4 * MB, {"at_least": 30 * MB, "fraction": 0.05}, False),
        (LEAST - 1, {}, False),
        (LEAST, {}, True),
    ],
)
def test_a_success_is_what_was_measured(mend, freed, settings, success):
    meter = Meter(100 * MB)
    result = mend(ReleaseMemory([meter.free(freed)], measure=meter, **settings))
    assert result.success is success


def test_what_cannot_be_measured_is_not_claimed(mend):
    result = mend(ReleaseMemory(measure=lambda: None, at_least=1))
    assert not result.success
    assert "its effect was not seen" in result.reason


def test_a_cache_that_cannot_be_cleared_is_said_and_the_others_are_cleared(mend):
    meter = Meter(100 * MB)

    def broken():
        raise RuntimeError("locked")

    result = mend(ReleaseMemory([broken, meter.free(50 * MB)], measure=meter, at_least=MB))
    assert result.success
    assert result.notes[0] == "a cache was not cleared: RuntimeError: locked"
    assert "cleared 1 of 2 caches" in result.notes[1]


def test_caches_come_and_go(mend):
    meter = Meter(100 * MB)
    strategy = ReleaseMemory(measure=meter, at_least=MB, cooldown=0)
    clear = meter.free(50 * MB)
    strategy.add(clear)
    assert mend(strategy).success
    strategy.remove(clear)
    assert not mend(strategy).success


def test_the_frames_of_the_failure_are_let_go(mend):
    class Tensor:
        pass

    kept = []

    def fail():
        tensor = Tensor()
        kept.append(weakref.ref(tensor))
        raise MemoryError

    try:
        fail()
    except MemoryError as error:
        context = RecoveryContext("gpu", fail, exception=error)
        assert kept[0]() is not None
        mend(ReleaseMemory(measure=lambda: 0), context)
        assert kept[0]() is None


def test_resident_memory_is_read_from_the_system():
    before = memory_use.resident_bytes()
    block = bytearray(64 * MB)
    block[::4096] = b"x" * len(block[::4096])
    after = memory_use.resident_bytes()
    assert 48 * MB < after - before < 160 * MB
    del block
    memory_use.give_back()
    assert after - memory_use.resident_bytes() > 48 * MB


def test_where_there_is_no_proc_ps_is_asked(monkeypatch):
    real = memory_use.resident_bytes()
    monkeypatch.setattr(memory_use, "_STATM", memory_use.Path("/nowhere"))
    told = subprocess.CompletedProcess([], 0, stdout=f" {real // 1024}\n")
    monkeypatch.setattr(memory_use.subprocess, "run", lambda *a, **k: told)
    assert memory_use.resident_bytes() == pytest.approx(real, abs=1024)

    def missing(*a, **k):
        raise FileNotFoundError

    monkeypatch.setattr(memory_use.subprocess, "run", missing)
    assert memory_use.resident_bytes() is None


def test_a_real_cache_is_really_released():
    """In a process of its own, whose memory nobody else moves."""
    code = """
import sys
from datetime import datetime, UTC
from holdfast.error_info import ErrorInfo
from holdfast.errors import ErrorCategory, ErrorSeverity
from holdfast.system.recovery import RecoveryProcedure, standard_strategies
cache = {}
procedure = RecoveryProcedure()
for category, strategy in standard_strategies([cache.clear]):
    strategy.cooldown = 0
    procedure.register(category, strategy)
def error():
    return ErrorInfo(datetime.now(UTC), "MemoryError", "", ErrorCategory.MEMORY,
                     ErrorSeverity.HIGH)
print(procedure.attempt_recovery_sync(error()))
cache.update((n, bytearray(b"x" * 1000)) for n in range(60_000))
print(procedure.attempt_recovery_sync(error()))
print(procedure.attempt_recovery_sync(error()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True", "False"], done.stderr


def test_the_standard_is_memory_alone():
    ((category, strategy),) = standard_strategies()
    assert category is ErrorCategory.MEMORY
    assert isinstance(strategy, ReleaseMemory)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"at_least": 0}, "at_least must be above 0"),
        ({"fraction": 1.5}, "fraction must be"),
        ({"measure": 3}, "measure must be a function"),
        ({"caches": [None]}, "caches must be a function"),
    ],
)
def test_bad_settings_are_refused(settings, words):
    with pytest.raises(BadInputError, match=words):
        ReleaseMemory(**settings)
