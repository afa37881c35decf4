"""From places and wishes to what `routing` decides on: which waiting job gets which place now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from holdfast.comfyui.line import Line, Wish
from holdfast.comfyui.needs import Needs
from holdfast.comfyui.place import Lease, Place
from holdfast.comfyui.routing import Bid, Seeker, choose
from holdfast.comfyui.speed import Speeds

DOUBT = 1.25
"""What a server that has come back is held to take longer, until it has delivered."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that counts for giving places away at one moment."""

    places: Sequence[Place]
    line: Line
    speeds: Speeds
    now: float
    is_fit: Callable[[Place], bool]
    introduces: Callable[[Place], bool]


def next_pair(scene: Scene) -> tuple[Wish, Place] | None:
    """Who goes next, and where; None if nobody goes anywhere now."""
    if not len(scene.line):
        return None
    open_now = [each for each in scene.places if not each.full and scene.is_fit(each)]
    if not open_now:
        return None
    shy = [each for each in scene.places if scene.introduces(each)]
    free = [each for each in open_now if each.reserved is None]
    returning = _returning(scene, open_now, free, shy)
    return returning or _chosen(scene, free, shy)


def _chosen(scene: Scene, free: list[Place], shy: list[Place]) -> tuple[Wish, Place] | None:
    loading = {
        lease.needs.models
        for each in scene.places
        for lease in each.leases.values()
        if lease.missing
    }
    seekers: dict[int, tuple[Wish, Seeker]] = {}
    for wish, waiting in scene.line.heads():
        if any(each.name not in wish.never for each in shy):
            continue
        seeker = _seeker(scene, wish, waiting, free)
        if seeker is not None:
            seeker = replace(seeker, loading=wish.needs.models in loading)
            seekers[wish.turn] = (wish, seeker)
    choice = choose([each for _, each in seekers.values()])
    for turn, saved in choice.declined:
        wish = seekers[turn][0]
        if wish.patient_until is None:
            wish.patient_until = scene.now + saved
    if choice.pair is None:
        return None
    turn, name = choice.pair
    return seekers[turn][0], next(each for each in free if each.name == name)


def bid_of(place: Place, needs: Needs, speeds: Speeds, now: float, *, last: bool = False) -> Bid:
    """What a place would be for a job: when it could begin, and how long it would take."""
    doubt = DOUBT if place.returned else 1.0
    ready, loaded = 0.0, place.loaded
    if place.full and place.leases:
        ends, models = min(
            (_remaining(place, each, speeds, now), each.needs.models)
            for each in place.leases.values()
        )
        ready, loaded = ends, models or loaded
    if place.foreign:
        ready += place.foreign * speeds.typical(place.name)
    return Bid(
        place.name,
        place.order,
        speeds.work(place.name, needs.signature) * doubt,
        speeds.load(place.name, needs.signature, needs.models - loaded) * doubt,
        ready,
        place.used,
        last,
    )


def learn(place: Place, lease: Lease, seconds: float, speeds: Speeds) -> float | None:
    """Learn from a job that was delivered.

    Returns how long it took compared with such jobs on a typical server, if that is known.
    """
    needs = lease.needs
    place.loaded = needs.models or place.loaded
    # A run that was not seen whole, or that shared the server, says nothing of its speed.
    if not needs.signature or not lease.fresh or place.foreign or len(place.leases) > 1:
        return None
    usual = speeds.usual(needs.signature)
    speeds.observe(place.name, needs.signature, seconds, lease.missing)
    return seconds / usual if usual and not lease.missing else None


def _returning(
    scene: Scene, open_now: list[Place], free: list[Place], shy: list[Place]
) -> tuple[Wish, Place] | None:
    """A job that finds its own submission where it was left."""
    for place in open_now:
        wish = None if place.reserved is None else scene.line.of(place.reserved)
        if wish is not None and _goes_back(scene, wish, place, free, shy):
            return wish, place
    return None


def _goes_back(scene: Scene, wish: Wish, place: Place, free: list[Place], shy: list[Place]) -> bool:
    if not wish.allows(place.name, scene.now) or any(one.name not in wish.never for one in shy):
        return False
    # Back to its own submission, unless that is where it had better not be.
    return place.name not in wish.avoid or not any(
        each.name not in wish.avoid and wish.allows(each.name, scene.now) for each in free
    )


def _seeker(scene: Scene, wish: Wish, waiting: int, free: list[Place]) -> Seeker | None:
    now, needs, speeds = scene.now, wish.needs, scene.speeds
    allowed = [each for each in free if wish.allows(each.name, now)]
    if not allowed:
        return None
    if any(each.lacks for each in scene.places):
        able = {
            each.name
            for each in scene.places
            if each.name not in wish.never
            and not each.alien
            and not each.draining
            and each.can_run(needs, now)
        }
        if able:  # else what was said must be asked again
            allowed = [each for each in allowed if each.name in able]
    if not allowed:
        return None

    def bid(place: Place) -> Bid:
        return bid_of(place, needs, speeds, now, last=place.name in wish.avoid)

    def busy() -> list[Bid]:
        if waiting > 2 * len(scene.places):
            return []  # there is work for everybody: whoever is free gets some
        return [
            bid(each)
            for each in scene.places
            if each.full
            and each.well
            and not each.returned
            and not each.draining
            and wish.allows(each.name, now)
            and each.can_run(needs, now)
        ]

    impatient = wish.patient_until is not None and now >= wish.patient_until
    return Seeker(wish.turn, wish.latest, waiting, tuple(map(bid, allowed)), busy, impatient)


def _remaining(place: Place, lease: Lease, speeds: Speeds, now: float) -> float:
    signature = lease.needs.signature
    expected = speeds.work(place.name, signature) + speeds.load(
        place.name, signature, lease.missing
    )
    passed = now - lease.began
    # What has taken longer than expected is likely to take longer still.
    return expected - passed if passed < expected else passed / 2
