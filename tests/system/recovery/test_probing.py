"""Reconnecting and waiting: only a probe that answers True makes a success."""

from __future__ import annotations

import asyncio
import socket

import pytest

from holdfast.errors import BadInputError, ErrorCategory
from holdfast.system.recovery import (
    Ending,
    ProbeUntilHealthy,
    ReconnectWithProbe,
    RecoveryProcedure,
    RecoverySettings,
    WaitForPort,
)

NETWORK = ErrorCategory.NETWORK


class Service:
    """Sync or async; is down for the first so many probes."""

    def __init__(self, down_for=0, *, is_async=False, raises=False, answer=True):
        self.down_for, self.is_async, self.raises, self.answer = down_for, is_async, raises, answer
        self.connects = self.probes = 0

    def connect(self):
        self.connects += 1
        return self._soon(None)

    def probe(self):
        self.probes += 1
        if self.probes <= self.down_for:
            if self.raises:
                raise ConnectionError("refused")
            return self._soon(False)
        return self._soon(self.answer)

    def _soon(self, value):
        async def later():
            await asyncio.sleep(0)
            return value

        return later() if self.is_async else value


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def is_async(request):
    return request.param


@pytest.fixture
def mend(recover, make_error, clock):
    def run(strategy):
        procedure = RecoveryProcedure(RecoverySettings(loop_factory=clock.new_loop))
        procedure.register(NETWORK, strategy)
        return recover(procedure, make_error())

    return run


def test_it_reconnects_and_probes(mend, is_async):
    service = Service(is_async=is_async)
    assert mend(ReconnectWithProbe(service.connect, service.probe)).success
    assert (service.connects, service.probes) == (1, 1)


@pytest.mark.parametrize("answer", [False, None, "OK"])
def test_a_connection_whose_probe_does_not_say_true_is_no_success(mend, is_async, answer):
    service = Service(is_async=is_async, answer=answer)
    result = mend(ReconnectWithProbe(service.connect, service.probe))
    assert (result.success, result.tried[0].ending) == (False, Ending.NOT_VERIFIED)


def test_a_connection_that_fails_is_not_probed(mend):
    service = Service()

    def connect():
        raise OSError("no route")

    result = mend(ReconnectWithProbe(connect, service.probe))
    assert not result.success
    assert "apply raised OSError: no route" in result.reason
    assert service.probes == 0


@pytest.mark.parametrize("raises", [False, True])
def test_it_waits_until_the_service_is_well(mend, is_async, clock, raises):
    service = Service(5, is_async=is_async, raises=raises)
    began = clock.now()
    result = mend(ProbeUntilHealthy(service.probe, interval=2, limit=30))
    assert result.success
    assert service.probes == 7, "it is probed once more to verify"
    assert clock.now() - began == pytest.approx(10)
    assert result.notes == ("well again after 10 s",)


def test_waiting_ends_at_the_limit(mend, is_async, clock):
    service = Service(10**6, is_async=is_async)
    began = clock.now()
    result = mend(ProbeUntilHealthy(service.probe, interval=2, limit=9))
    assert not result.success
    assert "not well after 9 s: the probe answered False" in result.reason
    assert clock.now() - began == pytest.approx(9)


def test_what_was_well_and_fails_again_at_once_is_no_success(mend):
    answers = iter([False, True, False])
    result = mend(ProbeUntilHealthy(lambda: next(answers)))
    assert (result.success, result.tried[0].ending) == (False, Ending.NOT_VERIFIED)


def test_it_waits_for_a_port(make_error):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        procedure = RecoveryProcedure()
        procedure.register(NETWORK, WaitForPort("127.0.0.1", port, interval=0.01, limit=5))
        assert procedure.attempt_recovery_sync(make_error())
    procedure = RecoveryProcedure()
    procedure.register(NETWORK, WaitForPort("127.0.0.1", port, interval=0.01, limit=0.05))
    assert not procedure.attempt_recovery_sync(make_error())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ReconnectWithProbe(None, print), "connect must be a function, got None"),
        (lambda: ReconnectWithProbe(print, 3), "probe must be a function, got 3"),
        (lambda: ProbeUntilHealthy(print, interval=0), "interval must be above 0"),
        (lambda: ProbeUntilHealthy(print, limit=float("inf")), "limit must be"),
        (lambda: WaitForPort("", 80), "host must be a text"),
        (lambda: WaitForPort("x", 0), "port must be at least 1"),
        (lambda: WaitForPort("x", 65_536), "port must be"),
    ],
)
def test_bad_settings_are_refused(make, words):
    with pytest.raises(BadInputError, match=words):
        make()
