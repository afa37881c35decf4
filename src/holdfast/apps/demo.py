"""`holdfast demo`: three servers, every fault there is, and all pictures at the end.

Three stand-in servers run as processes of their own. Between them every fault
of the script strikes at least once, one server is killed with SIGKILL and one
is stopped with SIGSTOP, while three workflows are run over and over. The
account at the end is made from what was observed: the servers' own record of
the faults, and the client's record of its attempts.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import resources
from pathlib import Path

import aiohttp

from holdfast.apps.account import Account
from holdfast.apps.contact_sheet import contact_sheet
from holdfast.apps.crew import Machine, Strike
from holdfast.apps.demo_record import Record, mended
from holdfast.apps.demo_script import ALPHA, BETA, BY_THE_DEMO, GAMMA, WORDS
from holdfast.apps.exits import Exit
from holdfast.apps.screen import Screen, screen_for
from holdfast.comfyui import (
    Allowed,
    ComfyUI,
    ComfyUIError,
    Limits,
    Patience,
    RestartLimits,
    Workflow,
)
from holdfast.comfyui.outliers import Ejection
from holdfast.comfyui.outputs import prepare_folder
from holdfast.comfyui.standin.faults import KINDS, STANDING
from holdfast.errors import BadInputError

JOBS = 30
MORE_JOBS = 18
"""Extra jobs at the most, if after `JOBS` a fault has not struck yet."""
SECONDS = 85.0
"""The whole show is over by then, well or not."""
PATIENCE = Patience(idle=3.0, queued=20.0, ask=0.5, deaf=0.6, unanswered=2.0, absent=0.4)
"""Short, because the demo's jobs take a second; the defaults suit real ones."""


def show(output: Path, *, seed: int) -> Exit:
    """Run the show; returns the exit code."""
    folder = prepare_folder(output)
    return asyncio.run(_show(folder, seed=seed))


def workflows() -> list[Workflow]:
    """The three workflows of the demo, as exported from ComfyUI in API format."""
    files = resources.files("holdfast.apps") / "workflows"
    return [
        Workflow.parse((files / f"{name}.json").read_bytes(), name=name, source=name)
        for name in ("portrait", "landscape", "clip")
    ]


async def _show(folder: Path, *, seed: int) -> Exit:
    run = folder / time.strftime("run-%Y%m%d-%H%M%S")
    pictures = prepare_folder(run / "pictures")
    machines = [
        Machine("alpha", run / "servers" / "alpha", ALPHA),
        Machine("beta", run / "servers" / "beta", BETA),
        Machine("gamma", run / "servers" / "gamma", GAMMA, ("--vram", "12")),
    ]
    account, record = Account(), Record()
    screen = screen_for(JOBS, as_json=False)
    began = time.monotonic()

    def listen(event: object) -> None:
        account.note(event)
        record.note(event)
        screen.show(event)

    async with aiohttp.ClientSession() as session:
        try:
            async with asyncio.timeout(SECONDS / 2):
                await asyncio.gather(*(begin(each, screen) for each in machines))
            show = Show(machines, session, screen, record, seed=seed)
            async with ComfyUI(
                *(each.url for each in machines),
                output_dir=pictures,
                patience=PATIENCE,
                call_seconds=2.0,
                canary_seconds=2.0,
                # One job may meet a dozen faults here; real servers are not so inventive.
                limits=Limits(node_attempts=40, deaths=40),
                allowed=Allowed(reseeds=3),
                # Gamma is stopped and goes on by itself; the other two have nobody to mend them.
                restarts={each.url: show.restart for each in machines[:2]},
                restart_limits=RestartLimits(grace=20.0, grace_ill=1.0, boot=20.0, most=5),
                # Each server is to meet all its faults, however many more than its peers it has.
                ejection=Ejection(share=0.0),
                reach_seconds=40.0,
                on_event=listen,
            ) as comfy:
                with screen.running(), contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SECONDS), show.operator(account):
                        await show.run(comfy)
        finally:
            for each in machines:
                each.thaw()
                each.kill()
    seconds = time.monotonic() - began
    for each in machines:
        shutil.rmtree(each.folder / "temp", ignore_errors=True)
    return await asyncio.to_thread(_tell, show, account, record, pictures, seconds)


