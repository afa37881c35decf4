"""What servers have is asked once, and nobody waits for a silent one where another answers."""

from __future__ import annotations

import asyncio
import time

import pytest

from holdfast.comfyui import DeadlineError, ServerUnreachableError
from holdfast.comfyui.engines import stock as stock_module
from holdfast.comfyui.engines.stock import Stock
from holdfast.comfyui.server import RefusedError

INFO = {"A": {"input": {"required": {}}, "output": []}}


class Scripted:
    """A server whose answers are scripted: a mapping, an exception, or an event to wait for."""

    def __init__(self, name, *answers):
        self.name = name
        self.answers = list(answers)
        self.asked = 0

    async def object_info(self):
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            return INFO
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(stock_module, "GRACE_SECONDS", 0.05)
    monkeypatch.setattr(stock_module, "AGAIN_SECONDS", 0.02)


def stock(*servers, reach=5.0):
    return Stock(lambda: servers, reach_seconds=reach)


async def test_servers_are_asked_once():
    one, two = Scripted("one", INFO), Scripted("two", INFO)
    shelf = stock(one, two)
    for _ in range(3):
        assert set(await shelf.catalogs(10)) == {"one", "two"}
    await asyncio.gather(*(shelf.catalogs(10) for _ in range(5)))
    assert (one.asked, two.asked) == (1, 1)


async def test_a_silent_server_is_waited_for_once_and_joins_when_it_answers():
    answer = asyncio.Event()
    shelf = stock(Scripted("one", INFO), Scripted("two", answer))
    assert set(await shelf.catalogs(10)) == {"one"}
    before = time.monotonic()
    assert set(await shelf.catalogs(10)) == {"one"}
    assert time.monotonic() - before < 0.04
    answer.set()
    await asyncio.sleep(0.1)
    assert set(await shelf.catalogs(10)) == {"one", "two"}
    await shelf.close()


async def test_a_server_that_refuses_is_asked_again_until_it_answers():
    one = Scripted("one", RefusedError("refused"), RefusedError("refused"), INFO)
    assert set(await stock(one).catalogs(10)) == {"one"}
    assert one.asked == 3


async def test_where_another_answers_a_server_that_refuses_is_left_alone_for_a_while():
    two = Scripted("two", RefusedError("refused"))
    shelf = stock(Scripted("one", INFO), two)
    for _ in range(3):
        assert set(await shelf.catalogs(10)) == {"one"}
    assert two.asked == 1
    shelf.forget()
    await shelf.catalogs(10)
    assert two.asked == 2


async def test_what_is_no_catalog_counts_as_no_answer():
    shelf = stock(Scripted("one", {}), reach=0.1)
    with pytest.raises(ServerUnreachableError, match="one: object_info: no node class"):
        await shelf.catalogs(10)


async def test_whoever_has_less_time_than_servers_are_given_gets_a_deadline():
    shelf = stock(Scripted("one", asyncio.Event()), reach=60)
    with pytest.raises(DeadlineError, match="none has answered"):
        await shelf.catalogs(0.05)
    await shelf.close()
