"""Who sees only their own jobs is told of no others, in whatever words they come."""

from __future__ import annotations

import json
from dataclasses import asdict

from holdfast.apps.dashboard.discretion import breakers_for, errors_for, level_for, servers_for
from holdfast.apps.dashboard.live_servers import Work, view_of
from holdfast.apps.dashboard.sources import BreakerView, ErrorGroupView, ErrorsView, LevelView
from holdfast.comfyui.status import ServerState, ServerStatus

SECRET = "the secret picture of ann"


def a_server():
    status = ServerStatus(
        name="one", state=ServerState.UP, reason=f"{SECRET} killed it", busy=1, capacity=1,
        foreign=0, done=3, failed=0, seconds=1.0, pace=1.0, loaded=(), breaker="closed",
        retry_in=0.0,
    )  # fmt: skip
    return view_of(status, Work(SECRET, "KSampler", 0.5), (1, 2))


def some_errors():
    group = ErrorGroupView(
        "f", "OSError", "system", "high", f"/home/ann/{SECRET}", 3, 0.0, "rising", "up", (), ()
    )
    return ErrorsView(3, 0.1, (("system", 3),), (), (group,))


def a_breaker():
    return BreakerView("one", "open", f"{SECRET} failed", "", 3, 1, 5.0)


def test_nothing_of_anothers_is_in_what_a_user_is_shown():
    shown = [
        *servers_for([a_server()], "bob"),
        errors_for(some_errors(), "bob"),
        *breakers_for([a_breaker()], "bob"),
        level_for(LevelView(changes=((0.0, "full to reduced", f"/home/ann/{SECRET}"),)), "bob"),
    ]
    told = json.dumps([asdict(each) for each in shown])
    assert "ann" not in told
    assert "secret" not in told


def test_what_concerns_everybody_stays():
    (server,) = servers_for([a_server()], "bob")
    assert (server.name, server.busy, server.progress) == ("one", 1, 0.5)
    (group,) = errors_for(some_errors(), "bob").groups
    assert (group.type, group.count, group.trend) == ("OSError", 3, "rising")
    (breaker,) = breakers_for([a_breaker()], "bob")
    assert (breaker.name, breaker.state) == ("one", "open")


def test_who_may_see_all_sees_all():
    assert servers_for([a_server()], None) == (a_server(),)
    assert errors_for(some_errors(), None) == some_errors()
    assert breakers_for([a_breaker()], None) == (a_breaker(),)
