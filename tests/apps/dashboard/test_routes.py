"""What stands before the pages, and beside them."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from holdfast.apps.dashboard.routes import Guarded


@pytest.fixture
def crowd():
    return [False]


@pytest.fixture
def client(crowd):
    app = Starlette(
        routes=[Route("/{path:path}", lambda request: PlainTextResponse(request.url.path))]
    )
    with TestClient(Guarded(app, crowded=lambda: crowd[0])) as made:
        yield made


def test_nothing_may_be_loaded_from_elsewhere_or_shown_in_a_frame(client):
    headers = client.get("/jobs").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"


def test_when_too_many_pages_are_open_new_ones_wait_and_those_that_are_open_go_on(client, crowd):
    crowd[0] = True
    refused = client.get("/jobs")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
    assert client.get("/_nicegui/3/static/x.js").status_code == 200
    crowd[0] = False
    assert client.get("/jobs").status_code == 200
