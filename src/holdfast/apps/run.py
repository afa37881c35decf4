"""`holdfast run`: an order of jobs, carried out on the servers, with an account at the end."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from holdfast.apps.account import Account
from holdfast.apps.exits import Exit
from holdfast.apps.screen import Screen, screen_for
from holdfast.apps.servers import greet
from holdfast.apps.stopping import Stopping
from holdfast.comfyui import Allowed, ComfyUI, ComfyUIError, Limits, Patience, Workflow
from holdfast.comfyui.offline import OfflineJobs
from holdfast.comfyui.outputs import prepare_folder
from holdfast.comfyui.restarts import RestartHook
from holdfast.errors import BadInputError

if TYPE_CHECKING:
    from holdfast.comfyui.models import ModelManager


@dataclass(frozen=True, slots=True)
class Errand:
    """One job of an order."""

    name: str
    workflow: Workflow


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for: checked workflows, how often each, files to upload, where to."""

    workflows: tuple[Workflow, ...]
    count: int
    output: Path
    files: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        paths: Sequence[str],
        settings: Sequence[str],
        count: int,
        output: Path,
        load: Callable[[str], Workflow] = Workflow.load,
    ) -> Self:
        """Load and check everything that was given.

        Raises:
            BadInputError: naming what is wrong and what would be right.
        """
        inputs: dict[str, Any] = {}
        files: dict[str, Path] = {}
        for setting in settings:
            key, value = read_setting(setting)
            if isinstance(value, Path):
                files[key] = value
            else:
                inputs[key] = value
        workflows = []
        for path in paths:
            workflow = load(path)
            try:
                workflow = workflow.with_inputs(inputs)
                for key in files:
                    workflow.targets(key)
            except BadInputError as error:
                raise BadInputError(f"--set {error} (in {path})") from None
            workflows.append(workflow)
        return cls(tuple(workflows), count, prepare_folder(output), files)

    def errands(self) -> Iterator[Errand]:
        """The jobs, one by one; names are unique within the order."""
        taken: set[str] = set()
        for workflow in self.workflows:
            name = next(each for each in _names(workflow.name) if each not in taken)
            taken.add(name)
            for number in range(self.count):
                label = f"{name}_{number + 1:0{max(3, len(str(self.count)))}d}"
                moved = workflow.with_seeds_moved(number)
                yield Errand(name if self.count == 1 else label, moved)

    @property
    def total(self) -> int:
        """How many jobs there are."""
        return len(self.workflows) * self.count


def _names(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}-{number}" for number in itertools.count(2))


def read_setting(setting: str) -> tuple[str, Any]:
    """Read ``3.seed=5``: values are JSON where they can be, text where not, files after ``@``.

    Raises:
        BadInputError: there is no ``=`` in it, or the file does not exist.
    """
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise BadInputError(f"--set {setting!r}: write it as NODE.INPUT=VALUE, such as 3.seed=5")
    key = key.strip()
    if text.startswith("@"):
        path = Path(text[1:])
        if not path.is_file():
            raise BadInputError(f"--set {key}: there is no file {str(path)!r} to upload")
        return key, path
    try:
        return key, json.loads(text)
    except (ValueError, RecursionError):
        return key, text


def carry_out(
    order: Order,
    servers: Sequence[str],
    *,
    as_json: bool,
    idle: float,
    deadline: float | None,
    reach: float,
    wait: float,
    allowed: Allowed,
    strict: bool,
    restarts: Mapping[str, RestartHook],
    models: ModelManager | None,
    offline: Path | None,
) -> Exit:
    """Run the order to its end and give the account; returns the exit code."""
    account = Account()
    screen = screen_for(order.total, as_json=as_json)

    def listen(event: object) -> None:
        account.note(event)
        screen.show(event)

    comfy = ComfyUI(
        *servers,
        output_dir=order.output,
        patience=Patience(idle=idle),
        limits=Limits(),
        allowed=allowed,
        restarts=restarts,
        models=models,
        reach_seconds=reach,
        on_event=listen,
    )
    return asyncio.run(
        _carry_out(
            order,
            comfy,
            screen,
            account,
            deadline=deadline,
            wait=wait,
            strict=strict,
            offline=offline,
        )
    )


