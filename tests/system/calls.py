"""What the tests of the system call: functions that fail, a service that is down, a strategy."""

from __future__ import annotations

import asyncio

from holdfast import Strategy

OOM = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 24.00 GiB"


class Failing:
    """Fails so many times, then succeeds."""

    def __init__(self, error, times=10**9):
        self.error, self.times, self.calls, self.seen = error, times, 0, []

    async def __call__(self, *args, **kwargs):
        self.calls += 1
        self.seen.append((args, kwargs))
        if self.calls <= self.times:
            raise self.error
        return "picture"


class Repair(Strategy):
    """Repairs if its effect can be verified."""

    name = "repair"
    timeout = 5.0
    cooldown = 0.0
    shared = False

    def __init__(self, *, works=True, changes=None):
        self.works, self.changes, self.runs = works, changes, 0

    def applies(self, error, context):
        return True

    def apply(self, error, context):
        self.runs += 1
        if self.changes:
            self.changes(context)

    def verify(self, error, context):
        return self.works


class Service:
    """Down until somebody reconnects."""

    def __init__(self):
        self.up, self.reconnects, self.calls = False, 0, 0

    async def __call__(self):
        self.calls += 1
        await asyncio.sleep(0.01)
        if not self.up:
            raise ConnectionRefusedError("connection refused")
        return "picture"

    def connect(self):
        self.reconnects += 1
        self.up = True


def run(clock, coroutine):
    return clock.run(coroutine)
