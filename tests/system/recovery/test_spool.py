"""The spool: what was put is on disk, in order, and is sent once, whoever is killed meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import BadInputError, ErrorCategory
from holdfast.pipeline.workers import abandoned
from holdfast.system.recovery import (
    RecoveryContext,
    RecoveryProcedure,
    Replayed,
    Spool,
    Spooled,
    SpoolFullError,
    SpoolToDisk,
)
from tests.system.recovery.conftest import eventually

ROOT = Path(__file__).parents[3]


def python(code, *arguments, **more):
    """Another process with the library at hand."""
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env=env,
        **more,
    )


class Receiver:
    """Refuses when it is told to."""

    def __init__(self, *failures):
        self.failures = list(failures)
        self.got = []

    def __call__(self, item):
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        self.got.append(item.payload)


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


def test_what_is_put_is_sent_in_order_and_then_gone(spool):
    for number in range(12):
        spool.put({"number": number})
    receiver = Receiver()
    assert spool.replay(receiver) == Replayed(sent=12)
    assert [payload["number"] for payload in receiver.got] == list(range(12))
    assert len(spool) == 0
    assert spool.replay(receiver) == Replayed()


@given(st.lists(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=5,
), max_size=4))  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_payloads_come_back_as_they_were(tmp_path_factory, payloads):
    spool = Spool(tmp_path_factory.mktemp("spool"))
    for payload in payloads:
        assert spool.holds(spool.put(payload), payload)
    receiver = Receiver()
    spool.replay(receiver)
    assert receiver.got == payloads


@pytest.mark.parametrize("payload", [object(), {1, 2}, float("nan"), b"x"])
def test_what_is_not_json_is_refused_and_leaves_nothing(spool, payload):
    with pytest.raises((TypeError, ValueError)):
        spool.put(payload)
    assert len(spool) == 0


def test_it_stops_when_the_service_is_down_and_goes_on_later(spool):
    for number in range(4):
        spool.put(number)
    receiver = Receiver(None, ConnectionError("down"))
    done = spool.replay(receiver)
    assert done == Replayed(sent=1, left=3, stopped_by="ConnectionError: down")
    for _ in range(20):
        spool.replay(Receiver(TimeoutError()))
    assert spool.snapshot()["dead"] == 0, "an outage is not the items' fault"
    assert spool.replay(receiver).sent == 3
    assert receiver.got == [0, 1, 2, 3]


def test_an_item_that_fails_too_often_is_laid_aside_and_the_rest_goes_on(tmp_path):
    spool = Spool(tmp_path, max_tries=3)
    for number in range(3):
        spool.put(number)
    tries = []

    def send(item):
        if item.payload == 0:
            tries.append((item.tries, item.id))
            raise ValueError("poison")
        sent.append(item.payload)

    sent = []
    assert spool.replay(send) == Replayed(left=3, stopped_by="ValueError: poison")
    assert spool.replay(send).left == 3
    assert spool.replay(send) == Replayed(sent=2, dead=1)
    assert sent == [1, 2]
    assert [t for t, _ in tries] == [0, 1, 2]
    assert len({identity for _, identity in tries}) == 1
    (dead,) = (path for path in spool.dead.iterdir())
    assert json.loads(dead.read_text()) == 0
    assert spool.snapshot() == {"items": 0, "bytes": 0, "dead": 1}


def test_a_damaged_item_is_laid_aside(spool):
    spool.put("first")
    (path,) = spool.directory.glob("0*.json")
    path.write_bytes(b"xx")
    spool.put("second")
    receiver = Receiver()
    assert spool.replay(receiver) == Replayed(sent=1, dead=1)
    assert receiver.got == ["second"]


def test_limits_hold_and_say_so(tmp_path):
    spool = Spool(tmp_path, max_items=2, max_bytes=30)
    spool.put("a")
    with pytest.raises(SpoolFullError, match="3 of 30 bytes, and 32 more"):
        spool.put("x" * 30)
    spool.put("b")
    with pytest.raises(SpoolFullError, match="holds 2 items"):
        spool.put("c")
    assert len(spool) == 2


def test_the_laid_aside_are_bounded_too(tmp_path):
    spool = Spool(tmp_path, max_items=2, max_tries=1)
    for number in range(4):
        spool.put(number)
        spool.replay(Receiver(ValueError()))
    kept = sorted(json.loads(path.read_text()) for path in spool.dead.iterdir())
    assert kept == [2, 3]


def test_strange_files_are_left_alone_and_links_not_followed(spool, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text('"secret"')
    stranger = spool.directory / "notes.json"
    stranger.write_text("{}")
    link = spool.directory / f"000000000001.8.0.{'a' * 16}.json"
    link.symlink_to(secret)
    receiver = Receiver()
    assert spool.replay(receiver).dead == 1
    assert receiver.got == []
    assert stranger.exists()
    assert secret.read_text() == '"secret"'


def test_half_written_items_of_the_dead_are_swept(spool):
    half = spool.directory / f"half-{'0' * 16}"
    half.write_bytes(b"half an it")
    assert len(spool) == 0
    spool.put(1)
    assert not half.exists()


@pytest.mark.parametrize("send_kind", ["sync", "async"])
async def test_async_code_replays_too(spool, send_kind):
    for number in range(3):
        spool.put(number)
    receiver = Receiver(None, ConnectionError("down"))

    async def send(item):
        await asyncio.sleep(0)
        receiver(item)

    chosen = send if send_kind == "async" else receiver
    assert (await spool.replay_async(chosen)).left == 2
    assert (await spool.replay_async(chosen)).sent == 2
    assert receiver.got == [0, 1, 2]


async def test_a_cancelled_replay_keeps_the_item_and_lets_go_of_the_lock(spool):
    spool.put(1)

    async def hang(item):
        await asyncio.Event().wait()

    task = asyncio.create_task(spool.replay_async(hang))
    await asyncio.sleep(0.01)
    assert spool.replay(print).busy
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert await spool.replay_async(Receiver()) == Replayed(sent=1)


def test_async_send_in_sync_code_is_refused(spool):
    spool.put(1)

    async def send(item):
        raise AssertionError

    with pytest.raises(TypeError, match="async, and this call is sync"):
        spool.replay(send)
    assert spool.replay(Receiver()) == Replayed(sent=1)


def test_two_threads_do_not_send_twice(spool):
    for number in range(30):
        spool.put(number)
    receiver, results = Receiver(), []

    def work():
        results.append(spool.replay(receiver))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(receiver.got) == list(range(30))
    assert sum(r.sent for r in results) == 30


def test_threads_put_at_once_and_nothing_is_lost(spool):
    def work(number):
        for n in range(10):
            spool.put([number, n])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    receiver = Receiver()
    spool.replay(receiver)
    assert sorted(receiver.got) == [[t, n] for t in range(4) for n in range(10)]
    for number in range(4):
        assert [n for t, n in receiver.got if t == number] == list(range(10))


WRITER = """
import sys
from holdfast.system.recovery import Spool
spool = Spool(sys.argv[1])
n = 0
while True:
    spool.put(n)
    print(n, flush=True)
    n += 1
