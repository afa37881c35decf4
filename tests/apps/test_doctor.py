"""`holdfast doctor`: says what is well and what is wrong, one line each."""

from __future__ import annotations

import json

from holdfast.comfyui.standin import Fault, StandIn, StandInConfig
from tests.apps.commands import Command
from tests.comfyui.graphs import picture


def test_a_healthy_server_is_well(holdfast: Command):
    with StandIn() as server:
        ended = holdfast("doctor", "--server", server.url)
    assert ended.code == 0
    assert f"{server.url}: well" in ended.out
    for word in ("version:", "memory:", "queue: 0 running, 0 waiting", "worker: alive", "models:"):
        assert word in ended.out


def test_a_dead_worker_behind_healthy_http_is_found(holdfast: Command, tmp_path):
    path = tmp_path / "p.json"
    path.write_text(json.dumps(picture().to_api()))
    fault = Fault("dead_worker", job=1)
    with StandIn(StandInConfig(faults=(fault,))) as server:
        ended = holdfast("doctor", "--server", server.url, "--seconds", "0.5")
    assert ended.code == 1
    assert "NOT WELL" in ended.out
    assert "worker: " in ended.out
    assert "restart" in ended.out


def test_a_server_without_models_is_told(holdfast: Command):
    with StandIn(StandInConfig(models={})) as server:
        ended = holdfast("doctor", "--server", server.url, "--json")
    assert ended.code == 1
    (line,) = ended.lines
    assert line["reachable"] is True
    assert any("no checkpoint" in problem for problem in line["problems"])
    assert line["worker_seconds"] < 5


def test_one_bad_server_among_good_ones_is_exit_one(holdfast: Command):
    with StandIn() as server:
        ended = holdfast("doctor", "--server", server.url, "--server", "http://127.0.0.1:9")
    assert ended.code == 1
    assert "cannot be reached" in ended.out
