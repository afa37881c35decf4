"""What the engines have in common: servers, stock, ladders, and one way from wish to result."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from holdfast.comfyui import events
from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.client import ComfyUI
from holdfast.comfyui.engines.choosing import Declared, check_roles, declared_models
from holdfast.comfyui.engines.climb import Arrival, Climb, Orders, plan_rung
from holdfast.comfyui.engines.ladders import Rung, first_rung, ladder_of
from holdfast.comfyui.engines.many import make_many
from holdfast.comfyui.engines.meter import Meter
from holdfast.comfyui.engines.missing import impossible
from holdfast.comfyui.engines.names_known import check_names
from holdfast.comfyui.engines.picture import Start, at_hand
from holdfast.comfyui.engines.recipes import FAMILIES, family_of, recipes_of
from holdfast.comfyui.engines.stock import Stock
from holdfast.comfyui.engines.wish import MOST_SEED, Wish, number
from holdfast.comfyui.failures import ComfyUIError, Failure
from holdfast.errors import BadInputError
from holdfast.policies.scope import Deadline
from holdfast.ports import ambient
from holdfast.system.degradation import GracefulDegradation

log = logging.getLogger(__name__)

OnProgress = Callable[[float, str], object]
"""Called with the share that is done, 0 to 1 and never falling, and what is going on."""
OnPreview = Callable[[bytes, str], object]
"""Called with a picture of the work in progress, and its media type."""


R = TypeVar("R")
"""What an engine makes."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How a wish is to be met, beside what is wished."""

    name: str | None = None
    output_dir: str | Path | None = None
    deadline: float | None = None
    """Seconds for everything."""
    strict: bool = False
    on_progress: OnProgress | None = None
    on_preview: OnPreview | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a climb came to, with all that is to be told."""

    arrival: Arrival
    climb: Climb
    degradations: tuple[str, ...]
    seconds: float

    def told(self) -> dict[str, Any]:
        """The fields of a `Made`."""
        plan, result = self.arrival.plan, self.arrival.result
        return {
            "files": result.files,
            "seed": plan.choice.settings.seed,
            "family": plan.recipe.family,
            "recipe": plan.recipe.name,
            "rung": plan.rung.name,
            "models": plan.choice.files,
            "server": result.server,
            "seconds": self.seconds,
            "attempts": tuple(self.climb.attempts),
            "degradations": self.degradations,
            "notes": (*plan.notes, *result.notes),
            "workflow": self.arrival.workflow,
        }


class Engine(ABC, Generic[R]):
    """Makes things without a graph in sight. `ImageEngine` and `VideoEngine` are its faces."""

    kind: ClassVar[Literal["image", "video"]]

    def __init__(
        self,
        *urls: str,
        family: str | None = None,
        models: Mapping[str, Any] | None = None,
        ladder: Iterable[Any] | None = None,
        degradation: GracefulDegradation | None = None,
        on_event: Callable[[events.Event], None] | None = None,
        **options: Any,
    ) -> None:
        self._family = family
        self._declared: Declared = declared_models(models)
        self._rungs = None if ladder is None else ladder_of(ladder, "", self.kind)
        if family is None and self._rungs is not None:
            self._family = self._rungs[0].family
        if self._family is not None:
            check_roles(self._declared, recipes_of(self._family, self.kind))
        elif self._declared:
            raise BadInputError(
                "models was given without family; say which family they are of: "
                f"{', '.join(FAMILIES[self.kind])}"
            )
        if degradation is not None and not isinstance(degradation, GracefulDegradation):
            raise BadInputError(
                f"degradation must be a GracefulDegradation, got {degradation!r:.100}"
            )
        self._degradation = degradation
        self._on_event = on_event
        self._comfy = ComfyUI(*urls, on_event=self._heard, **options)
        self._reach_seconds = float(options.get("reach_seconds", 120.0))
        self._stock: Stock | None = None
        self._watches: dict[str, _Watch] = {}
        self._count = 0

    async def __aenter__(self) -> Self:
        """Open the connections' pool; no server is contacted yet."""
        await self._comfy.__aenter__()
        self._stock = Stock(lambda: self._comfy.servers, reach_seconds=self._reach_seconds)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take back what was left on servers, as far as they answer, and close."""
        if self._stock is not None:
            await self._stock.close()
        await self._comfy.__aexit__(kind, error, traceback)

    @property
    def comfy(self) -> ComfyUI:
        """The client underneath, for workflows of your own on the same servers."""
        return self._comfy

    @abstractmethod
    async def generate(self, *args: Any, **settings: Any) -> R:
        """Make one thing; what it takes is said by each face."""

    async def generate_many(
        self, prompts: Iterable[str | Mapping[str, Any]], **settings: Any
    ) -> list[R | ComfyUIError]:
        """Make many at once, spread over the servers.

        Args:
            prompts: each a prompt, or arguments of `generate` that differ from ``settings``.
            settings: arguments of `generate` for all of them.

        Returns:
            In the order of ``prompts``; an error stands where its result would.

        Raises:
            BadInputError: one of them is wrong; the others are taken back.
        """
        return await make_many(self.generate, prompts, settings)

    async def _make(self, wanted: Mapping[str, Any], image: Any, bounds: Bounds) -> Delivery:
        """From what was asked to what was made.

        Args:
            wanted: fields of a `Wish`; without a seed one is drawn.
            image: the picture to start from, or None.
            bounds: the rest.
        """
        if self._stock is None:
            what = type(self).__name__
            raise RuntimeError(f"use {what} as a context: async with {what}(...) as engine")
        number("deadline", bounds.deadline, 0.001, 1e9)
        began = ambient.now()
        outer = Deadline.current()
        left = math.inf if outer is None else outer.remaining()
        until = began + min(left, math.inf if bounds.deadline is None else bounds.deadline)
        with contextlib.ExitStack() as stack:
            start: Start | None = None
            if image is not None:
                start = await asyncio.to_thread(stack.enter_context, at_hand(image))
            wish = _wish(wanted, start)
            if wish.loras and self._family is None:
                raise BadInputError(
                    "loras was given without family; a LoRA fits one family only: "
                    f"{', '.join(FAMILIES[self.kind])}"
                )
            watch = stack.enter_context(self._watching(bounds))
            catalogs = await self._stock.catalogs(until - began)
            check_names(wish, catalogs)
            home, rungs = self._ladder(wish, catalogs)
            first, began_lower = self._first(rungs, strict=bounds.strict)
            climb = Climb(
                self._comfy,
                self._stock,
                Orders(
                    wish=wish,
                    kind=self.kind,
                    home=family_of(home, self.kind),
                    rungs=rungs[first : first + 1] if bounds.strict else rungs[first:],
                    declared=self._declared,
                    name=watch.name,
                    picture=None if start is None else start.path,
                    output_dir=bounds.output_dir,
                    until=until,
                    strict=bounds.strict,
                    began=watch.meter.begin,
                ),
            )
            arrival = await self._judged(climb, began)
        told = (*began_lower, *climb.falls, *arrival.plan.settled.changed)
        seconds = ambient.now() - began
        return Delivery(arrival, climb, (*told, *arrival.result.degradations), seconds)

    async def _judged(self, climb: Climb, began: float) -> Arrival:
        """Climb, and let the service's level hear how it went; wrong input counts for nobody."""
        try:
            arrival = await climb.perform()
        except ComfyUIError:
            if self._degradation is not None:
                self._degradation.observe_call(ok=False, seconds=ambient.now() - began)
            raise
        if self._degradation is not None:
            self._degradation.observe_call(ok=True, seconds=ambient.now() - began)
        return arrival

    # Ladders -----------------------------------------------------------------------------

    def _ladder(self, wish: Wish, catalogs: Mapping[str, Catalog]) -> tuple[str, tuple[Rung, ...]]:
        if self._rungs is not None:
            return self._family or self._rungs[0].family, self._rungs
        family = self._family
        if family is None:
            family = self._best_family(wish, catalogs)
        return family, ladder_of(None, family, self.kind)

    def _best_family(self, wish: Wish, catalogs: Mapping[str, Catalog]) -> str:
        """The first family some server can run at all."""
        failures: list[Failure] = []
        for family in FAMILIES[self.kind]:
            if family.endswith("-refiner"):
                continue  # a matter of taste: only where it is asked for
            found = plan_rung(
                Rung("quality", family),
                self.kind,
                wish,
                home=family,
                declared={},
                catalogs=catalogs,
            )
            if not isinstance(found, Failure):
                return family
            failures.append(found)
        nothing = impossible("any family", {})
        told = "; ".join(each.message for each in failures)
        raise Failure(
            nothing.kind, f"{nothing.message}{told}", elsewhere=True, category=nothing.category
        ).to_error()

    def _first(self, rungs: tuple[Rung, ...], *, strict: bool) -> tuple[int, tuple[str, ...]]:
        """Where on the ladder to begin, and what that takes away."""
        if self._degradation is None or strict:
            return 0, ()
        level = self._degradation.level()
        first = first_rung(level, len(rungs))
        if first == 0:
            return 0, ()
        return first, (f"begun at rung {rungs[first].name}: the service is at level {level}",)

    # Progress ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def _watching(self, bounds: Bounds) -> Iterator[_Watch]:
        self._count += 1
        name = bounds.name or f"{self.kind}_{self._count:04}"
        if name in self._watches:
            name = f"{name}_{self._count:04}"
        watch = self._watches[name] = _Watch(name, Meter(), bounds)
        try:
            yield watch
        finally:
            del self._watches[name]

    def _heard(self, event: events.Event) -> None:
        watch = self._watches.get(getattr(event, "job", ""))
        if watch is not None:
            watch.hear(event)
        if self._on_event is not None:
            self._on_event(event)


class _Watch:
    """Who listens to one job."""

    def __init__(self, name: str, meter: Meter, bounds: Bounds) -> None:
        self.name = name
        self.meter = meter
        self._bounds = bounds

    def hear(self, event: events.Event) -> None:
        """Pass on what an event says. What a listener raises is logged, and breaks nothing."""
        words = self.meter.hear(event)
        bounds = self._bounds
        try:
            if words is not None and bounds.on_progress is not None:
                bounds.on_progress(self.meter.share, words)
            if isinstance(event, events.PreviewReceived) and bounds.on_preview is not None:
                bounds.on_preview(event.image, event.image_type)
        except Exception:
            log.exception("a listener of %s failed", self.name)


def _wish(wanted: Mapping[str, Any], start: Start | None) -> Wish:
    fields = dict(wanted)
    if fields.get("seed") is None:
        # Short enough to be read out, and kept exactly by everything that reads JSON.
        fields["seed"] = int(ambient.chance() * min(MOST_SEED, 2**48))
    return Wish(**fields, picture=None if start is None else start.size)