class Show:
    """The jobs, and the operator who kills, freezes and repairs servers meanwhile."""

    def __init__(
        self,
        machines: list[Machine],
        session: aiohttp.ClientSession,
        screen: Screen,
        record: Record,
        *,
        seed: int,
    ) -> None:
        self.machines = machines
        self._record = record
        self.asked = 0
        self.meddled = False
        """Whether somebody else killed one of our servers: then not every fault can be shown."""
        self.done: list[Strike] = []
        """What the operator did, as strikes."""
        self._session = session
        self._screen = screen
        self._seed = seed

    @property
    def strikes(self) -> list[Strike]:
        """Every fault that struck, the operator's included, in order of time."""
        found = [strike for each in self.machines for strike in each.strikes]
        return sorted([*found, *self.done], key=lambda strike: strike.at)

    @property
    def missing(self) -> set[str]:
        """Faults that have not struck yet; what a server lacks strikes when a job needs it."""
        met = {
            strike.kind
            for strike in self.strikes
            if strike.kind not in STANDING or self._record.met(strike) is not None
        }
        return (set(KINDS) | set(BY_THE_DEMO)) - met

    async def run(self, comfy: ComfyUI) -> None:
        """Run the jobs, and some more if a fault has not struck yet."""
        jobs = self._jobs()

        async def worker() -> None:
            for name, workflow in jobs:
                with contextlib.suppress(ComfyUIError):
                    await comfy.run(workflow, name=name)

        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(worker())

    def _jobs(self) -> Iterator[tuple[str, Workflow]]:
        kinds = workflows()
        while self.asked < JOBS or (self.missing and self.asked < JOBS + MORE_JOBS):
            workflow = kinds[self.asked % len(kinds)]
            self.asked += 1
            moved = workflow.with_seeds_moved(self._seed * 1000 + self.asked)
            yield f"{workflow.name}_{self.asked:02d}", moved

    @contextlib.asynccontextmanager
    async def operator(self, account: Account) -> AsyncIterator[None]:
        """Kill and freeze at the right moments, and restart what is dead."""
        tasks = [asyncio.create_task(self._torment(account))]
        tasks += [asyncio.create_task(self._tend(each)) for each in self.machines]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for each in self.machines:
                each.thaw()
                await each.look(self._session)

    async def _torment(self, account: Account) -> None:
        _alpha, beta, gamma = self.machines
        await _until(lambda: len(account.delivered) >= JOBS // 3)
        self._note(beta, "SIGKILL")
        beta.kill()
        await _until(lambda: len(account.delivered) >= JOBS * 6 // 10)
        self._note(gamma, "SIGSTOP")
        gamma.freeze()
        await asyncio.sleep(6.0)
        self._screen.say(f"operator: server {gamma.name} goes on (SIGCONT)")
        gamma.thaw()

    def _note(self, machine: Machine, kind: str) -> None:
        self._screen.say(f"operator: {kind} to server {machine.name} (pid {machine.process_id})")
        where = f"process {machine.process_id}"
        self.done.append(Strike(machine.url, kind, where, time.monotonic()))

    async def restart(self, server: str, reason: str) -> None:
        """What Holdfast may do to a server that does not mend itself: end it, to begin anew."""
        for machine in self.machines:
            if machine.url == server:
                await machine.look(self._session)
                self._screen.say(f"operator: asked to restart {machine.name}: {reason}")
                machine.kill()

    async def _tend(self, machine: Machine) -> None:
        """Whoever runs the machine: a process that has ended is started again."""
        while True:
            await asyncio.sleep(0.2)
            await machine.look(self._session)
            if not machine.running:
                self.meddled = self.meddled or not machine.killed
                await asyncio.sleep(1.5)
                await begin(machine, self._screen)


async def begin(machine: Machine, screen: Screen) -> None:
    """Start a machine, again and again if somebody kills it before it answers."""
    again = " again" if machine.port else ""
    while True:
        try:
            await machine.start()
        except (BadInputError, TimeoutError, OSError):
            machine.kill()
            await asyncio.sleep(0.5)
        else:
            where = f"{machine.url}{again}, process {machine.process_id}"
            screen.say(f"operator: server {machine.name} runs at {where}")
            return


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
        await asyncio.sleep(0.1)


def _tell(show: Show, account: Account, record: Record, pictures: Path, seconds: float) -> Exit:
    names = {each.url: each.name for each in show.machines}
    out = sys.stdout
    out.write("\nWhat went wrong, and what was done about it\n")
    told: set[tuple[str, str]] = set()
    for strike in show.strikes:
        unmet = strike.kind in STANDING and record.met(strike) is None
        if (strike.kind, strike.server) in told or unmet:
            continue
        told.add((strike.kind, strike.server))
        out.write(f"  {strike.kind} on {names[strike.server]} ({strike.where}): ")
        out.write(f"{WORDS.get(strike.kind, strike.kind)}\n")
        out.write(f"      {mended(strike.kind, record.met(strike), account, names)}\n")
    lost = show.asked - len(account.delivered)
    files = sorted(path for path in pictures.iterdir() if path.suffix != ".part")
    out.write(f"\n{len(account.delivered)} of {show.asked} jobs delivered in {seconds:.0f} s, ")
    out.write(f"{len(files)} pictures in {pictures}\n")
    for server, count in sorted(account.by_server.items()):
        out.write(f"  {count:3d} by {names.get(server, server)}\n")
    retried = sum(len(found) for found in account.mended.values())
    out.write(f"  {retried} failed attempts were mended, {lost} jobs lost\n")
    sheet = contact_sheet(account, pictures.parent / "contact-sheet.png")
    if sheet is not None:
        out.write(f"contact sheet: {sheet}\n")
    for job, failure in account.failed.items():
        out.write(f"LOST: {job}: {failure.message}\n")
    if show.missing:
        out.write(f"NOT SHOWN: these faults did not strike: {', '.join(sorted(show.missing))}\n")
    out.flush()
    complete = (
        not lost and (show.meddled or not show.missing) and len(files) == len(account.delivered)
    )
    return Exit.OK if complete else Exit.SOME_FAILED
