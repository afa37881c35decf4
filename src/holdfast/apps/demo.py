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
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import aiohttp

from holdfast.apps.account import Account
from holdfast.apps.contact_sheet import contact_sheet
from holdfast.apps.crew import Machine, Strike
from holdfast.apps.exits import Exit
from holdfast.apps.screen import Screen, screen_for
from holdfast.comfyui import (
    ComfyUI,
    ComfyUIError,
    Failure,
    FailureKind,
    Patience,
    Workflow,
    events,
)
from holdfast.comfyui.outputs import prepare_folder
from holdfast.comfyui.standin.faults import KINDS, STANDING, Fault

JOBS = 30
MORE_JOBS = 18
"""Extra jobs at the most, if after `JOBS` a fault has not struck yet."""
SECONDS = 85.0
"""The whole show is over by then, well or not."""
PATIENCE = Patience(idle=3.0, queued=20.0, ask=0.5, deaf=0.6, unanswered=2.0, absent=0.4)
"""Short, because the demo's jobs take a second; the defaults suit real ones."""

ALPHA = (
    Fault("lost_response", post=1),
    Fault("missing_node", node="ImageSharpen", post=2, times=6),
    Fault("raise", node="ImageBlur", times=0, message="glow pass failed: bad driver"),
    Fault("raise", job=2, node="KSampler", step=3, message="CUDA error: unspecified failure"),
    Fault("die", job=3, node="KSampler", step=4, restart=1.5),
    Fault("zombie_socket", job=4, node="KSampler", step=2),
    Fault("missing_file", job=5),
    Fault("interrupted", job=6, node="KSampler", step=5),
    Fault("dead_worker", job=7, node="KSampler"),
)
BETA = (
    Fault("missing_model", model="style.safetensors"),
    Fault("http_error", path="/prompt", status=503, retry_after=0.4, times=2),
    Fault("out_of_memory", above=500_000, times=2),
    Fault("huge_error", job=2, node="KSampler", step=2),
    Fault("stuck_reader", job=3, node="KSampler", step=2, seconds=2.0),
    Fault("truncated_file", job=4),
    Fault("block", job=5, node="VAEDecode", message="the safety checker is not ready"),
    Fault("freeze", job=6, node="KSampler", step=3, seconds=1.5),
)
GAMMA = (
    Fault("corrupt_model", model="wan2.1_t2v_1.3B_fp16.safetensors"),
    Fault("slow", path="/queue", seconds=0.3, times=6),
    Fault("empty_error", job=1, node="KSampler", step=2),
    Fault("disk_full", job=2),
)

BY_THE_DEMO = ("SIGKILL", "SIGSTOP")


@dataclass(frozen=True, slots=True)
class Try:
    """An attempt as the client saw it, with its times."""

    job: str
    server: str
    began: float
    ended: float
    failure: Failure | None = None
    recovery: str = ""


@dataclass(slots=True)
class Record:
    """Keeps the attempts' times, to tell which fault met which job."""

    tries: list[Try] = field(default_factory=list)
    _open: dict[str, tuple[str, float]] = field(default_factory=dict)

    def note(self, event: object) -> None:
        """Take an event into the record."""
        now = time.monotonic()
        match event:
            case events.AttemptStarted(job=job, server=server):
                self._open[job] = (server, now)
            case events.AttemptFailed(job=job):
                server, began = self._open.pop(job, (event.server, now - 0.1))
                self.tries.append(Try(job, server, began, now, event.failure, event.recovery))
            case events.JobDelivered(job=job) if job in self._open:
                server, began = self._open.pop(job)
                self.tries.append(Try(job, server, began, now))

    def met(self, strike: Strike) -> Try | None:
        """The attempt that a fault struck, if there was one."""
        there = [each for each in self.tries if each.server == strike.server]
        if strike.kind in STANDING:
            failed = [each for each in there if each.failure is not None]
            return next((each for each in failed if _looks_like(strike.kind, each.failure)), None)
        near = [each for each in there if each.began - 0.3 <= strike.at <= each.ended + 0.3]
        fitting = [each for each in near if _looks_like(strike.kind, each.failure)]
        within = [each for each in near if each.began <= strike.at <= each.ended]
        return min(fitting or within, key=lambda each: abs(each.began - strike.at), default=None)


LOOKS: dict[str, tuple[FailureKind | None, str]] = {
    "block": (FailureKind.NOTHING_MADE, ""),
    "corrupt_model": (FailureKind.NODE_ERROR, "model file"),
    "dead_worker": (FailureKind.STALLED, ""),
    "die": (FailureKind.SERVER_DIED, ""),
    "disk_full": (FailureKind.NODE_ERROR, "disk"),
    "empty_error": (FailureKind.NODE_ERROR, "no message"),
    "freeze": (None, ""),
    "http_error": (FailureKind.SERVER_ERROR, ""),
    "huge_error": (FailureKind.NODE_ERROR, "xxx"),
    "interrupted": (FailureKind.INTERRUPTED, ""),
    "lost_response": (None, ""),
    "missing_file": (FailureKind.OUTPUT_MISSING, ""),
    "missing_model": (FailureKind.REJECTED, "model"),
    "missing_node": (FailureKind.REJECTED, "does not exist"),
    "out_of_memory": (FailureKind.OUT_OF_MEMORY, ""),
    "raise": (FailureKind.NODE_ERROR, ""),
    "SIGKILL": (FailureKind.SERVER_DIED, ""),
    "SIGSTOP": (FailureKind.STALLED, ""),
    "slow": (None, ""),
    "stuck_reader": (None, ""),
    "truncated_file": (FailureKind.OUTPUT_DAMAGED, ""),
    "zombie_socket": (None, ""),
}
"""What an attempt comes to when a fault strikes it; None: it is delivered all the same."""


