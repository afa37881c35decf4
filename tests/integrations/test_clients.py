"""What all client integrations do alike, over real sockets."""

from __future__ import annotations

import gc
import socket
import threading
import weakref

import pytest

from holdfast import (
    Backoff,
    BadInputError,
    Bulkhead,
    CircuitBreaker,
    CircuitBreakerOpenError,
    Deadline,
    DeadlineExceededError,
    Fallback,
    Pipeline,
    Retry,
    Timeout,
)
from holdfast.events import RetryScheduled, listen
from holdfast.integrations.exchange import ResponseFailure
from holdfast.outcome import report_of
from tests.integrations.clients import Answer
from tests.integrations.scripted import Reply

AT_ONCE = Backoff.fixed(0)
BUSY = Reply(503, b"busy", {"Retry-After": "0"})


def retry(attempts=3, **options):
    return Retry(max_attempts=attempts, backoff=AT_ONCE, **options)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_repeated_until_it_has_passed(client, server, status):
    server.say("/", Reply(status, b"not now"), Reply(status, b"not now"), Reply(200, b"here"))
    assert client(Pipeline(retry())).send("GET", server.url) == Answer(200, "here")
    assert len(server.requests) == 3


def test_when_retries_are_used_up_the_caller_gets_the_last_response_unchanged(client, server):
    server.say("/", Reply(503, b"first"), Reply(502, b"second"), Reply(503, b"third"))
    assert client(Pipeline(retry())).send("GET", server.url) == Answer(503, "third")
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [200, 301, 400, 404, 501])
def test_other_statuses_are_no_failures(client, server, status):
    breaker = CircuitBreaker("api", failure_threshold=1)
    server.say("/", Reply(status, b"so be it"))
    assert client(Pipeline(retry(), breaker)).send("GET", server.url).status == status
    assert len(server.requests) == 1
    assert breaker.state == "closed"


def test_which_statuses_are_failures_can_be_said(client, server):
    server.say("/", Reply(404), Reply(503))
    asked = client(Pipeline(retry()), failed_statuses={404})
    assert asked.send("GET", server.url).status == 503
    assert len(server.requests) == 2


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_idempotent_methods_are_repeated(client, server, method):
    server.say("/", BUSY, Reply())
    assert client(Pipeline(retry())).send(method, server.url).status == 200
    assert len(server.requests) == 2


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("nested", [False, True])
def test_other_methods_are_sent_once_whatever_the_retry_says(client, server, method, nested):
    server.say("/", BUSY, Reply())
    asked = client(Pipeline(retry(allow_nested=nested)))
    assert asked.send(method, server.url, body=b"pay") == Answer(503, "busy")
    assert len(server.requests) == 1


@pytest.mark.parametrize("nested", [False, True])
def test_a_lost_connection_of_an_unsafe_request_is_told_and_not_repeated(client, server, nested):
    server.say("/", Reply(0))
    with pytest.raises(client.lost):
        client(Pipeline(retry(allow_nested=nested))).send("POST", server.url, body=b"pay")
    assert len(server.requests) == 1


def test_an_unsafe_request_with_a_key_is_repeated_with_the_same_key(client, server):
    server.say("/", BUSY, Reply(0), Reply(201))
    sent = client(Pipeline(retry())).send(
        "POST", server.url, headers={"idempotency-key": "k-1"}, body=b"pay"
    )
    assert sent.status == 201
    assert [r.headers["idempotency-key"] for r in server.requests] == ["k-1"] * 3
    assert [r.body for r in server.requests] == [b"pay"] * 3


def test_unsafe_requests_are_repeated_on_demand(client, server):
    server.say("/", BUSY, Reply(201))
    asked = client(Pipeline(retry()), retry_unsafe=True)
    assert asked.send("POST", server.url, body=b"pay").status == 201
    assert [r.body for r in server.requests] == [b"pay"] * 2


def test_a_body_that_can_be_read_only_once_is_sent_once(client, server):
    server.say("/", BUSY, Reply())
    asked = client(Pipeline(retry()), retry_unsafe=True)
    assert asked.send("PUT", server.url, body=client.stream()) == Answer(503, "busy")
    assert [r.body for r in server.requests] == [b"a bit at a time"]


