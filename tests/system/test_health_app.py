"""The health app: alone, and mounted in Starlette and FastAPI."""

from __future__ import annotations

import asyncio
import warnings

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from holdfast import ErrorHandlingSystem
from holdfast.system.health_app import HealthApp

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # newer ones would rather have another client
    from starlette.testclient import TestClient


@pytest.fixture
def system():
    system = ErrorHandlingSystem()
    system.get_circuit_breaker("gpu1")
    system.get_circuit_breaker("gpu2")
    return system


def alone(system):
    return TestClient(HealthApp(system)), ""


def in_starlette(system):
    return TestClient(Starlette(routes=[Mount("/health", HealthApp(system))])), "/health"


def in_fastapi(system):
    app = FastAPI()
    app.mount("/internal/health", HealthApp(system))
    return TestClient(app), "/internal/health"


def behind_a_proxy(system):
    """A server that was told its root path, and leaves it in the path."""
    return TestClient(HealthApp(system), root_path="/api"), "/api"


HOSTS = pytest.mark.parametrize("host", [alone, in_starlette, in_fastapi, behind_a_proxy])


@HOSTS
def test_all_is_well(system, host):
    client, root = host(system)
    live = client.get(f"{root}/live")
    assert (live.status_code, live.json()) == (200, {"status": "alive"})
    ready = client.get(f"{root}/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "healthy", "ready": True})
    whole = client.get(f"{root}/")
    assert whole.status_code == 200
    assert whole.json() == {
        "status": "healthy",
        "ready": True,
        "degradation_level": "full",
        "error_rate": 0.0,
        "recovery_rate": 0.0,
        "circuit_breakers": {"gpu1": "closed", "gpu2": "closed"},
    }


@HOSTS
def test_a_path_may_end_with_a_stroke(system, host):
    client, root = host(system)
    assert client.get(f"{root}/ready/").status_code == 200
    assert client.get(f"{root}/live/").status_code == 200


@HOSTS
def test_one_open_breaker_is_degraded_and_all_of_them_are_not_ready(system, host):
    client, root = host(system)
    system.get_circuit_breaker("gpu1").trip()
    ready = client.get(f"{root}/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert client.get(f"{root}/").json()["circuit_breakers"]["gpu1"] == "open"

    system.get_circuit_breaker("gpu2").force_open()
    for path in ("/ready", "/"):
        answer = client.get(f"{root}{path}")
        assert (answer.status_code, answer.json()["ready"]) == (503, False)
        assert answer.json()["status"] == "unhealthy"
    assert client.get(f"{root}/live").status_code == 200

    system.get_circuit_breaker("gpu1").reset()
    assert client.get(f"{root}/ready").status_code == 200


@HOSTS
def test_a_lower_level_is_degraded_and_ready(system, host):
    client, root = host(system)
    system.graceful_degradation.degrade("by hand")
    answer = client.get(f"{root}/")
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["degradation_level"]) == ("degraded", "high")


@HOSTS
def test_a_closed_system_is_alive_and_not_ready(system, host):
    client, root = host(system)
    system.close()
    assert client.get(f"{root}/ready").status_code == 503
    assert client.get(f"{root}/").status_code == 503
    assert client.get(f"{root}/live").status_code == 200


def test_a_disabled_breaker_is_told_as_disabled_and_keeps_nobody_out(system):
    client, _ = alone(system)
    system.get_circuit_breaker("gpu1").disable()
    system.get_circuit_breaker("gpu2").metrics_only()
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.json()["circuit_breakers"] == {"gpu1": "disabled", "gpu2": "metrics_only"}


def test_without_any_breaker_it_is_ready():
    client, _ = alone(ErrorHandlingSystem())
    assert client.get("/ready").status_code == 200


@HOSTS
@pytest.mark.parametrize("path", ["/nothing", "/live/x", "/readyx", "/live%00"])
def test_any_other_path_is_not_found(system, host, path):
    client, root = host(system)
    answer = client.get(f"{root}{path}")
    assert answer.status_code == 404
    assert answer.json() == {"error": "there is /live, /ready and /"}


@HOSTS
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/live", "/ready"])
def test_any_other_method_is_refused_with_those_there_are(system, host, method, path):
    client, root = host(system)
    answer = client.request(method, f"{root}{path}", content=b"body")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


@HOSTS
def test_head_is_get_without_the_body(system, host):
    client, root = host(system)
    for path in ("/", "/live", "/ready"):
        got, head = client.get(f"{root}{path}"), client.head(f"{root}{path}")
        assert head.status_code == got.status_code
        assert head.headers["content-length"] == str(len(got.content))
        assert head.content == b""
    system.close()
    assert client.head(f"{root}/ready").status_code == 503


def test_answers_are_json_that_nobody_keeps(system):
    client, _ = alone(system)
    headers = client.get("/ready").headers
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store"


def test_nothing_that_errors_say_is_told(system):
    def fail():
        raise ValueError("a name of somebody: Erika Mustermann")

    system.call_outcome_with_resilience(fail, circuit_breaker_name="gpu1")
    client, _ = alone(system)
    answer = client.get("/")
    assert answer.json()["error_rate"] > 0
    assert "Mustermann" not in answer.text
    assert "ValueError" not in answer.text


def test_a_websocket_is_refused(system):
    client, _ = alone(system)
    with pytest.raises(WebSocketDisconnect):
        with client.websocket_connect("/live"):
            pass


def test_a_mounted_websocket_is_refused_and_its_neighbours_work(system):
    async def hello(socket):
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    app = Starlette(
        routes=[WebSocketRoute("/ws", hello), Mount("/health", HealthApp(system))],
    )
    client = TestClient(app)
    with client.websocket_connect("/ws") as socket:
        assert socket.receive_text() == "hello"
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/health/live"):
        pass


def test_it_lives_through_startup_and_shutdown(system):
    with TestClient(HealthApp(system)) as client:
        assert client.get("/live").status_code == 200


def test_lifespan_messages_are_answered_in_order(system):
    asked = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    said = []

    async def receive():
        return asked.pop(0)

    async def send(message):
        said.append(message["type"])

    asyncio.run(HealthApp(system)({"type": "lifespan"}, receive, send))
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_the_rest_of_an_app_is_untouched(system):
    async def page(_request):
        from starlette.responses import PlainTextResponse

        return PlainTextResponse("the service")

    app = Starlette(routes=[Route("/", page), Mount("/health", HealthApp(system))])
    client = TestClient(app)
    assert client.get("/").text == "the service"
    assert client.get("/health/ready").status_code == 200
