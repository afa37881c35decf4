"""The ASGI middleware: by its messages, and behind a real server."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

from holdfast import (
    BadInputError,
    Bulkhead,
    CircuitBreaker,
    Deadline,
    DeadlineExceededError,
    Fallback,
    Hedge,
    LoadShedder,
    Pipeline,
    RateLimiter,
    Retry,
)
from holdfast.errors import (
    BulkheadFullError,
    CircuitBreakerOpenError,
    IdleTimeoutError,
    LoadShedError,
    QueueTimeoutError,
    RateLimitedError,
    RejectedError,
    ThrottledError,
)
from holdfast.integrations.starlette import ResilienceMiddleware
from holdfast.pipeline.registry import Registry
from holdfast.testing import FakeClock

HTTP = {"type": "http", "path": "/", "headers": []}
BODY = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}


class Wire:
    """One request as a server sees it."""

    def __init__(self, *messages):
        self.sent = []
        self.incoming = asyncio.Queue()
        for message in messages or (BODY,):
            self.incoming.put_nowait(message)

    async def receive(self):
        return await self.incoming.get()

    async def send(self, message):
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def headers(self):
        return dict(self.sent[0]["headers"])

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent)


async def fine(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})


def failing_with(error, *, begun=False):
    async def app(scope, receive, send):
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise error

    return app


async def for_ever(scope, receive, send):
    await asyncio.Event().wait()


async def test_what_is_let_through_is_answered_by_the_app():
    wire = Wire()
    await ResilienceMiddleware(fine, Bulkhead(1))(HTTP, wire.receive, wire.send)
    assert (wire.status, wire.body) == (200, b"fine")


@pytest.mark.parametrize(
    ("error", "status", "after"),
    [
        (RateLimitedError("x", retry_after=2.1), 429, b"3"),
        (ThrottledError("x"), 429, b"1"),
        (CircuitBreakerOpenError("x", retry_after=30), 503, b"30"),
        (BulkheadFullError("x"), 503, b"1"),
        (QueueTimeoutError("x"), 503, b"1"),
        (LoadShedError("x", retry_after=0), 503, b"0"),
        (LoadShedError("x", retry_after=float("inf")), 503, None),
        (DeadlineExceededError("x"), 503, b"1"),
        (IdleTimeoutError("x"), 503, b"1"),
        (RejectedError("x"), 503, b"1"),
    ],
)
async def test_a_rejection_becomes_a_status_with_retry_after(error, status, after):
    wire = Wire()
    app = ResilienceMiddleware(failing_with(error), Pipeline())
    await app(HTTP, wire.receive, wire.send)
    assert wire.status == status
    assert wire.headers.get(b"retry-after") == after
    assert wire.headers[b"content-length"] == str(len(wire.body)).encode()
    assert b"x" not in wire.body


async def test_retry_after_can_be_left_out_when_nobody_can_tell():
    wire = Wire()
    app = ResilienceMiddleware(failing_with(BulkheadFullError("x")), Pipeline(), retry_after=None)
    await app(HTTP, wire.receive, wire.send)
    assert b"retry-after" not in wire.headers


async def test_the_policies_own_rejections_never_reach_the_app():
    reached = []

    async def app(scope, receive, send):
        reached.append(scope["path"])
        await fine(scope, receive, send)

    guarded = ResilienceMiddleware(app, RateLimiter(1, per=60))
    statuses = []
    for _ in range(3):
        wire = Wire()
        await guarded(HTTP, wire.receive, wire.send)
        statuses.append(wire.status)
    assert statuses == [200, 429, 429]
    assert reached == ["/"]
    assert 0 < int(wire.headers[b"retry-after"]) <= 60


async def test_an_open_breaker_answers_for_the_app():
    breaker = CircuitBreaker("app", failure_threshold=1)
    guarded = ResilienceMiddleware(failing_with(ValueError("bug")), breaker)
    with pytest.raises(ValueError, match="bug"):
        await guarded(HTTP, Wire().receive, Wire().send)
    wire = Wire()
    await guarded(HTTP, wire.receive, wire.send)
    assert wire.status == 503
    assert int(wire.headers[b"retry-after"]) >= 50


@pytest.mark.parametrize("error", [ValueError("bug"), RateLimitedError("late"), TimeoutError()])
async def test_a_response_that_has_begun_is_never_replaced(error):
    wire = Wire()
    guarded = ResilienceMiddleware(failing_with(error, begun=True), Bulkhead(1))
    with pytest.raises(type(error)) as caught:
        await guarded(HTTP, wire.receive, wire.send)
    assert caught.value is error
    assert len(wire.sent) == 1


async def test_a_fallback_answers_for_an_app_that_has_not_begun():
    wire = Wire()
    sorry = JSONResponse({"sorry": True}, status_code=203)
    guarded = ResilienceMiddleware(failing_with(ValueError("bug")), Fallback(lambda: sorry))
    await guarded(HTTP, wire.receive, wire.send)
    assert (wire.status, wire.body) == (203, b'{"sorry":true}')


async def test_a_fallback_cannot_hide_that_half_a_response_was_sent():
    wire, bug = Wire(), ValueError("bug")
    guarded = ResilienceMiddleware(failing_with(bug, begun=True), Fallback(lambda: fine))
    with pytest.raises(ValueError, match="bug"):
        await guarded(HTTP, wire.receive, wire.send)
    assert len(wire.sent) == 1


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_websockets_and_the_life_of_the_app_pass(kind):
    breaker = CircuitBreaker("app")
    breaker.force_open()
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send))

    scope, wire = {"type": kind}, Wire()
    receive, send = wire.receive, wire.send
    await ResilienceMiddleware(app, breaker)(scope, receive, send)
    assert seen == [(scope, receive, send)]


async def test_exempt_paths_pass():
    breaker = CircuitBreaker("app")
    breaker.force_open()
    guarded = ResilienceMiddleware(fine, breaker, exempt=["/healthz"])
    wire, other = Wire(), Wire()
    await guarded({**HTTP, "path": "/healthz"}, wire.receive, wire.send)
    await guarded(HTTP, other.receive, other.send)
    assert (wire.status, other.status) == (200, 503)


@pytest.mark.parametrize("queued", [False, True])
async def test_a_client_that_goes_away_gives_back_its_place(queued):
    bulkhead = Bulkhead(1, max_queue=1)
    guarded = ResilienceMiddleware(for_ever, bulkhead)
    first, second = Wire(), Wire()
    tasks = [asyncio.create_task(guarded(HTTP, w.receive, w.send)) for w in (first, second)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (bulkhead.running, bulkhead.waiting) == (1, 1)
    leaver = 1 if queued else 0
    (first, second)[leaver].incoming.put_nowait(GONE)
    await tasks[leaver]
    assert not tasks[leaver].cancelled()
    assert (bulkhead.running, bulkhead.waiting) == (1, 0)
    tasks[1 - leaver].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[1 - leaver]
    assert bulkhead.running == 0
    assert first.sent == second.sent == []


async def test_the_server_s_own_cancellation_is_not_mistaken_for_the_client_s():
    guarded = ResilienceMiddleware(for_ever, Bulkhead(1))
    wire = Wire()
    task = asyncio.create_task(guarded(HTTP, wire.receive, wire.send))
    await asyncio.sleep(0)
    wire.incoming.put_nowait(GONE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_goes_on_without_its_client_on_demand():
    done = []

    async def app(scope, receive, send):
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        done.append(1)

    wire = Wire(BODY, GONE)
    guarded = ResilienceMiddleware(app, Bulkhead(1), cancel_on_disconnect=False)
    await guarded(HTTP, wire.receive, wire.send)
    assert done == [1]


async def test_what_is_done_after_the_response_is_not_cancelled():
    done = []

    async def app(scope, receive, send):
        await fine(scope, receive, send)
        wire.incoming.put_nowait(GONE)  # a server says so as soon as the response is sent
        for _ in range(5):
            await asyncio.sleep(0)
        done.append(1)

    wire = Wire()
    await ResilienceMiddleware(app, Bulkhead(1))(HTTP, wire.receive, wire.send)
    assert done == [1]


async def test_an_upload_is_read_no_further_ahead_than_one_message():
    parts = [{"type": "http.request", "body": bytes([n]), "more_body": n < 3} for n in range(4)]
    wire, read = Wire(*parts), []

    async def app(scope, receive, send):
        for _ in range(10):
            await asyncio.sleep(0)
        read.append(wire.incoming.qsize())
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        read.append(body)
        await fine(scope, receive, send)

    await ResilienceMiddleware(app, Bulkhead(1))(HTTP, wire.receive, wire.send)
    assert read == [3, b"\x00\x01\x02\x03"]


async def test_an_app_that_asks_on_is_told_of_the_disconnect_as_often_as_it_asks():
    heard = []

    async def app(scope, receive, send):
        try:
            await receive()
            wire.incoming.put_nowait(GONE)
            await asyncio.Event().wait()
        finally:
            heard.extend([(await receive())["type"], (await receive())["type"]])

    wire = Wire()
    await ResilienceMiddleware(app, Bulkhead(1))(HTTP, wire.receive, wire.send)
    assert heard == ["http.disconnect"] * 2


async def test_an_error_of_receive_is_the_app_s_to_see():
    async def receive():
        raise OSError("broken pipe")

    async def app(scope, receive, send):
        await receive()

    with pytest.raises(OSError, match="broken pipe"):
        await ResilienceMiddleware(app, Bulkhead(1))(HTTP, receive, Wire().send)


def ask_with(header, app, **options):
    """The wire after a request with a deadline header, in fake time."""
    options = {"deadline_header": "X-Request-Timeout", **options}

    async def main():
        wire = Wire()
        scope = {**HTTP, "headers": [(b"host", b"x"), (b"x-request-timeout", header)]}
        await ResilienceMiddleware(app, Bulkhead(1), **options)(scope, wire.receive, wire.send)
        return wire

    with FakeClock() as clock:
        began = clock.now()
        return clock.run(main()), clock.now() - began


@pytest.mark.parametrize(("header", "seconds"), [(b"2.5", 2.5), (b"0", 0.0), (b"1e9", 300.0)])
def test_the_client_s_deadline_ends_the_work(header, seconds):
    wire, took = ask_with(header, for_ever)
    assert wire.status == 503
    assert took == pytest.approx(seconds, abs=0.001)


@pytest.mark.parametrize("header", [b"", b"soon", b"-1", b"nan", b"\xff", b"1_0x"])
def test_a_deadline_that_says_nothing_is_ignored(header):
    seen = []

    async def app(scope, receive, send):
        seen.append(Deadline.current())
        await fine(scope, receive, send)

    wire, _ = ask_with(header, app)
    assert wire.status == 200
    assert seen == [None]


def test_no_header_is_believed_unless_asked_for():
    seen = []

    async def app(scope, receive, send):
        seen.append(Deadline.current())
        await fine(scope, receive, send)

    ask_with(b"1", app, deadline_header=None)
    assert seen == [None]


def test_a_deadline_in_mid_response_cuts_it_off():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(10)

    with pytest.raises(DeadlineExceededError):
        ask_with(b"1", app)


@pytest.mark.parametrize("policy", [Retry(max_attempts=2), Hedge(after=1)])
def test_policies_that_call_more_than_once_are_refused(policy):
    with pytest.raises(BadInputError, match="pipeline must not call more than once"):
        ResilienceMiddleware(fine, Pipeline(policy))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"pipeline": 7}, "policies of holdfast"),
        ({"max_deadline": 0}, "max_deadline must be above 0 seconds, got 0"),
        ({"retry_after": -1}, "retry_after must be at least 0"),
    ],
)
def test_bad_settings_are_refused_by_name(options, told):
    with pytest.raises(BadInputError, match=told):
        ResilienceMiddleware(fine, **{"pipeline": Pipeline(), **options})


async def test_priorities_may_be_read_from_the_request():
    shedder = LoadShedder(1, max_queue=1, priority=lambda scope, *_: int(scope["path"][1:]))
    guarded = ResilienceMiddleware(for_ever, shedder)
    wires, tasks = [Wire() for _ in range(3)], []
    for wire, path in zip(wires, ("/5", "/9", "/0"), strict=True):
        request = guarded({**HTTP, "path": path}, wire.receive, wire.send)
        tasks.append(asyncio.create_task(request))
        await asyncio.sleep(0)
    await tasks[1]
    assert wires[1].status == 503
    assert not tasks[2].done()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def serving(app):
    """A real server for ``app`` in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level="critical", ws="none", loop="asyncio", http="h11")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


