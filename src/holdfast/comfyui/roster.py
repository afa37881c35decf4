"""From what is known of a server to how it is shown."""

from __future__ import annotations

from holdfast.comfyui.health import Health
from holdfast.comfyui.place import Place
from holdfast.comfyui.speed import Speeds
from holdfast.comfyui.status import ServerState, ServerStatus


def status_of(place: Place, speeds: Speeds, health: Health) -> ServerStatus:
    """How a server stands now."""
    state = _state(place)
    up = state in (ServerState.UP, ServerState.RAMPING)
    return ServerStatus(
        name=place.name,
        state=state,
        reason="" if up else place.reason,
        busy=len(place.leases),
        capacity=place.capacity,
        foreign=place.foreign,
        done=place.done,
        failed=place.failed,
        seconds=speeds.of_server(place.name),
        pace=speeds.pace(place.name),
        loaded=tuple(sorted(place.loaded)),
        breaker=place.breaker.state.value,
        retry_in=0.0 if up else health.due_in(place),
    )


def _state(place: Place) -> ServerState:
    if place.alien:
        return ServerState.ALIEN
    if place.draining:
        return ServerState.DRAINING
    if place.ejected_until is not None:
        return ServerState.EJECTED
    if place.out:
        return ServerState.DOWN
    if not place.known:
        return ServerState.NEW
    return ServerState.RAMPING if place.returned else ServerState.UP
