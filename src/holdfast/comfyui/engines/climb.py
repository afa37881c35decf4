"""One wish's way down a ladder: rung after rung, until one of them delivers.

A rung fails when no server has what it takes, or when the run itself ends in a
way that less of everything may get around. What no rung cures (wrong input, no
server, the deadline, somebody who presses stop, servers that die of it) ends the
climb as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.client import ComfyUI
from holdfast.comfyui.engines.choosing import Choice, Declared, Lack, choose
from holdfast.comfyui.engines.ladders import Rung
from holdfast.comfyui.engines.missing import impossible, wrong_way
from holdfast.comfyui.engines.recipe import Recipe
from holdfast.comfyui.engines.recipes import recipes_of
from holdfast.comfyui.engines.settling import Settled, settle
from holdfast.comfyui.engines.stock import Stock
from holdfast.comfyui.engines.wish import Wish
from holdfast.comfyui.failures import ComfyUIError, Failure, FailureKind
from holdfast.comfyui.result import Attempt, RunResult
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError, ErrorCategory, FallbackChainExhaustedError
from holdfast.policies.chain import FallbackChain
from holdfast.policies.links import Target
from holdfast.ports import ambient

FALLS = frozenset(
    {
        FailureKind.REJECTED,
        FailureKind.OUT_OF_MEMORY,
        FailureKind.NODE_ERROR,
        FailureKind.NOTHING_MADE,
    }
)
"""Ends of a run that a lower rung may get around: too big, or too new for the servers."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What is to be made, and within which bounds."""

    wish: Wish
    kind: str
    home: str
    """The family the wish is meant for."""
    rungs: tuple[Rung, ...]
    declared: Declared
    """Model files named for the family at home."""
    name: str
    """Of the job and its files."""
    picture: Path | None
    output_dir: str | Path | None
    until: float
    """Monotonic seconds; infinity without a deadline."""
    strict: bool
    began: Callable[[Workflow], None]
    """Told each workflow before it is run."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one rung comes to with what the servers have."""

    rung: Rung
    recipe: Recipe
    settled: Settled
    choice: Choice
    fleet: int
    """How many servers were looked at."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Which files were taken, and what had no effect."""
        files = ", ".join(f"{role} {name}" for role, name in self.choice.files.items())
        have = len(self.choice.servers)
        where = "" if have == self.fleet else f" (on {have} of {self.fleet} servers)"
        return f"{self.recipe.name} with {files}{where}", *self.settled.notes


@dataclass(frozen=True, slots=True)
class Arrival:
    """A rung that delivered."""

    plan: Plan
    workflow: Workflow
    result: RunResult


def plan_rung(
    rung: Rung,
    kind: str,
    wish: Wish,
    *,
    home: str,
    declared: Declared,
    catalogs: Mapping[str, Catalog],
) -> Plan | Failure:
    """The first recipe of a rung's family that some server can run, ready to be run."""
    recipes = recipes_of(rung.family, kind)
    from_picture = wish.picture is not None
    able = [each for each in recipes if each.makes(from_picture=from_picture)]
    if not able:
        return wrong_way(rung.family, recipes, from_picture=from_picture)
    lacks: dict[str, Sequence[Lack]] = {}
    for recipe in able:
        named = declared if recipe.family == home else {}
        if not set(named) <= {role.name for role in recipe.roles}:
            continue
        settled = settle(wish, recipe, rung, home=home)
        choice = choose(recipe, settled.settings, catalogs, named)
        if isinstance(choice, Choice):
            return Plan(rung, recipe, settled, choice, len(catalogs))
        lacks[f"{recipe.name} ({recipe.roles[0].folder})"] = choice
    return impossible(rung.family, lacks)


class Climb:
    """Used once."""

    def __init__(self, comfy: ComfyUI, stock: Stock, orders: Orders) -> None:
        self._comfy = comfy
        self._stock = stock
        self._orders = orders
        self.attempts: list[Attempt] = []
        """Every try on every rung."""
        self.falls: list[str] = []
        """Each rung that failed, and why."""

    async def perform(self) -> Arrival:
        """Go down until a rung delivers.

        Raises:
            ComfyUIError: none does; `attempts` has all tries on all rungs.
            BadInputError: the wish cannot be meant so.
        """
        chain = FallbackChain(f"{self._orders.kind} ladder", stop_on=_no_rung_cures)
        for rung in self._orders.rungs:
            chain.add_fallback(functools.partial(self._try, rung), Target(name=rung.name))
        error = (outcome := await chain.outcome()).error
        if error is None:
            arrival: Arrival = outcome.unwrap()
            return arrival
        if isinstance(error, FallbackChainExhaustedError):
            error = _most_telling(error.errors)
        if isinstance(error, ComfyUIError):
            failure = error.failure
            if len(self.falls) > 1:
                words = f"{failure.message} (tried: {'; '.join(self.falls)})"
                failure = replace(failure, message=words)
            raise failure.to_error(tuple(self.attempts)) from error
        raise error

    async def _try(self, rung: Rung) -> Arrival:
        try:
            return await self._run(await self._plan(rung))
        except ComfyUIError as error:
            self._keep(error.attempts)
            self.falls.append(f"{rung.name} ({rung.family}): {error.failure.message}")
            if error.failure.kind is FailureKind.REJECTED:
                self._stock.forget()  # what was known of the servers is no longer so
            raise

    async def _plan(self, rung: Rung) -> Plan:
        orders = self._orders
        found = plan_rung(
            rung,
            orders.kind,
            orders.wish,
            home=orders.home,
            declared=orders.declared,
            catalogs=await self._stock.catalogs(self._left()),
        )
        if isinstance(found, Failure):
            raise found.to_error()
        if orders.strict and found.settled.changed:
            raise BadInputError(f"strict forbids changes: {'; '.join(found.settled.changed)}")
        return found

    async def _run(self, plan: Plan) -> Arrival:
        orders = self._orders
        workflow = plan.recipe.build(plan.choice.settings, plan.choice.files)
        orders.began(workflow)
        left = self._left()
        result = await self._comfy.run(
            workflow,
            name=orders.name,
            output_dir=orders.output_dir,
            deadline=None if left == float("inf") else left,
            files=_uploads(workflow, orders.picture),
            strict=orders.strict,
        )
        self._keep(result.attempts)
        return Arrival(plan, workflow, result)

    def _keep(self, attempts: tuple[Attempt, ...]) -> None:
        for each in attempts:
            self.attempts.append(replace(each, number=len(self.attempts) + 1))

    def _left(self) -> float:
        left = self._orders.until - ambient.now()
        if left <= 0:
            words = "the time allowed was used up before anything was delivered"
            raise Failure(FailureKind.DEADLINE, words, category=ErrorCategory.SYSTEM).to_error()
        return left


def _uploads(workflow: Workflow, picture: Path | None) -> dict[str, Path]:
    if picture is None:
        return {}
    return {
        f"{node_id}.image": picture
        for node_id, node in workflow.graph.items()
        if node["class_type"] == "LoadImage"
    }


def _no_rung_cures(error: BaseException) -> bool:
    return not (isinstance(error, ComfyUIError) and error.failure.kind in FALLS)


def _most_telling(errors: Mapping[str, BaseException]) -> Exception:
    """The last rung that was really run; where none was, the one that was asked for."""
    failures = [each for each in errors.values() if isinstance(each, ComfyUIError)]
    ran = [each for each in failures if each.attempts]
    return ran[-1] if ran else failures[0]