class Slow:
    """A FastAPI app with one slot, and what goes on in it."""

    def __init__(self):
        self.bulkhead = Bulkhead(1)
        self.begun, self.release, self.ended = (threading.Event() for _ in range(3))
        self.app = FastAPI()
        self.app.add_middleware(ResilienceMiddleware, pipeline=self.bulkhead)
        self.app.get("/wait")(self.wait)
        self.app.get("/stream")(self.stream)
        self.app.post("/echo")(self.echo)
        self.app.get("/after")(self.after)

    async def released(self):
        self.begun.set()
        try:
            while not self.release.is_set():  # noqa: ASYNC110  # it is set in another thread
                await asyncio.sleep(0.001)
        finally:
            self.ended.set()

    async def wait(self):
        await self.released()
        return "waited"

    async def stream(self):
        async def parts():
            yield b"begun "
            await self.released()
            yield b"done"

        return StreamingResponse(parts())

    async def echo(self, request: Request):
        return {"length": len(await request.body())}

    async def after(self, tasks: BackgroundTasks):
        tasks.add_task(self.released)
        return "at once"


@pytest.fixture
def slow():
    made = Slow()
    yield made
    made.release.set()


def test_behind_a_real_server_the_second_request_is_shed_until_the_stream_is_done(slow):
    with serving(slow.app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        with client.stream("GET", "/stream") as response:
            parts = response.iter_text()
            assert next(parts) == "begun "
            shed = httpx.get(f"{url}/wait", trust_env=False)
            assert (shed.status_code, shed.headers["retry-after"]) == (503, "1")
            assert shed.json() == {"detail": "Service Unavailable"}
            slow.release.set()
            assert "".join(parts) == "done"
        assert client.get("/wait").json() == "waited"


@pytest.mark.parametrize("path", ["/wait", "/stream"])
def test_behind_a_real_server_a_client_that_leaves_frees_its_slot(slow, path):
    with serving(slow.app) as url:
        address = url.removeprefix("http://").split(":")
        with socket.create_connection((address[0], int(address[1]))) as raw:
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert slow.begun.wait(10)
            assert slow.bulkhead.running == 1
        assert slow.ended.wait(10)
        assert not slow.release.is_set()
        with httpx.Client(base_url=url, trust_env=False) as client:
            assert client.post("/echo", content=b"x" * 300_000).json() == {"length": 300_000}


def test_behind_a_real_server_background_work_is_finished(slow):
    with serving(slow.app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert client.get("/after").json() == "at once"
        assert slow.begun.wait(10)
        assert not slow.ended.is_set()
        slow.release.set()
        assert slow.ended.wait(10)


# -- named pipelines -------------------------------------------------------------------------


def bulkheads(number, **more):
    policies = [{"type": "bulkhead", "max_concurrent": number, **more}]
    return {"pipelines": {"front": {"policies": policies}}}


async def test_a_named_pipeline_follows_its_configuration():
    registry = Registry()
    registry.load(bulkheads(1))
    middleware = ResilienceMiddleware(hanging_app, registry.get("front"))
    hanging = asyncio.create_task(middleware(HTTP, Wire(BODY).receive, Wire().send))
    await asyncio.sleep(0)
    refused = Wire()
    await middleware(HTTP, refused.receive, refused.send)
    assert refused.sent[0]["status"] == 503
    registry.load(bulkheads(2))
    second = asyncio.create_task(middleware(HTTP, Wire(BODY).receive, Wire().send))
    await asyncio.sleep(0.01)
    assert not second.done()
    for task in (hanging, second):
        task.cancel()
    await asyncio.gather(hanging, second, return_exceptions=True)


async def test_a_named_pipeline_that_has_come_to_repeat_is_refused_at_the_next_request():
    registry = Registry()
    registry.load(bulkheads(1))
    middleware = ResilienceMiddleware(hanging_app, registry.get("front"))
    registry.load({"pipelines": {"front": {"policies": [{"type": "retry", "max_attempts": 2}]}}})
    with pytest.raises(BadInputError, match="must not call more than once"):
        await middleware(HTTP, Wire(BODY).receive, Wire().send)


def test_one_path_given_as_a_text_is_refused_rather_than_taken_as_letters():
    with pytest.raises(BadInputError, match="exempt must be some paths"):
        ResilienceMiddleware(hanging_app, Bulkhead(1), exempt="/health")


async def hanging_app(scope, receive, send):
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("exempt", b"/x"),
        ("exempt", [1]),
        ("exempt", None),
        ("exempt", 5),
        ("deadline_header", 5),
        ("deadline_header", ""),
        ("cancel_on_disconnect", "no"),
    ],
)
def test_settings_of_the_wrong_kind_are_refused_by_name(field, value):
    with pytest.raises(BadInputError, match=f"^{field} must be"):
        ResilienceMiddleware(hanging_app, Bulkhead(1), **{field: value})
