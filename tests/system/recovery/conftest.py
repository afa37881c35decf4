"""What the recovery tests share: errors of any category, a strategy that is scripted, a clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest

from holdfast.error_info import ErrorInfo
from holdfast.errors import ErrorCategory, ErrorSeverity
from holdfast.events import listen
from holdfast.pipeline.workers import abandoned
from holdfast.system.recovery import Strategy
from holdfast.testing import FakeClock


@pytest.fixture
def clock():
    with FakeClock() as fake:
        yield fake


@pytest.fixture
def heard():
    events = []
    with listen(events.append):
        yield events


@pytest.fixture(autouse=True)
def no_thread_is_left_behind():
    yield
    assert abandoned.count == 0


@pytest.fixture
def make_error():
    def make(category=ErrorCategory.NETWORK, dependency="db", **more):
        return ErrorInfo(
            timestamp=datetime.now(UTC),
            error_type=more.pop("error_type", "ConnectionError"),
            error_message=more.pop("error_message", "refused"),
            category=category,
            severity=ErrorSeverity.MEDIUM,
            dependency=dependency,
            **more,
        )

    return make


def eventually(true, seconds=10.0):
    """Wait, in real time, until what other threads do has come about."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.002)


async def eventually_async(true, turns=20_000):
    """The same in a loop, which may be on fake time."""
    for _ in range(turns):
        if true():
            return
        await asyncio.sleep(0.002)
    raise AssertionError


class Scripted(Strategy):
    """Does what it is told; counts what it was asked."""

    def __init__(
        self, name="scripted", *, applies=True, apply=None, verify=True, shared=True, **settings
    ):
        super().__init__(name=name, **settings)
        self.shared = shared
        self.script = {"applies": applies, "apply": apply, "verify": verify}
        self.asked = []

    def _answer(self, what, context):
        self.asked.append(what)
        answer = self.script[what]
        if isinstance(answer, BaseException):
            raise answer
        return answer(context) if callable(answer) else answer

    def applies(self, error, context):
        return self._answer("applies", context)

    def apply(self, error, context):
        return self._answer("apply", context)

    def verify(self, error, context):
        return self._answer("verify", context)

    @property
    def runs(self):
        return self.asked.count("apply")


class AsyncScripted(Scripted):
    """The same, async; answers that are coroutine functions are awaited."""

    async def _later(self, what, context):
        answer = self._answer(what, context)
        return await answer if hasattr(answer, "__await__") else answer

    async def applies(self, error, context):
        return await self._later("applies", context)

    async def apply(self, error, context):
        return await self._later("apply", context)

    async def verify(self, error, context):
        return await self._later("verify", context)


@pytest.fixture(params=["sync strategy", "async strategy"])
def kind(request):
    return Scripted if request.param == "sync strategy" else AsyncScripted


@pytest.fixture
def scripted():
    return Scripted


@pytest.fixture
def async_scripted():
    return AsyncScripted


@pytest.fixture(params=["sync caller", "async caller"])
def recover(request, clock):
    """Recovers by either driver."""

    def run(procedure, error, context=None):
        if request.param == "sync caller":
            return procedure.recover_sync(error, context)
        return clock.run(procedure.recover(error, context))

    return run