"""


def test_what_was_put_survives_kill_9(tmp_path):
    writer = python(WRITER, tmp_path)
    told = [int(writer.stdout.readline()) for _ in range(20)]
    writer.kill()
    told += [int(line) for line in writer.stdout.read().split()]
    writer.wait()
    writer.stdout.close()
    receiver = Receiver()
    done = Spool(tmp_path).replay(receiver)
    assert done.dead == 0
    assert receiver.got[: len(told)] == told, "each one that was put is there, in order"
    assert receiver.got == list(range(len(receiver.got)))
    assert len(receiver.got) - len(told) <= 1


SENDER = """
import sys, time
from holdfast.system.recovery import Spool
def send(item):
    print(item.payload, flush=True)
    time.sleep(0.002)
while True:
    done = Spool(sys.argv[1]).replay(send)
    if not done.left:
        break
    time.sleep(0.005)
"""


def test_two_processes_do_not_send_twice_and_one_takes_over_from_a_killed_one(tmp_path):
    spool = Spool(tmp_path)
    for number in range(120):
        spool.put(number)
    first = python(SENDER, tmp_path)
    got = [int(first.stdout.readline()) for _ in range(10)]
    second = python(SENDER, tmp_path)
    assert spool.replay(print).busy
    first.kill()
    got += [int(line) for line in first.stdout.read().split()]
    rest = [int(line) for line in second.communicate(timeout=30)[0].split()]
    first.wait()
    first.stdout.close()
    # The item that was on its way when the first one was killed may be sent once more.
    assert rest[0] in (len(got), len(got) - 1)
    assert rest == list(range(rest[0], 120))
    assert got == list(range(len(got)))
    assert len(spool) == 0


# -- the strategy --------------------------------------------------------------------------


def render(prompt):
    raise ConnectionError(prompt)


def procedure_of(strategy):
    procedure = RecoveryProcedure()
    procedure.register(ErrorCategory.NETWORK, strategy)
    return procedure


def test_a_call_is_put_off_with_a_receipt(make_error, recover, spool):
    strategy = SpoolToDisk(spool, lambda context: {"prompt": context.args[0]})
    result = recover(procedure_of(strategy), make_error(), RecoveryContext("gpu", render, ("x",)))
    assert result.success
    assert result.degraded
    receipt = result.changes.offer.value
    assert isinstance(receipt, Spooled)
    assert "not done yet" in result.notes[0]
    receiver = Receiver()
    spool.replay(receiver)
    assert receiver.got == [{"prompt": "x"}]


def test_a_receipt_can_be_of_ones_own(make_error, recover, spool):
    strategy = SpoolToDisk(spool, lambda c: 1, receipt=lambda spooled: {"queued": spooled.id})
    result = recover(procedure_of(strategy), make_error())
    assert list(result.changes.offer.value) == ["queued"]


def test_what_cannot_be_kept_is_not_claimed(make_error, recover, tmp_path):
    full = Spool(tmp_path / "a", max_bytes=1)
    cases = [
        (SpoolToDisk(full, lambda context: "long"), "SpoolFullError"),
        (SpoolToDisk(full, lambda context: object()), "TypeError"),
        (SpoolToDisk(full, lambda context: None), "this call cannot be put off"),
    ]
    for strategy, words in cases:
        result = recover(procedure_of(strategy), make_error())
        assert not result.success
        assert words in result.reason
        assert not result.changes
    assert len(full) == 0


def test_an_item_that_is_not_on_the_disk_after_all_is_not_claimed(make_error, recover, tmp_path):
    class Forgetful(Spool):
        def put(self, payload):
            identity = super().put(payload)
            for path in self.directory.glob("0*.json"):
                path.unlink()
            return identity

    strategy = SpoolToDisk(Forgetful(tmp_path), lambda context: 1)
    result = recover(procedure_of(strategy), make_error())
    assert not result.success
    assert not result.changes


def test_work_whose_receipt_fails_is_taken_back(make_error, recover, spool):
    """The caller hears that it failed, so it must not be done later all the same."""

    def receipt(spooled):
        raise ValueError("no receipt")

    result = recover(procedure_of(SpoolToDisk(spool, lambda c: 1, receipt=receipt)), make_error())
    assert not result.success
    assert len(spool) == 0


def test_work_that_reached_the_disk_too_late_is_taken_back(make_error, recover, tmp_path):
    go_on = threading.Event()

    class Slow(Spool):
        def put(self, payload):
            identity = super().put(payload)
            go_on.wait(20)
            return identity

    spool = Slow(tmp_path)
    strategy = SpoolToDisk(spool, lambda context: 1, timeout=3)
    try:
        assert not recover(procedure_of(strategy), make_error()).success
        assert len(spool) == 1
    finally:
        go_on.set()
    eventually(lambda: not abandoned.count)
    assert len(spool) == 0
    assert spool.remove("000000000001-0000000000000000") is False


@pytest.mark.parametrize(
    "wrong", [{"max_bytes": 0}, {"max_items": 0}, {"max_tries": 0}, {"max_items": 1.5}]
)
def test_bad_settings_are_refused(tmp_path, wrong):
    with pytest.raises(BadInputError, match=next(iter(wrong))):
        Spool(tmp_path, **wrong)
    with pytest.raises(BadInputError, match="spool must be a Spool"):
        SpoolToDisk(str(tmp_path), print)
