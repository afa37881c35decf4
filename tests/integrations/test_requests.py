"""What only the requests adapter has to mind."""

from __future__ import annotations

import threading

import pytest
import requests

from holdfast import (
    Backoff,
    BadInputError,
    Bulkhead,
    CircuitBreaker,
    Deadline,
    Pipeline,
    Retry,
    Timeout,
)
from holdfast.integrations.requests import ResilientAdapter
from tests.integrations.scripted import Reply

RETRY = Retry(backoff=Backoff.fixed(0))


@pytest.fixture
def session():
    with requests.Session() as made:
        made.trust_env = False
        yield made


def test_one_connection_is_enough_for_attempts_with_bodies_of_unknown_length(server, session):
    session.mount("http://", ResilientAdapter(RETRY, pool_maxsize=1, pool_block=True))
    server.say("/", Reply(503, b"x" * 1_000_000, chunked=True), Reply(200, b"ok"))
    assert session.get(server.url).text == "ok"


def test_a_failed_response_can_be_streamed_as_ever(server, session):
    session.mount("http://", ResilientAdapter(RETRY))
    server.say("/", Reply(503, b"not now, not now"))
    with session.get(server.url, stream=True) as response:
        assert list(response.iter_content(8)) == [b"not now,", b" not now"]


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (None, 0.5),
        (0.2, 0.2),
        (3, 0.5),
        ((0.1, None), (0.1, 0.5)),
        ((7, 0.3), (0.5, 0.3)),
    ],
)
def test_the_timeout_shrinks_to_the_deadline(monkeypatch, session, given, passed):
    told = []

    def send(self, request, stream, timeout, *rest):
        told.append(timeout)
        raise requests.ReadTimeout

    adapter = ResilientAdapter(Bulkhead(1))
    session.mount("http://", adapter)
    monkeypatch.setattr("requests.adapters.HTTPAdapter.send", send)
    with Deadline.after(0.5), pytest.raises(requests.ReadTimeout):
        session.get("http://x/", timeout=given)
    with pytest.raises(requests.ReadTimeout):
        session.get("http://x/", timeout=given)
    assert told == [pytest.approx(passed, abs=0.05), given]


def test_a_urllib3_timeout_is_left_alone(monkeypatch, session):
    import urllib3

    told, given = [], urllib3.Timeout(connect=1, read=2)

    def send(self, request, stream, timeout, *rest):
        told.append(timeout)
        raise requests.ReadTimeout

    session.mount("http://", ResilientAdapter(Bulkhead(1)))
    monkeypatch.setattr("requests.adapters.HTTPAdapter.send", send)
    with Deadline.after(0.5), pytest.raises(requests.ReadTimeout):
        session.get("http://x/", timeout=given)
    assert told == [given]


@pytest.mark.parametrize(
    "wrong",
    [{"proxies": {"http": "http://:8080"}}, {"timeout": (1, 2, 3)}],
    ids=["proxy", "timeout"],
)
def test_a_request_that_cannot_be_sent_is_no_failure_of_the_server(session, wrong):
    breaker = CircuitBreaker("api", failure_threshold=1)
    session.mount("http://", ResilientAdapter(Pipeline(RETRY, breaker)))
    with pytest.raises(ValueError, match=r"(?i)proxy|timeout"):
        session.get("http://127.0.0.1:9/", **wrong)
    assert breaker.state == "closed"


def test_hosts_are_known_without_the_password_in_their_url(server, session):
    made = []

    def guard(host):
        made.append(host)
        return Timeout(30)

    session.mount("http://", ResilientAdapter(guard, per_host=True))
    session.get(server.url.replace("//", "//user:secret@"))
    session.get(server.url)
    assert made == [server.url]


def test_eight_threads_share_a_session_and_a_bulkhead(server, session):
    bulkhead = Bulkhead(2, max_queue=8)
    # One thread may get all four refusals, when the others get the answers in between.
    retry = Retry(5, backoff=Backoff.fixed(0))
    session.mount("http://", ResilientAdapter(Pipeline(retry, bulkhead)))
    server.say("/", *[Reply(503), Reply(200)] * 4, Reply(200))
    statuses = []

    def ask():
        statuses.append(session.get(server.url).status_code)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert statuses == [200] * 8
    assert bulkhead.running == 0


def test_bad_settings_are_refused_by_name():
    with pytest.raises(BadInputError, match="pipeline must be a Pipeline or a policy"):
        ResilientAdapter(None)
