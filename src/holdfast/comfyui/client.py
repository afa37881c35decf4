"""`ComfyUI`: give it a workflow and some servers, get the files.

Each job goes to one server at a time. What fails is tried again as `plan`
says: on the same server where its node cache helps, on another where it does
not, and never before `/queue` and `/history` were asked what became of the
last attempt.
"""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from holdfast.comfyui import events
from holdfast.comfyui.address import Address
from holdfast.comfyui.allowed import Allowed
from holdfast.comfyui.diary import Diary, Entry
from holdfast.comfyui.failures import ComfyUIError, PoisonedJobError
from holdfast.comfyui.fleet import Fleet
from holdfast.comfyui.hedging import Escort, Paid
from holdfast.comfyui.job import Job
from holdfast.comfyui.knowledge import Knowledge
from holdfast.comfyui.outliers import Ejection
from holdfast.comfyui.outputs import prepare_folder, safe_name
from holdfast.comfyui.plan import Again, Limits
from holdfast.comfyui.rejoin import find_again
from holdfast.comfyui.repair import Repair
from holdfast.comfyui.restart_watch import RestartLimits
from holdfast.comfyui.restarts import Restarter, RestartHook
from holdfast.comfyui.result import RunResult
from holdfast.comfyui.roster import status_of
from holdfast.comfyui.server import Server
from holdfast.comfyui.status import ServerStatus
from holdfast.comfyui.verdict import Patience
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError
from holdfast.policies import checks
from holdfast.policies.breaker import CircuitBreaker

if TYPE_CHECKING:
    from holdfast.comfyui.models import ModelManager
    from holdfast.comfyui.supplies import Supplies

log = logging.getLogger(__name__)