def test_an_unsafe_failure_still_counts_for_the_breaker(client, server):
    breaker = CircuitBreaker("api", failure_threshold=1)
    server.say("/", BUSY)
    asked = client(Pipeline(retry(), breaker))
    assert asked.send("POST", server.url).status == 503
    with pytest.raises(CircuitBreakerOpenError):
        asked.send("POST", server.url)
    assert len(server.requests) == 1


def test_default_retries_know_a_lost_connection_of_any_library(client, server):
    server.say("/", Reply(0), Reply(200, b"back"))
    assert client(Pipeline(retry())).send("GET", server.url) == Answer(200, "back")
    assert len(server.requests) == 2


def test_a_retry_on_the_library_s_own_type_works_too(client, server):
    server.say("/", Reply(0), Reply(200, b"back"))
    assert client(Pipeline(retry(on=client.lost))).send("GET", server.url) == Answer(200, "back")


def test_the_final_error_is_the_library_s_own_with_the_history(client, server):
    server.say("/", Reply(0))
    with pytest.raises(client.lost) as caught:
        client(Pipeline(retry(), name="shop")).send("GET", server.url)
    assert type(caught.value).__module__.split(".")[0] == client.lost.__module__.split(".")[0]
    assert len(report_of(caught.value).history) == 3
    assert any(note.startswith("holdfast shop: attempt 2") for note in caught.value.__notes__)
    assert len(server.requests) == 3


def test_without_a_retry_a_lost_connection_is_asked_for_once(client, server):
    server.say("/", Reply(0))
    with pytest.raises(client.lost):
        client(Timeout(30)).send("GET", server.url)
    assert len(server.requests) == 1


def test_a_second_try_by_the_caller_is_sent_again(client, server):
    server.say("/", Reply(0))
    asked = client(Timeout(30))
    for tries in (1, 2, 3):
        with pytest.raises(client.lost):
            asked.send("GET", server.url)
        assert len(server.requests) == tries


def test_a_refused_connection_is_repeated_and_opens_the_breaker(client):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        breaker = CircuitBreaker("api", failure_threshold=3)
        asked = client(Pipeline(retry(), breaker))
        with pytest.raises(Exception, match=r"(?i)connect"):
            asked.send("GET", url)
        assert breaker.state == "open"
        with pytest.raises(CircuitBreakerOpenError):
            asked.send("GET", url)


def test_retry_after_is_obeyed(client, server):
    server.say("/", Reply(429, b"", {"Retry-After": "0.05"}), Reply())
    told = []
    with listen(told.append):
        assert client(Pipeline(retry())).send("GET", server.url).status == 200
    (wait,) = [event.delay for event in told if isinstance(event, RetryScheduled)]
    assert wait == 0.05


def test_a_retry_after_beyond_the_deadline_ends_the_call_at_once_with_the_response(client, server):
    server.say("/", Reply(503, b"in an hour", {"Retry-After": "3600"}), Reply())
    asked = client(Pipeline(Timeout(60), retry()))
    assert asked.send("GET", server.url) == Answer(503, "in an hour")
    assert len(server.requests) == 1


def test_a_breaker_that_opens_in_between_leaves_the_last_response_to_the_caller(client, server):
    server.say("/", BUSY)
    asked = client(Pipeline(retry(), CircuitBreaker("api", failure_threshold=1)))
    assert asked.send("GET", server.url) == Answer(503, "busy")
    assert len(server.requests) == 1
    with pytest.raises(CircuitBreakerOpenError) as refused:
        asked.send("GET", server.url)
    assert refused.value.retry_after > 0


def test_each_rejection_is_an_error_of_its_own(client, server):
    breaker = CircuitBreaker("api")
    breaker.trip()
    asked = client(breaker)
    errors = []
    for _ in range(2):
        with pytest.raises(CircuitBreakerOpenError) as refused:
            asked.send("GET", server.url)
        errors.append(refused.value)
    assert errors[0] is not errors[1]


def test_connections_go_back_to_the_pool(client, server):
    server.say("/", BUSY, BUSY, BUSY, Reply())
    asked = client(Pipeline(retry(4)))
    for _ in range(5):
        assert asked.send("GET", server.url).status == 200
    assert len(server.requests) == 8
    assert server.connections == 1


