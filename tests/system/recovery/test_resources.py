"""Resources: reloaded, swapped, fetched; a success only if the health check says so."""

from __future__ import annotations

import asyncio
import threading

import pytest

from holdfast.errors import BadInputError, ErrorCategory
from holdfast.system.recovery import (
    FetchResource,
    RecoveryProcedure,
    ReloadResource,
    ResourceRegistry,
    SwapResource,
)

MODEL = ErrorCategory.MODEL


class Model:
    def __init__(self, well=True):  # noqa: FBT002  # a model is well, or not
        self.well, self.closed = well, False


class Disk:
    """Loads models; the next ones are as told."""

    def __init__(self, *plan):
        self.plan, self.made = list(plan), []

    def load(self):
        told = self.plan.pop(0) if self.plan else True
        if isinstance(told, Exception):
            raise told
        self.made.append(Model(told))
        return self.made[-1]


def close(model):
    model.closed = True


def check(model):
    return model.well and not model.closed


def registry_of(**disks):
    registry = ResourceRegistry()
    for name, disk in disks.items():
        registry.register(name, disk.load, close=close, check=check)
    return registry


@pytest.fixture
def mend(recover, make_error):
    def run(*strategies):
        procedure = RecoveryProcedure()
        for strategy in strategies:
            procedure.register(MODEL, strategy)
        return recover(procedure, make_error(MODEL))

    return run


def test_a_resource_is_loaded_once_when_it_is_first_needed():
    disk = Disk()
    registry = registry_of(sdxl=disk)
    assert registry.healthy("sdxl") is False
    assert disk.made == []
    assert registry.get("sdxl") is registry.get("sdxl")
    assert len(disk.made) == 1
    assert registry.snapshot() == {"sdxl": {"loaded": True, "loads": 1, "stands_in": None}}
    registry.close()
    assert disk.made[0].closed


def test_threads_load_it_once():
    disk = Disk()
    registry = registry_of(sdxl=disk)
    threads = [threading.Thread(target=registry.get, args=("sdxl",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(disk.made) == 1


def test_it_is_loaded_anew_and_the_old_one_closed_first(mend):
    disk = Disk(False, True)
    registry = registry_of(sdxl=disk)
    registry.get("sdxl")
    result = mend(ReloadResource(registry, "sdxl"))
    assert result.success
    assert disk.made[0].closed
    assert registry.get("sdxl") is disk.made[1]


def test_one_that_is_ill_after_loading_is_no_success(mend):
    registry = registry_of(sdxl=Disk(False, False))
    registry.get("sdxl")
    assert not mend(ReloadResource(registry, "sdxl")).success


def test_one_that_does_not_load_is_no_success_and_loads_later(mend):
    registry = registry_of(sdxl=Disk(True, OSError("no file"), True))
    registry.get("sdxl")
    result = mend(ReloadResource(registry, "sdxl"))
    assert not result.success
    assert "no file" in result.reason
    assert registry.get("sdxl").well


def test_without_a_check_nothing_is_claimed(mend):
    registry = ResourceRegistry()
    registry.register("sdxl", Model)
    registry.get("sdxl")
    assert not mend(ReloadResource(registry, "sdxl")).success


def test_a_reload_behind_a_stand_in_is_not_what_the_calls_get(mend):
    registry = registry_of(sdxl=Disk(), sd15=Disk())
    registry.swap("sdxl", "sd15")
    assert not mend(ReloadResource(registry, "sdxl")).success


def test_a_close_that_fails_does_not_keep_it_from_loading(mend):
    def stuck(model):
        raise OSError("busy")

    registry = ResourceRegistry()
    registry.register("sdxl", Model, close=stuck, check=check)
    registry.get("sdxl")
    assert mend(ReloadResource(registry, "sdxl")).success


def test_the_first_fallback_that_is_well_stands_in(mend):
    disks = {"sdxl": Disk(), "a": Disk(OSError("gone")), "b": Disk(False), "c": Disk()}
    registry = registry_of(**disks)
    broken = registry.get("sdxl")
    result = mend(SwapResource(registry, "sdxl", ["a", "b", "c"]))
    assert result.success
    assert registry.in_use("sdxl") == "c"
    assert registry.get("sdxl") is disks["c"].made[0]
    assert broken.closed
    assert result.degraded
    assert result.changes.lesser == "made with c in place of sdxl"
    assert registry.restore("sdxl") is True
    assert registry.restore("sdxl") is False
    assert registry.get("sdxl") is disks["sdxl"].made[1]


def test_without_one_that_is_well_nothing_is_swapped(mend):
    registry = registry_of(sdxl=Disk(), a=Disk(False), b=Disk(ValueError("no")))
    result = mend(SwapResource(registry, "sdxl", ["a", "b"]))
    assert not result.success
    assert "a is not well; b: ValueError: no" in result.reason
    assert registry.in_use("sdxl") == "sdxl"


def test_when_the_stand_in_fails_the_next_one_has_its_turn(mend):
    registry = registry_of(sdxl=Disk(), a=Disk(), b=Disk())
    for expected in ("a", "b"):
        assert mend(SwapResource(registry, "sdxl", ["a", "b"])).success
        assert registry.in_use("sdxl") == expected
    assert not mend(SwapResource(registry, "sdxl", ["a", "b"])).success


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_what_is_missing_is_fetched_and_checked(mend, is_async, whole):
    files = {}

    def fetch(error, context):
        files["sdxl"] = b"whole" if whole else b"ha"

    async def fetch_async(error, context):
        await asyncio.sleep(0)
        fetch(error, context)

    def there(error, context):
        return files.get("sdxl") == b"whole"

    result = mend(FetchResource(fetch_async if is_async else fetch, there))
    assert result.success is whole


def test_what_cannot_be_fetched_is_left_alone(mend):
    calls = []
    strategy = FetchResource(
        lambda e, c: calls.append(1), lambda e, c: True, applies=lambda e, c: e.error_type == "X"
    )
    assert not mend(strategy).success
    assert calls == []


def test_bad_settings_are_refused():
    registry = registry_of(a=Disk())

    async def load():
        return Model()

    for make, words in [
        (lambda: registry.register("a", Model), "there is a resource 'a' already"),
        (lambda: registry.register("b", None), "load must be a plain function"),
        (lambda: registry.register("b", load), "load must be a plain function"),
        (lambda: registry.register("b", Model, close=3), "close must be a plain function"),
        (lambda: registry.register("b", Model, check=load), "check must be a plain function"),
        (lambda: registry.get("zzz"), r"name must be that of a resource \(a\), got 'zzz'"),
        (lambda: registry.swap("a", "a"), "other must be another resource"),
        (lambda: registry.swap("a", "b"), "name must be that of a resource"),
        (lambda: ResourceRegistry(0), "max_resources must be"),
        (lambda: ReloadResource({}, "a"), "registry must be a ResourceRegistry"),
        (lambda: SwapResource(registry, "a", []), "fallbacks must be a list"),
        (lambda: SwapResource(registry, "a", ["a"]), "fallbacks must be a list of other"),
        (lambda: FetchResource(None, print), "fetch must be a function"),
    ]:
        with pytest.raises(BadInputError, match=words):
            make()
    small = ResourceRegistry(1)
    small.register("a", Model)
    with pytest.raises(BadInputError, match="there is no room"):
        small.register("b", Model)