def _looks_like(kind: str, failure: Failure | None) -> bool:
    expected, word = LOOKS[kind]
    if failure is None or expected is None:
        return failure is None and expected is None
    return failure.kind is expected and word in failure.message


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
            await asyncio.gather(*(each.start() for each in machines))
            for each in machines:
                screen.say(f"server {each.name} runs at {each.url}, process {each.process_id}")
            show = Show(machines, session, screen, seed)
            async with ComfyUI(
                *(each.url for each in machines),
                output_dir=pictures,
                patience=PATIENCE,
                call_seconds=2.0,
                canary_seconds=2.0,
                reach_seconds=40.0,
                on_event=listen,
            ) as comfy:
                with screen, contextlib.suppress(TimeoutError):
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
        self, machines: list[Machine], session: aiohttp.ClientSession, screen: Screen, seed: int
    ) -> None:
        self.machines = machines
        self.asked = 0
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
        """Faults that have not struck yet."""
        return (set(KINDS) | set(BY_THE_DEMO)) - {strike.kind for strike in self.strikes}

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
        tasks += [asyncio.create_task(self._tend(each, account)) for each in self.machines]
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
        await _until(lambda: len(account.delivered) >= JOBS // 4)
        self._note(beta, "SIGKILL")
        beta.kill()
        await _until(lambda: len(account.delivered) >= JOBS // 2)
        self._note(gamma, "SIGSTOP")
        gamma.freeze()
        await asyncio.sleep(6.0)
        self._screen.say(f"operator: server {gamma.name} goes on (SIGCONT)")
        gamma.thaw()

    def _note(self, machine: Machine, kind: str) -> None:
        self._screen.say(f"operator: {kind} to server {machine.name} (pid {machine.process_id})")
        where = f"process {machine.process_id}"
        self.done.append(Strike(machine.url, kind, where, time.monotonic()))

    async def _tend(self, machine: Machine, account: Account) -> None:
        """Whoever runs the machine: restarts a dead process, and one whose worker is dead."""
        known = 0
        while True:
            await asyncio.sleep(0.2)
            await machine.look(self._session)
            stalls = sum(
                server == machine.url and "though the server answers" in reason
                for server, reason in account.outages
            )
            if machine.running and stalls > known:
                known = stalls
                self._screen.say(f"operator: the worker of {machine.name} is dead, restarting it")
                machine.kill()
            if not machine.running:
                await asyncio.sleep(1.5)
                await machine.start()
                self._screen.say(
                    f"operator: server {machine.name} runs at {machine.url} again, "
                    f"process {machine.process_id}"
                )


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
        await asyncio.sleep(0.1)


WORDS = {
    "block": "a node blocked the output, the run 'succeeded' with nothing",
    "corrupt_model": "a model file is damaged",
    "dead_worker": "the worker thread died; HTTP went on as if nothing had happened",
    "die": "the server died in mid-run and came back without its memory",
    "disk_full": "the server's disk was full",
    "empty_error": "a node failed without a word",
    "freeze": "the server stood still for 1.5 s",
    "http_error": "the server answered 503",
    "huge_error": "a node failed with a 12 MB message",
    "interrupted": "somebody else pressed stop",
    "lost_response": "the job was queued, but the answer was lost",
    "missing_file": "the server reported a file that is not there",
    "missing_model": "a model is not installed there",
    "missing_node": "a node class is not installed there",
    "out_of_memory": "the graphics memory was too small",
    "raise": "a node raised",
    "SIGKILL": "the server was killed with SIGKILL",
    "SIGSTOP": "the server was stopped with SIGSTOP for 6 s",
    "slow": "the network was slow",
    "stuck_reader": "another client's stuck socket silenced all events",
    "truncated_file": "the file was cut off on the server's disk",
    "zombie_socket": "the socket stayed open and went deaf",
}


def _tell(show: Show, account: Account, record: Record, pictures: Path, seconds: float) -> Exit:
    names = {each.url: each.name for each in show.machines}
    out = sys.stdout
    out.write("\nWhat went wrong, and what was done about it\n")
    told: set[tuple[str, str]] = set()
    for strike in show.strikes:
        if (strike.kind, strike.server) in told:
            continue
        told.add((strike.kind, strike.server))
        out.write(f"  {strike.kind} on {names[strike.server]} ({strike.where}): ")
        out.write(f"{WORDS.get(strike.kind, strike.kind)}\n")
        out.write(f"      {_mended(record.met(strike), account, names)}\n")
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
    complete = not lost and not show.missing and len(files) == len(account.delivered)
    return Exit.OK if complete else Exit.SOME_FAILED


def _mended(met: Try | None, account: Account, names: dict[str, str]) -> str:
    if met is None:
        return "no job was there at that moment"
    result = account.delivered.get(met.job)
    end = "not delivered"
    if result is not None:
        tries = len(result.attempts)
        times = "at the first attempt" if tries == 1 else f"at attempt {tries}"
        end = f"delivered by {names.get(result.server, result.server)} {times}"
    if met.failure is None:
        return f"{met.job}: did no harm; queue and history were asked; {end}"
    return f"{met.job}: {met.failure.message} -> {met.recovery} -> {end}"