def test_a_large_body_of_a_discarded_response_is_not_read(client, server):
    server.say("/", Reply(503, b"x" * 5_000_000), Reply(200, b"small"))
    assert client(Pipeline(retry())).send("GET", server.url) == Answer(200, "small")


def test_a_large_body_of_the_last_response_is_there_to_be_read(client, server):
    server.say("/", Reply(503, b"x" * 1_000_000))
    answer = client(Pipeline(retry(2))).send("GET", server.url)
    assert (answer.status, len(answer.text)) == (503, 1_000_000)


def test_a_compressed_failure_reads_as_ever(client, server):
    import gzip

    packed = gzip.compress(b"busy" * 100)
    server.say("/", Reply(503, packed, {"Content-Encoding": "gzip"}))
    assert client(Pipeline(retry(2))).send("GET", server.url) == Answer(503, "busy" * 100)


def test_a_fallback_may_give_the_response_it_was_told_of(client, server):
    server.say("/", BUSY)
    seen = []

    def instead(error):
        seen.append((type(error), error.status, error.retry_after))
        return error.response

    assert client(Pipeline(Fallback(instead), retry(1))).send("GET", server.url).status == 503
    assert seen == [(ResponseFailure, 503, 0.0)]


def test_a_slow_server_meets_the_time_limit(client, server):
    release = threading.Event()
    server.say("/", Reply(before=release))
    try:
        with pytest.raises(DeadlineExceededError):
            client(Timeout(0.05)).send("GET", server.url)
    finally:
        release.set()


def test_a_deadline_around_the_request_holds_in_it(client, server):
    release = threading.Event()
    server.say("/", Reply(before=release))
    asked = client(retry())
    try:
        with Deadline.after(0.05), pytest.raises(DeadlineExceededError):
            asked.send("GET", server.url)
        # None, if this machine is so slow that the time was up first.
        assert len(server.requests) <= 1
    finally:
        release.set()


def test_slots_are_given_back(client, server):
    bulkhead = Bulkhead(1)
    server.say("/", BUSY, Reply(0), Reply())
    asked = client(Pipeline(retry(), bulkhead))
    for _ in range(3):
        assert asked.send("GET", server.url).status == 200
    assert bulkhead.running == 0


def test_a_failed_response_is_free_before_the_next_attempt_ends(client, server):
    server.say("/", Reply(503, chunked=True), Reply())
    dead = []

    def look(error):
        if not isinstance(error, ResponseFailure):
            return False
        dead.append(weakref.ref(error.response))
        return True

    gc.disable()
    try:
        client(Pipeline(retry(on=look))).send("GET", server.url)
        assert dead
        if client.lost.__module__.startswith("aiohttp"):
            return  # aiohttp's own responses are in reference cycles
        assert dead[0]() is None
    finally:
        gc.enable()


def test_each_host_has_its_own_pipeline_on_demand(client, server):
    made = []

    def guard(host):
        made.append(host)
        return CircuitBreaker(host, failure_threshold=1)

    server.say("/", BUSY)
    asked = client(guard, per_host=True)
    other = server.url.replace("127.0.0.1", "localhost")
    assert asked.send("GET", server.url).status == 503
    with pytest.raises(CircuitBreakerOpenError):
        asked.send("GET", server.url)
    assert asked.send("GET", f"{other}/elsewhere").status == 200
    assert made == [server.url, other]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"pipeline": 7}, "pipeline must be a Pipeline or a policy, got 7"),
        ({"pipeline": lambda host: host}, "pipeline must be a Pipeline or a policy"),
        ({"per_host": True}, "pipeline must be a function that makes one for a host"),
        ({"failed_statuses": {99}}, "failed_statuses must be at least 100 and at most 599"),
        ({"failed_statuses": {True}}, "failed_statuses must be"),
        ({"pipeline": lambda host: host, "per_host": True, "max_hosts": 0}, "max_hosts must be"),
    ],
)
def test_bad_settings_are_refused_by_name(client, options, told):
    with pytest.raises(BadInputError, match=told):
        client(**{"pipeline": Pipeline(), **options})
