"""What only the httpx transports have to mind."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest

from holdfast import (
    Backoff,
    Bulkhead,
    CircuitBreaker,
    Deadline,
    DeadlineExceededError,
    Pipeline,
    Retry,
    Timeout,
)
from holdfast.integrations.httpx import AsyncResilientTransport, ResilientTransport
from tests.integrations.scripted import Reply

RETRY = Retry(backoff=Backoff.fixed(0))
ONE = httpx.Limits(max_connections=1)


class Tracked(httpx.SyncByteStream):
    """A response body that knows whether it was closed."""

    def __init__(self, body=b""):
        self.body = body
        self.closed = 0

    def __iter__(self):
        yield self.body

    def close(self):
        self.closed += 1


class Scripted(httpx.BaseTransport):
    def __init__(self, *answers):
        self.answers = list(answers)
        self.timeouts = []
        self.closed = False

    def handle_request(self, request):
        self.timeouts.append(request.extensions.get("timeout"))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.closed = True


def client(*policies, inner=None, **options):
    return httpx.Client(
        transport=ResilientTransport(Pipeline(*policies), inner, **options), trust_env=False
    )


def test_every_discarded_response_is_closed_and_the_last_one_is_open():
    streams = [Tracked(b"a"), Tracked(b"b"), Tracked(b"c")]
    inner = Scripted(*(httpx.Response(503, stream=stream) for stream in streams))
    with client(RETRY, inner=inner) as asked, asked.stream("GET", "http://x/") as response:
        assert [stream.closed > 0 for stream in streams] == [True, True, False]
        assert response.read() == b"c"
    assert streams[2].closed
    assert inner.closed


def test_a_response_accepted_by_status_and_refused_by_a_policy_is_closed_too():
    streams = [Tracked(), Tracked()]
    inner = Scripted(*(httpx.Response(200, stream=stream) for stream in streams))
    pending = Retry(backoff=Backoff.fixed(0), retry_on_result=lambda r: bool(inner.answers))
    with client(pending, inner=inner) as asked, asked.stream("GET", "http://x/"):
        assert [stream.closed for stream in streams] == [1, 0]


def test_a_failed_read_of_a_small_body_is_a_lost_connection():
    class Broken(Tracked):
        def __iter__(self):
            raise httpx.ReadError("reset")

    broken = Broken()
    inner = Scripted(
        httpx.Response(503, headers={"Content-Length": "3"}, stream=broken),
        httpx.Response(200),
    )
    with client(RETRY, inner=inner) as asked:
        assert asked.get("http://x/").status_code == 200
    assert broken.closed


def test_timeouts_of_httpx_shrink_to_the_deadline_and_grow_no_others():
    inner = Scripted(httpx.Response(200), httpx.Response(200))
    with client(Timeout(2), inner=inner) as asked:
        response = asked.get("http://x/", timeout=httpx.Timeout(None, read=1, connect=100))
        assert response.request.extensions["timeout"]["connect"] == 100
        with Deadline.after(0.5):
            asked.get("http://x/", timeout=httpx.Timeout(None, read=1))
    first, second = inner.timeouts
    assert first["read"] == 1
    assert 1 < first["connect"] <= 2
    assert 1 < first["pool"] <= 2
    assert all(0 < limit <= 0.5 for limit in second.values())


def test_without_a_deadline_timeouts_stay_as_they_are():
    inner = Scripted(httpx.Response(200))
    with client(RETRY, inner=inner) as asked:
        asked.get("http://x/", timeout=7)
    assert inner.timeouts == [{"connect": 7, "read": 7, "write": 7, "pool": 7}]


def test_a_response_that_comes_too_late_is_closed():
    release, stream, over = threading.Event(), Tracked(), threading.Event()

    class Slow(httpx.BaseTransport):
        def handle_request(self, request):
            release.wait(10)
            return httpx.Response(200, stream=stream)

    def closed():
        over.set()

    stream.close = closed
    with client(Timeout(0.02, thread=True), inner=Slow()) as asked:
        with pytest.raises(DeadlineExceededError):
            asked.get("http://x/")
    release.set()
    assert over.wait(10)


@pytest.mark.parametrize(
    ("scheme", "header"), [("ftp", "right"), ("http", "a\r\nb")], ids=["scheme", "header"]
)
def test_a_request_that_cannot_be_sent_is_no_failure_of_the_server(server, scheme, header):
    breaker = CircuitBreaker("api", failure_threshold=1)
    url = server.url.replace("http", scheme)
    with client(RETRY, breaker) as asked:
        with pytest.raises((httpx.UnsupportedProtocol, httpx.LocalProtocolError)):
            asked.get(url, headers={"X-Header": header})
    assert breaker.state == "closed"
    assert server.requests == []


def test_one_connection_is_enough_for_attempts_with_bodies_of_unknown_length(server):
    server.say("/", Reply(503, b"x" * 1_000_000, chunked=True), Reply(200, b"ok"))
    with client(RETRY, inner=httpx.HTTPTransport(limits=ONE)) as asked:
        assert asked.get(server.url).text == "ok"


async def test_one_connection_is_enough_in_async_code_too(server):
    server.say("/", Reply(503, b"x" * 1_000_000, chunked=True), Reply(200, b"ok"))
    transport = AsyncResilientTransport(RETRY, httpx.AsyncHTTPTransport(limits=ONE))
    async with httpx.AsyncClient(transport=transport, trust_env=False) as asked:
        assert (await asked.get(server.url)).text == "ok"


async def test_a_cancelled_request_frees_its_slot_and_its_connection(server):
    release, bulkhead = threading.Event(), Bulkhead(1)
    server.say("/slow", Reply(before=release))
    transport = AsyncResilientTransport(bulkhead, httpx.AsyncHTTPTransport(limits=ONE))
    try:
        async with httpx.AsyncClient(transport=transport, trust_env=False) as asked:
            task = asyncio.create_task(asked.get(f"{server.url}/slow"))
            await server.asked()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert bulkhead.running == 0
            assert (await asked.get(server.url)).status_code == 200
    finally:
        release.set()


def test_a_request_read_into_memory_first_may_be_repeated(server):
    server.say("/", Reply(503), Reply(200))
    with client(RETRY) as asked:
        request = asked.build_request("PUT", server.url, content=iter([b"a", b"b"]))
        request.read()
        assert asked.send(request).status_code == 200
    assert [request.body for request in server.requests] == [b"ab", b"ab"]
