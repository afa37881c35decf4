"""What only the aiohttp middleware has to mind."""

from __future__ import annotations

import asyncio
import io
import threading

import aiohttp
import pytest

from holdfast import Backoff, Bulkhead, CircuitBreaker, Pipeline, Retry, Timeout
from holdfast.events import RetryScheduled, listen
from holdfast.integrations.aiohttp import resilient
from tests.integrations.scripted import Reply

RETRY = Retry(backoff=Backoff.fixed(0))


def session(*policies, connector=None, outer=(), **options):
    return aiohttp.ClientSession(
        middlewares=[*outer, resilient(Pipeline(*policies), **options)], connector=connector
    )


async def test_one_connection_is_enough_for_attempts_with_bodies_of_unknown_length(server):
    server.say("/", Reply(503, b"x" * 1_000_000, chunked=True), Reply(200, b"ok"))
    async with session(RETRY, connector=aiohttp.TCPConnector(limit=1)) as client:
        async with client.get(server.url) as response:
            assert await response.read() == b"ok"


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        (b"bytes", b"bytes"),
        ("text", b"text"),
        ({"a": "1"}, b"a=1"),
        (io.BytesIO(b"memory"), b"memory"),
    ],
)
async def test_bodies_in_memory_are_sent_again_whole(server, data, sent):
    server.say("/", Reply(503), Reply(0), Reply(200))
    async with session(RETRY) as client, client.put(server.url, data=data) as response:
        assert response.status == 200
    assert [request.body for request in server.requests] == [sent] * 3


async def test_json_is_sent_again(server):
    server.say("/", Reply(503), Reply(200))
    async with session(RETRY) as client, client.put(server.url, json={"a": 1}) as response:
        assert response.status == 200
    assert len(server.requests) == 2


async def test_an_open_file_is_sent_once(server, tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(b"picture")
    server.say("/", Reply(503), Reply(200))
    with path.open("rb") as file:
        async with session(RETRY) as client, client.put(server.url, data=file) as response:
            assert response.status == 503
    assert [request.body for request in server.requests] == [b"picture"]


async def test_a_form_with_a_file_is_sent_once(server):
    form = aiohttp.FormData()
    form.add_field("file", b"picture", filename="a.png")
    server.say("/", Reply(503), Reply(200))
    async with session(RETRY, retry_unsafe=True) as client:
        async with client.post(server.url, data=form) as response:
            assert response.status == 503
    assert len(server.requests) == 1


async def test_a_middleware_further_out_may_send_the_same_request_again(server):
    server.say("/", Reply(0), Reply(0), Reply(200))
    tries = []

    async def again(request, handler):
        while True:
            tries.append(len(server.requests))
            try:
                return await handler(request)
            except aiohttp.ServerDisconnectedError:
                pass

    async with session(Timeout(30), outer=[again]) as client, client.get(server.url) as response:
        assert response.status == 200
    assert tries == [0, 1, 2]


async def test_redirects_are_requests_of_their_own(server):
    server.say("/", Reply(302, headers={"Location": "/next"}))
    server.say("/next", Reply(503), Reply(200, b"arrived"))
    async with session(RETRY) as client, client.get(server.url) as response:
        assert await response.text() == "arrived"
    assert [request.path for request in server.requests] == ["/", "/next", "/next"]


async def test_raise_for_status_speaks_of_the_last_response(server):
    server.say("/", Reply(503))
    async with session(RETRY) as client:
        with pytest.raises(aiohttp.ClientResponseError) as caught:
            await client.get(server.url, raise_for_status=True)
    assert caught.value.status == 503
    assert len(server.requests) == 3


async def test_the_session_s_own_time_limit_ends_all_attempts_and_frees_the_slot(server):
    release, bulkhead, told = threading.Event(), Bulkhead(1), []
    breaker = CircuitBreaker("api", failure_threshold=1)
    server.say("/", Reply(before=release))
    try:
        with listen(told.append):
            async with session(RETRY, breaker, bulkhead) as client:
                with pytest.raises(TimeoutError):
                    await client.get(server.url, timeout=aiohttp.ClientTimeout(total=0.05))
        assert not any(isinstance(event, RetryScheduled) for event in told)
        assert bulkhead.running == 0
        assert breaker.state == "closed"
    finally:
        release.set()


async def test_a_cancelled_request_frees_its_slot_and_its_connection(server):
    release, bulkhead = threading.Event(), Bulkhead(1)
    server.say("/slow", Reply(before=release))
    try:
        async with session(bulkhead, connector=aiohttp.TCPConnector(limit=1)) as client:
            task = asyncio.create_task(client.get(f"{server.url}/slow"))
            await server.asked()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert bulkhead.running == 0
            async with client.get(server.url) as response:
                assert response.status == 200
    finally:
        release.set()


async def test_a_request_that_cannot_be_sent_is_no_failure_of_the_server(server):
    breaker = CircuitBreaker("api", failure_threshold=1)
    async with session(RETRY, breaker) as client:
        with pytest.raises(ValueError, match=r"(?i)header"):
            await client.get(server.url, headers={"X-Bad": "a\r\nb"})
    assert breaker.state == "closed"


async def test_a_stream_is_read_by_the_caller_after_the_pipeline_is_done(server):
    bulkhead = Bulkhead(1)
    server.say("/", Reply(200, b"x" * 300_000))
    async with session(bulkhead) as client, client.get(server.url) as response:
        assert bulkhead.running == 0
        read = 0
        async for chunk in response.content.iter_chunked(1024):
            read += len(chunk)
    assert read == 300_000
