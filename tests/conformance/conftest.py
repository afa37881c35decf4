"""Which server the protocol is checked against.

COMFYUI_URL names a running server; where it is empty or absent, the package's
own stand-in is started. The suite wants the server for itself: it clears the
queue and the history, interrupts jobs, and counts every message.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator

import aiohttp
import pytest

from tests.conformance.client import Client
from tests.conformance.graphs import SlowGraph, slow_blurring, slow_sampling
from tests.conformance.recorder import Recorder


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """Address of the server under test."""
    given = os.environ.get("COMFYUI_URL", "")
    if given:
        yield given
        return
    from holdfast.comfyui.standin import StandIn, StandInConfig

    with StandIn(StandInConfig()) as standin:
        yield standin.url


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    """A client of an idle server, which is left idle."""
    async with aiohttp.ClientSession() as session:
        client = Client(session, url)
        await client.drain()
        yield client
        await client.close()
        await client.drain()


@pytest.fixture
async def socket(client: Client) -> Recorder:
    """A recorded socket under an id of its own."""
    return await client.connect()


@pytest.fixture
async def checkpoints(client: Client) -> list[str]:
    """Names of the server's checkpoints, perhaps none."""
    answer = (await client.get("/object_info/CheckpointLoaderSimple")).json
    if not answer:
        return []
    return answer["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0]


@pytest.fixture
def checkpoint(checkpoints: list[str]) -> str:
    """A checkpoint of the server; without one the test is skipped."""
    if not checkpoints:
        pytest.skip("the server has no checkpoint")
    return checkpoints[0]


@pytest.fixture
def slow(checkpoints: list[str]) -> Callable[[], SlowGraph]:
    """Make a graph that takes its time, but ends."""
    if checkpoints:
        return lambda: slow_sampling(checkpoints[0], 12)
    return lambda: slow_blurring(12)


@pytest.fixture
def endless(checkpoints: list[str]) -> Callable[[], SlowGraph]:
    """Make a graph that outlasts any test, which must interrupt it."""
    if checkpoints:
        return lambda: slow_sampling(checkpoints[0], 5000)
    return lambda: slow_blurring(150)


@pytest.fixture
def occupy(client: Client, endless: Callable[[], SlowGraph]) -> Callable:
    """Give the server a job that keeps it busy, and return the id once that job runs."""

    async def occupied() -> str:
        prompt_id = (await client.submit(endless().graph))["prompt_id"]
        await client.wait_running(prompt_id)
        return prompt_id

    return occupied
