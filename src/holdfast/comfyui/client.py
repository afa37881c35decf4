"""`ComfyUI`: give it a workflow and some servers, get the files.

Each job goes to one server at a time. What fails is tried again as `plan`
says: on the same server where its node cache helps, on another where it does
not, and never before `/queue` and `/history` were asked what became of the
last attempt.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from holdfast.comfyui import events, outputs
from holdfast.comfyui.address import Address
from holdfast.comfyui.attempt import AttemptError, AttemptRun, Job
from holdfast.comfyui.failures import ComfyUIError, Failure, FailureKind
from holdfast.comfyui.fleet import Fleet
from holdfast.comfyui.plan import Again, GiveUp, Limits, next_step
from holdfast.comfyui.result import Attempt, RunResult
from holdfast.comfyui.server import Server
from holdfast.comfyui.watch import Patience
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError, ErrorCategory

log = logging.getLogger(__name__)


class ComfyUI:
    """A client for one ComfyUI server or many. Use as ``async with ComfyUI(url, ...) as comfy``.

    Belongs to one event loop; `run` may be called from many tasks at once, and each server
    gets one job of ours at a time.

    Args:
        urls: server addresses, such as ``http://gpu1:8188``.
        output_dir: where files go, unless `run` says otherwise; None keeps them in memory.
        patience: how long to wait for what.
        limits: how much to try before giving up.
        reach_seconds: how long all servers may be unreachable before a job fails.
        call_seconds: how long a small HTTP call may take.
        previews: ask the servers for pictures of work in progress.
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
        reach_seconds: float = 120.0,
        call_seconds: float = 10.0,
        canary_seconds: float = 5.0,
        previews: bool = False,
        on_event: Callable[[events.Event], None] | None = None,
    ) -> None:
        if not urls:
            raise BadInputError("no server given; name at least one, like http://127.0.0.1:8188")
        self._addresses = [Address.parse(url) for url in dict.fromkeys(urls)]
        self._output_dir = output_dir
        self._patience = patience or Patience()
        self._limits = limits or Limits()
        self._reach_seconds = reach_seconds
        self._call_seconds = call_seconds
        self._canary_seconds = canary_seconds
        self._previews = previews
        self._listeners = [on_event] if on_event is not None else []
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
        servers = [
            Server(address, self._session, call_seconds=self._call_seconds)
            for address in self._addresses
        ]
        self._fleet = Fleet(
            servers,
            self._emit,
            reach_seconds=self._reach_seconds,
            canary_seconds=self._canary_seconds,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take back what was left on servers, as far as they answer, and close."""
        fleet, session = self._ready()
        try:
            left = await fleet.withdraw_leftovers(seconds=3.0)
            self.left_behind = [(job, server, str(became)) for job, server, became in left]
        finally:
            await session.close()

    @property
    def servers(self) -> list[Server]:
        """The servers, for calls of your own."""
        return [place.server for place in self._ready()[0].places]

    async def run(
        self,
        workflow: Workflow,
        *,
        inputs: Mapping[str, Any] | None = None,
        files: Mapping[str, str | Path] | None = None,
        name: str | None = None,
        output_dir: str | Path | None = None,
        deadline: float | None = None,
        prompt_id: str | None = None,
    ) -> RunResult:
        """Make what the workflow makes, whatever the servers do.

        Args:
            workflow: what to run.
            inputs: input values to replace, as in `Workflow.with_inputs`.
            files: local files to upload to whichever server runs it: ``{"3.image": "a.png"}``.
            name: what to call the job and its files; the workflow's name by default.
            output_dir: where the files go; None: as given to the constructor.
            deadline: seconds for everything, waiting and retries included.
            prompt_id: our own id for the job, kept over retries; a new UUID by default.

        Returns:
            The files, all of them fetched and checked, with every attempt it took.

        Raises:
            BadInputError: an input, a file or the output folder is wrong.
            ComfyUIError: it could not be made; the subclass says how it ended, and the error
                carries category, node, server and attempts.
        """
        job = await self._job(workflow, inputs, files, name, output_dir, prompt_id)
        self._emit(events.JobStarted(job.name))
        attempts: list[Attempt] = []
        try:
            async with asyncio.timeout(deadline) as allowed:
                result = await self._perform(job, attempts, deadline)
        except TimeoutError:
            if not allowed.expired():
                raise
            failure = Failure(
                FailureKind.DEADLINE,
                f"not finished within {deadline:g} s{_last_words(attempts)}",
                attempts[-1].server if attempts else None,
                category=ErrorCategory.SYSTEM,
            )
            self._emit(events.JobFailed(job.name, failure))
            raise failure.to_error(tuple(attempts)) from None
        except ComfyUIError as error:
            self._emit(events.JobFailed(job.name, error.failure))
            raise
        self._emit(events.JobDelivered(job.name, result))
        return result

    # The loop over attempts -------------------------------------------------------------

    async def _perform(
        self, job: Job, attempts: list[Attempt], deadline: float | None
    ) -> RunResult:
        fleet, _ = self._ready()
        began = time.monotonic()
        failures: list[Failure] = []
        notes: list[str] = []
        step, place = Again("first attempt"), None
        try:
            while True:
                if place is None:
                    found = await fleet.acquire(
                        job.name, avoid=step.avoid, never=step.never, wait=step.wait
                    )
                    if isinstance(found, Failure):
                        raise _most_telling(failures, found).to_error(tuple(attempts))
                    place = found
                number, started = len(attempts) + 1, time.monotonic()
                run = AttemptRun(
                    place,
                    job,
                    number,
                    patience=self._patience,
                    emit=self._emit,
                    previews=self._previews,
                )
                try:
                    files = await run.perform(step.remedy)
                except AttemptError as error:
                    failure = error.failure
                else:
                    notes += run.notes
                    fleet.report(place, None)
                    attempts.append(Attempt(number, place.name, time.monotonic() - started))
                    return RunResult(
                        job.prompt_id,
                        place.name,
                        files,
                        tuple(attempts),
                        time.monotonic() - began,
                        notes=tuple(dict.fromkeys(notes)),
                    )
                notes += run.notes
                failures.append(failure)
                left = None if deadline is None else deadline - (time.monotonic() - began)
                fleet.report(place, failure)
                decided = next_step(failures, fleet.names, self._limits, random.random(), left)
                seconds = time.monotonic() - started
                attempts.append(Attempt(number, place.name, seconds, failure, decided.words))
                self._emit(
                    events.AttemptFailed(
                        job.name,
                        place.name,
                        number,
                        failure,
                        decided.words,
                        final=isinstance(decided, GiveUp),
                    )
                )
                if isinstance(decided, GiveUp):
                    raise decided.failure.to_error(tuple(attempts))
                step = decided
                if step.prefer != place.name or not fleet.is_up(place):
                    fleet.release(place)
                    place = None
        finally:
            if place is not None:
                fleet.release(place)

    # Preparing --------------------------------------------------------------------------

    async def _job(
        self,
        workflow: Workflow,
        inputs: Mapping[str, Any] | None,
        files: Mapping[str, str | Path] | None,
        name: str | None,
        output_dir: str | Path | None,
        prompt_id: str | None,
    ) -> Job:
        if inputs:
            workflow = workflow.with_inputs(inputs)
        uploads: dict[tuple[str, str], Path] = {}
        for key, given in (files or {}).items():
            path = Path(given)
            if not path.is_file():
                raise BadInputError(f"{key}: there is no file {str(path)!r} to upload")
            for target in workflow.targets(key):
                uploads[target] = path
        chosen = self._output_dir if output_dir is None else output_dir
        folder = None
        if chosen is not None:
            folder = await asyncio.to_thread(outputs.prepare_folder, Path(chosen))
        label = name or workflow.name
        return Job(
            label,
            workflow,
            prompt_id or str(uuid.uuid4()),
            folder,
            outputs.safe_name(label),
            uploads,
        )

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


def _last_words(attempts: list[Attempt]) -> str:
    failure = attempts[-1].failure if attempts else None
    return "" if failure is None else f"; the last attempt failed: {failure.message}"


def _most_telling(failures: list[Failure], last: Failure) -> Failure:
    """Of 'no server is left' and what happened before, the one that says why."""
    rejected = [each for each in failures if each.kind is FailureKind.REJECTED]
    return rejected[-1] if rejected and last.kind is not FailureKind.NOT_COMFYUI else last


