"""A fleet over servers that answer at once, for tests on a clock that jumps."""

from __future__ import annotations

from benchmarks.pool import SimServer
from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.comfyui.fleet import Fleet
from holdfast.comfyui.needs import Needs
from holdfast.comfyui.outliers import Ejection
from holdfast.comfyui.place import Errand, Place


def fakes(count: int) -> list[SimServer]:
    """Servers without trouble."""
    return [SimServer(f"http://gpu{number}", 1.0, "", []) for number in range(count)]


def fleet_of(count: int, heard: list[object] | None = None, **settings) -> Fleet:
    """A fleet over so many of them."""
    settings.setdefault("reach_seconds", 60.0)
    return Fleet(fakes(count), (lambda _: None) if heard is None else heard.append, **settings)


def needing(*models: str, kind: str = "job") -> Needs:
    """The needs of a job that loads these."""
    return Needs(frozenset(models), frozenset(), f"{kind} {' '.join(models)}")


async def take(
    fleet: Fleet, key: str, needs: Needs | None = None, *, never: frozenset[str] = frozenset()
) -> Place:
    """A place for a job."""
    fleet.errands[key] = Errand(needs or Needs())
    found = await fleet.acquire(key, fleet.next_turn(), avoid=frozenset(), never=never, wait=0.0)
    assert isinstance(found, Place), found
    return found


def give_back(fleet: Fleet, place: Place, key: str, kind: FailureKind | None = None) -> None:
    """The job is done there, one way or the other."""
    failure = None if kind is None else Failure(kind, "it broke", place.name)
    fleet.report(place, failure, key)
    fleet.release(place, key)


EAGER = Ejection(outcomes=3, seconds=10.0, growth=2.0)
