"""asyncio on fake time: timers, timeouts, executors, sockets, and loops left clean."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast import Bulkhead, DeadlineExceededError, Pipeline, Retry, Timeout
from holdfast.ports import ambient
from holdfast.testing import FakeClock


def test_sleeps_and_timeouts_pass_in_the_order_of_their_moments():
    log = []

    async def nap(seconds):
        await asyncio.sleep(seconds)
        log.append((seconds, ambient.now(), asyncio.get_running_loop().time()))

    async def main():
        await asyncio.gather(nap(20.0), nap(5.0), nap(3600.0 * 48))

    with FakeClock(start=0.0) as clock:
        clock.run(main())
    assert [entry[0] for entry in log] == [5.0, 20.0, 172800.0]
    for seconds, now, loop_time in log:
        assert now == pytest.approx(seconds)
        assert loop_time == now


def test_asyncio_timeout_and_wait_for_and_ours_all_end_in_fake_time():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.sleep(11)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 10)
        with pytest.raises(DeadlineExceededError):
            await Timeout(10).execute(asyncio.sleep, 11)
        async with asyncio.timeout(10):
            await asyncio.sleep(9)

    with FakeClock(start=0.0) as clock:
        clock.run(main())
        assert clock.now() == pytest.approx(39.0)


def test_advancing_by_hand_sets_timers_off_at_the_next_turn():
    async def main(clock):
        task = asyncio.create_task(asyncio.sleep(10, "slept"))
        await asyncio.sleep(0)
        clock.advance(10)
        for _ in range(3):
            await asyncio.sleep(0)
        assert task.done()
        return clock.now()

    with FakeClock(start=0.0) as clock:
        assert clock.run(main(clock)) == 10.0


def test_waiting_for_what_never_comes_is_an_error_and_not_a_hang():
    ended = []

    async def main():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with FakeClock(patience=0.1) as clock, pytest.raises(RuntimeError, match="would hang"):
        clock.run(main())
    assert ended == [True]


@pytest.mark.parametrize("way", ["to_thread", "default", "own"])
def test_time_does_not_jump_over_work_in_a_thread(way):
    def work(seconds):
        time.sleep(seconds)
        return "done"

    async def main():
        async with asyncio.timeout(1.0):
            if way == "to_thread":
                return await asyncio.to_thread(work, 0.1)
            loop = asyncio.get_running_loop()
            if way == "default":
                return await loop.run_in_executor(None, work, 0.1)
            with ThreadPoolExecutor(1) as pool:
                return await loop.run_in_executor(pool, work, 0.1)

    with FakeClock(start=0.0, grace=0.0, patience=30.0) as clock:
        assert clock.run(main()) == "done"
        assert clock.now() == 0.0


def test_a_thread_that_sleeps_in_fake_time_keeps_step_with_the_loop():
    log = []

    async def nap():
        await asyncio.sleep(5)
        log.append(("loop", ambient.now()))

    def work():
        ambient.sleep(10)
        log.append(("thread", ambient.now()))

    async def main():
        await asyncio.gather(asyncio.to_thread(work), nap())
        await asyncio.sleep(5)
        log.append(("loop", ambient.now()))

    with FakeClock(start=0.0) as clock:
        clock.run(main())
    assert log == [("loop", 5.0), ("thread", 10.0), ("loop", 15.0)]


def test_an_idle_executor_costs_no_real_time():
    async def main():
        await asyncio.to_thread(int)
        began = time.monotonic()
        for _ in range(200):
            await asyncio.sleep(60)
        return time.monotonic() - began

    with FakeClock(grace=0.5) as clock:
        assert clock.run(main()) < 5.0


def test_work_that_blocks_for_ever_is_passed_over_after_a_moment():
    never = threading.Event()

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.to_thread(never.wait)
        began = time.monotonic()
        for _ in range(20):
            await asyncio.sleep(60)
        never.set()
        return time.monotonic() - began

    with FakeClock(start=0.0, grace=0.2) as clock:
        assert clock.run(main()) < 2.0
        assert clock.now() == pytest.approx(1210.0)


def test_a_loop_is_left_clean():
    async def main():
        await asyncio.to_thread(time.sleep, 0.05)
        asyncio.create_task(asyncio.sleep(3600))  # noqa: RUF006  # left over on purpose
        await asyncio.sleep(1)

        async def numbers():
            yield 1
            yield 2

        async for _ in numbers():
            break

    before = threading.active_count()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with FakeClock() as clock:
            clock.run(main())
        del clock
        gc.collect()
    assert threading.active_count() == before


def test_closing_waits_in_real_time_for_a_thread_that_is_still_at_work():
    ended = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, lambda: (time.sleep(0.2), ended.append(True)))
        task = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.sleep(0)
        task.cancel()

    FakeClock(patience=0.0).run(main())
    assert ended == [True]


def test_a_server_in_the_same_loop_answers_before_time_jumps():
    async def serve(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"hello\n")
                line = await reader.readline()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        return line

    with FakeClock() as clock:
        assert clock.run(main()) == b"hello\n"


def test_a_slot_given_back_by_a_thread_reaches_the_loop_before_time_jumps():
    bulkhead = Bulkhead(1, 1, 60.0)

    def hold(taken):
        taken.set()
        time.sleep(0.1)

    async def main():
        taken = threading.Event()
        thread = threading.Thread(target=bulkhead.call, args=(hold, taken))
        thread.start()
        taken.wait(30)
        await bulkhead.execute(asyncio.sleep, 0)
        thread.join(30)

    with FakeClock(start=0.0) as clock:
        clock.run(main())
        assert clock.now() == 0.0


def test_two_loops_in_two_threads_share_the_time():
    log = []

    async def naps(name, seconds):
        for _ in range(3):
            await asyncio.sleep(seconds)
            log.append((name, round(ambient.now(), 6)))

    with FakeClock(start=0.0, grace=0.2) as clock:
        threads = [
            threading.Thread(target=lambda n=n, s=s: clock.run(naps(n, s)))
            for n, s in (("a", 10.0), ("b", 15.0))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert sorted(log) == [("a", 10), ("a", 20), ("a", 30), ("b", 15), ("b", 30), ("b", 45)]
    assert [when for _, when in log] == sorted(when for _, when in log)


async def test_a_running_loop_can_be_put_on_fake_time_and_back():
    loop = asyncio.get_running_loop()
    began, real = loop.time(), time.monotonic()
    early = loop.create_future()
    loop.call_later(30.0, early.set_result, "rang")
    async with FakeClock(start=0.0) as clock:
        assert loop.time() == pytest.approx(began, abs=5.0)
        await asyncio.sleep(60)
        assert early.result() == "rang"
        assert clock.now() == pytest.approx(60.0)
        assert await Pipeline(Retry(), Timeout(5)).execute(asyncio.sleep, 4, "fine") == "fine"
        async with FakeClock(start=7.0):
            await asyncio.sleep(1)
            assert ambient.now() == pytest.approx(8.0)
        await asyncio.sleep(1)
        assert ambient.now() == clock.now() == pytest.approx(65.0)
        assert await asyncio.to_thread(lambda: 3) == 3
    assert time.monotonic() - real < 10.0
    assert loop.time() == pytest.approx(time.monotonic(), abs=1.0)
    assert "time" not in vars(loop)
    await asyncio.sleep(0.001)


async def test_a_loop_that_is_not_asyncios_own_is_refused(monkeypatch):
    monkeypatch.setattr(asyncio.get_running_loop(), "_selector", object())
    with pytest.raises(RuntimeError, match="only asyncio's own selector event loop"):
        async with FakeClock():
            pass
    monkeypatch.undo()


@pytest.mark.skipif(sys.platform == "win32", reason="the fake loop there runs no subprocesses")
def test_a_subprocess_can_be_waited_for():
    async def main():
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(3)", stdout=-1)
        out, _ = await process.communicate()
        return out

    with FakeClock() as clock:
        assert clock.run(main()).strip() == b"3"


def test_a_runner_can_be_given_the_clocks_loops():
    clock = FakeClock(start=0.0)
    with clock, asyncio.Runner(loop_factory=clock.new_loop) as runner:
        runner.run(asyncio.sleep(10))
        runner.run(asyncio.sleep(10))
    assert clock.now() == pytest.approx(20.0)