async def _carry_out(
    order: Order,
    comfy: ComfyUI,
    screen: Screen,
    account: Account,
    *,
    deadline: float | None,
    wait: float,
    strict: bool,
    offline: Path | None,
) -> Exit:
    later = None if offline is None else OfflineJobs(comfy, offline)
    stopping = Stopping(
        lambda: screen.say("stopping: taking our own jobs back from the servers ...")
    )
    reached, trouble = True, None
    with stopping:
        async with comfy:
            reached = await _any_server(comfy, screen, wait=wait)
            if later is not None:
                await _catch_up_or_put_off(
                    order, later, screen, account, reached=reached, deadline=deadline, strict=strict
                )
            if reached:
                _warn_of_copies(order, screen)
                with screen.running():
                    trouble = await work_through(
                        order, comfy, deadline=deadline, strict=strict, later=later
                    )
    if not reached:
        return Exit.NO_SERVER
    account.left_behind = comfy.left_behind
    screen.account(account, order)
    if stopping.asked:
        return Exit.INTERRUPTED
    if trouble is not None:
        raise trouble
    return Exit.OK if len(account.delivered) == order.total else Exit.SOME_FAILED


async def _catch_up_or_put_off(
    order: Order,
    later: OfflineJobs,
    screen: Screen,
    account: Account,
    *,
    reached: bool,
    deadline: float | None,
    strict: bool,
) -> None:
    if not reached:
        for errand in order.errands():
            later.put_off(
                errand.workflow,
                name=errand.name,
                files=order.files,
                output_dir=order.output,
                deadline=deadline,
                strict=strict,
            )
        screen.warn(f"no server: {len(later)} jobs are put off; the next run with them does them")
    elif len(later):
        screen.say(f"{len(later)} jobs were put off earlier; they come first")
        came = await later.catch_up()
        screen.say(
            f"of what was put off, {len(came.delivered)} delivered, {came.left} left, "
            f"{came.dead} given up{f': {came.stopped_by}' if came.stopped_by else ''}"
        )
        account.begin_anew()


async def _any_server(comfy: ComfyUI, screen: Screen, *, wait: float) -> bool:
    greetings = await greet(comfy, wait=wait)
    for each in greetings:
        if each.problem is not None:
            screen.warn(each.problem)
    return any(each.problem is None for each in greetings)


def _warn_of_copies(order: Order, screen: Screen) -> None:
    for workflow in order.workflows:
        if order.count > 1 and not workflow.seeds():
            screen.warn(
                f"{workflow.name}: no seed stands in it as a plain number, so all "
                f"{order.count} runs make the same"
            )


async def work_through(
    order: Order,
    comfy: ComfyUI,
    *,
    deadline: float | None,
    strict: bool = False,
    later: OfflineJobs | None = None,
) -> BadInputError | None:
    """Run all errands, a few more at a time than there are servers, so that none stands idle.

    Returns what went wrong on this side, such as a full disk under the output folder: then no
    further errand is begun.
    """
    errands = order.errands()
    troubles: list[BadInputError] = []

    async def worker() -> None:
        for errand in errands:
            if troubles:
                return
            try:
                await (comfy if later is None else later).run(
                    errand.workflow,
                    name=errand.name,
                    files=order.files,
                    deadline=deadline,
                    strict=strict,
                    output_dir=order.output,
                )
            except ComfyUIError:
                continue  # the account has it from the events
            except BadInputError as error:
                troubles.append(error)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(order.total, 2 * len(comfy.servers) + 1)):
            group.create_task(worker())
    return troubles[0] if troubles else None