class ComfyUI:
    """A client for one ComfyUI server or many. Use as ``async with ComfyUI(url, ...) as comfy``.

    Belongs to one event loop; `run` may be called from many tasks at once, and each server
    gets one job of ours at a time, unless it is allowed more.

    Args:
        urls: server addresses, such as ``http://gpu1:8188``.
        output_dir: where files go, unless `run` says otherwise; None keeps them in memory.
        patience: how long to wait for what.
        limits: how much to try before giving up.
        allowed: what may be changed in a workflow to get a result, and how far.
        reach_seconds: how long all servers may be unreachable before a job fails.
        call_seconds: how long a small HTTP call may take.
        canary_seconds: how long an idle server may take for the tiny graph that shows it works.
        jobs_per_server: how many jobs of ours a server may have at a time; ComfyUI runs one and
            lets the others wait, and it never refuses one.
        hedge: start a job a second time, on another server, when it has run so many times as
            long as such jobs do; None for never. Jobs with paid nodes are never started twice.
        ejection: when a server is left out because its results are far off its peers'.
        warm_up: run on a server that was added or has come back, before it gets jobs.
        previews: ask the servers for pictures of work in progress.
        models: fetches models that no server has, and mends damaged ones, while a job waits.
        restarts: how servers may be restarted, by address: a `RestartCommand`, `systemd_unit`,
            `container`, or a function of (server, reason). Others never are.
        restart_limits: how long a server may be down before it is restarted, and how often.
        on_event: called with every `events.Event`.

    Raises:
        BadInputError: no address, or one that is none; the message says which.
    """

    def __init__(
        self,
        *urls: str,
        output_dir: str | Path | None = None,
        patience: Patience | None = None,
        limits: Limits | None = None,
        allowed: Allowed | None = None,
        reach_seconds: float = 120.0,
        call_seconds: float = 10.0,
        canary_seconds: float = 5.0,
        jobs_per_server: int = 1,
        hedge: float | None = None,
        ejection: Ejection | None = None,
        warm_up: Workflow | None = None,
        previews: bool = False,
        models: ModelManager | None = None,
        restarts: Mapping[str, RestartHook] | None = None,
        restart_limits: RestartLimits | None = None,
        on_event: Callable[[events.Event], None] | None = None,
    ) -> None:
        if not urls:
            raise BadInputError("no server given; name at least one, like http://127.0.0.1:8188")
        given = [Address.parse(url) for url in urls]
        self._addresses = list({each.url: each for each in given}.values())
        self._output_dir = output_dir
        self._patience = patience or Patience()
        self._limits = limits or Limits()
        self._allowed = allowed or Allowed()
        self._knowledge = Knowledge()
        self._models = models
        self._reach_seconds = reach_seconds
        self._call_seconds = call_seconds
        self._canary_seconds = canary_seconds
        checks.whole("jobs_per_server", jobs_per_server, at_least=1)
        self._jobs_per_server = jobs_per_server
        self._hedge = _hedging(hedge)
        self._ejection = ejection
        self._warm_up = warm_up
        self._paid = Paid()
        self._previews = previews
        self._listeners = [on_event] if on_event is not None else []
        self._restarts = self._known_restarts(restarts or {})
        self._restart_limits = restart_limits or RestartLimits()
        if self._restarts:
            # While a server boots, jobs wait for it.
            boot = self._restart_limits.grace + self._restart_limits.boot
            self._reach_seconds = max(reach_seconds, boot)
        self._restarter: Restarter | None = None
        self._session: aiohttp.ClientSession | None = None
        self._fleet: Fleet | None = None
        self.left_behind: list[tuple[str, str, str]] = []
        """After leaving: what may still run on a server, as (job, server, why)."""

    async def __aenter__(self) -> Self:
        """Open the connections' pool; no server is contacted yet."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._call_seconds),
            # Never a proxy from the environment, never cookies: servers are addressed directly.
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._fleet = Fleet(
            [self._server(address, self._session) for address in self._addresses],
            self._emit,
            reach_seconds=self._reach_seconds,
            canary_seconds=self._canary_seconds,
            patience_seconds=self._patience.queued,
            capacity=self._jobs_per_server,
            ejection=self._ejection,
            warm_up=self._warm_up,
        )
        if self._restarts:
            self._restarter = Restarter(
                self._restarts, self._restart_limits, self._emit, self._is_ill
            )
            self._listeners.insert(0, self._restarter.note)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take back what was left on servers, as far as they answer, and close."""
        fleet, session = self._ready()
        if self._restarter is not None:
            self._listeners.remove(self._restarter.note)
            await self._restarter.close()
        try:
            left = await fleet.close(seconds=3.0)
            self.left_behind = [(job, server, str(became)) for job, server, became in left]
        finally:
            await session.close()

    @property
    def servers(self) -> list[Server]:
        """The servers, for calls of your own."""
        return [place.server for place in self._ready()[0].places]

    @property
    def capacity(self) -> int:
        """How many jobs of ours the servers may have at a time, all together."""
        return sum(place.capacity for place in self._ready()[0].places)

    @property
    def breakers(self) -> dict[str, CircuitBreaker]:
        """The servers' circuit breakers, by the servers' names."""
        return {place.name: place.breaker for place in self._ready()[0].places}

    async def take_back(self, entries: Sequence[Entry], name: str = "") -> None:
        """Take back from the servers what a diary holds of a job that is wanted no more."""
        fleet, session = self._ready()
        await find_again(
            [replace(each, changed=True) for each in entries],
            fleet.places,
            lambda address: self._server(address, session),
            job_key="",
            job_name=name,
            seconds=self._call_seconds,
        )

    def listen(self, listener: Callable[[events.Event], None]) -> Callable[[], None]:
        """Have a function called with every event from now on; what comes back ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def status(self) -> tuple[ServerStatus, ...]:
        """How each server stands, in the order they were given and added."""
        fleet, _session = self._ready()
        return tuple(status_of(place, fleet.speeds, fleet.health) for place in fleet.places)

    async def add_server(self, url: str) -> None:
        """Take a server into the pool; it gets jobs as soon as it has answered.

        Raises:
            BadInputError: this is no address, or the server is in the pool already.
        """
        fleet, session = self._ready()
        fleet.add(self._server(Address.parse(url), session))

    async def remove_server(self, url: str, *, drain: bool = True) -> None:
        """Take a server out of the pool; it gets no more jobs from now on.

        Args:
            url: its address.
            drain: let it finish the job it has; else that is taken back, and goes elsewhere.

        Raises:
            BadInputError: there is no such server in the pool, or it is the last one.
        """
        fleet, _session = self._ready()
        await fleet.remove(Address.parse(url).shown, drain=drain)

    async def run(
        self,
        workflow: Workflow,
        *,
        inputs: Mapping[str, Any] | None = None,
        files: Mapping[str, str | Path] | None = None,
        suffixes: Mapping[str, str] | None = None,
        name: str | None = None,
        output_dir: str | Path | None = None,
        deadline: float | None = None,
        prompt_id: str | None = None,
        allowed: Allowed | None = None,
        strict: bool = False,
        hedge: float | None = None,
        diary: Diary | None = None,
        earlier: Sequence[Entry] = (),
        extra_data: Mapping[str, Any] | None = None,
        targets: Sequence[str] = (),
        temps: bool = False,
    ) -> RunResult:
        """Make what the workflow makes, whatever the servers do.

        Args:
            workflow: what to run.
            inputs: input values to replace, as in `Workflow.with_inputs`.
            files: local files to upload to whichever server runs it: ``{"3.image": "a.png"}``.
            suffixes: how names end on the servers, by the local name, where that ends otherwise.
            name: what to call the job and its files; the workflow's name by default.
            output_dir: where the files go; None: as given to the constructor.
            deadline: seconds for everything, waiting and retries included.
            prompt_id: our own id for the job, kept over retries; a new UUID by default.
            allowed: what may be changed in the workflow; None: as given to the constructor.
            strict: change nothing but what keeps the result.
            hedge: as for the constructor, whose setting None stands for; `math.inf` for never.
            diary: told of each submission before it is sent, so that a run that is killed can
                be found again.
            earlier: what such a diary holds of this job: what of it still runs, or has ended, is
                joined instead of being run again.
            extra_data: what the servers are to keep with the job, and to write into its files.
            targets: the output nodes that are wanted; all if empty.
            temps: bring pictures home too that are only shown, not saved.

        Returns:
            The files, all of them fetched and checked, with every attempt it took.

        Raises:
            BadInputError: an input, a file or the output folder is wrong.
            PoisonedJobError: server after server died under this workflow, now or before.
            ComfyUIError: it could not be made; the subclass says how it ended, and the error
                carries category, node, server and attempts.
        """
        fleet, _session = self._ready()
        turn = fleet.next_turn()  # before anything is awaited: what was asked first comes first
        workflow = workflow.with_inputs(inputs or {})
        held = self._knowledge.quarantine.reason(workflow.graph)
        if held is not None:
            raise held.to_error()
        label = name or workflow.name
        folder, uploads = await asyncio.to_thread(
            _places, self._output_dir if output_dir is None else output_dir, workflow, files or {}
        )
        job = Job(
            label,
            workflow,
            prompt_id or str(uuid.uuid4()),
            folder,
            safe_name(label),
            uploads,
            suffixes=dict(suffixes or {}),
            extra_data=dict(extra_data or {}),
            targets=tuple(targets),
            temps=temps,
            diary=diary,
        )
        step = await self._back_to(job, earlier) if earlier else None
        escort = Escort(
            job,
            fleet,
            turn,
            repair=Repair(
                job,
                self._knowledge,
                lambda: self.servers,
                self._allowed if allowed is None else allowed,
                strict=strict,
                supplies=self._supplies(workflow),
            ),
            hedge=self._hedge if hedge is None else _hedging(hedge),
            paid=self._paid,
            limits=self._limits,
            patience=self._patience,
            emit=self._emit,
            previews=self._previews,
            deadline=deadline,
            step=step,
        )
        self._emit(events.JobStarted(job.name))
        try:
            result = await escort.run()
        except ComfyUIError as error:
            if isinstance(error, PoisonedJobError):
                self._knowledge.quarantine.add(workflow.graph, error.failure)
            self._emit(events.JobFailed(job.name, error.failure))
            raise
        self._emit(events.JobDelivered(job.name, result))
        return result

    def release(self, workflow: Workflow) -> bool:
        """Let a workflow run again that was quarantined as poison; whether it was."""
        return self._knowledge.quarantine.release(workflow.graph)

    # Preparing --------------------------------------------------------------------------

    async def _back_to(self, job: Job, earlier: Sequence[Entry]) -> Again | None:
        """Begin where an earlier process left a submission, if it is still there."""
        fleet, session = self._ready()
        name = await find_again(
            earlier,
            fleet.places,
            lambda address: self._server(address, session),
            job_key=job.key,
            job_name=job.name,
            seconds=self._patience.unanswered,
        )
        if name is None:
            return None
        others = frozenset(fleet.names) - {name}
        return Again("found again", avoid=others, wait=self._patience.queued, prefer=name)

    def _supplies(self, workflow: Workflow) -> Supplies | None:
        if self._models is None:
            return None
        from holdfast.comfyui.supplies import Supplies  # noqa: PLC0415 - few clients fetch models

        return Supplies(self._models, workflow.models_hinted)

    def _known_restarts(self, given: Mapping[str, RestartHook]) -> dict[str, RestartHook]:
        known = {each.url: each.shown for each in self._addresses}
        found: dict[str, RestartHook] = {}
        for url, hook in given.items():
            address = Address.parse(url)
            if address.url not in known:
                raise BadInputError(
                    f"restarts names {address.shown}, which is none of the servers given: "
                    f"{', '.join(known.values())}"
                )
            found[address.shown] = hook
        return found

    def _is_ill(self, name: str) -> bool:
        fleet, _session = self._ready()
        return any(place.suspect for place in fleet.places if place.name == name)

    def _server(self, address: Address, session: aiohttp.ClientSession) -> Server:
        return Server(address, session, call_seconds=self._call_seconds)

    def _ready(self) -> tuple[Fleet, aiohttp.ClientSession]:
        if self._fleet is None or self._session is None:
            raise RuntimeError("use ComfyUI as a context: async with ComfyUI(...) as comfy")
        return self._fleet, self._session

    def _emit(self, event: events.Event) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                log.exception("a listener failed on %s", type(event).__name__)


def _hedging(factor: float | None) -> float | None:
    if factor is None or factor == math.inf:
        return None
    checks.number("hedge", factor, at_least=1)
    return factor


def _places(
    folder: str | Path | None, workflow: Workflow, files: Mapping[str, str | Path]
) -> tuple[Path | None, dict[tuple[str, str], Path]]:
    """Where the job's files go, and where those it loads are."""
    chosen = None if folder is None else prepare_folder(Path(folder))
    found: dict[tuple[str, str], Path] = {}
    for key, given in files.items():
        path = Path(given)
        if not path.is_file():
            raise BadInputError(f"{key}: there is no file {str(path)!r} to upload")
        found |= dict.fromkeys(workflow.targets(key), path)
    return chosen, found
