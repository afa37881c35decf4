"""Telling people what happens: live on a terminal, as plain lines elsewhere, as JSON on request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from holdfast.apps.account import Account
from holdfast.apps.json_lines import JsonLines, error_line
from holdfast.apps.spans import duration
from holdfast.comfyui import events
from holdfast.comfyui.failures import node_name
from holdfast.text import printable


class Asked(Protocol):
    """What was to be run, and where it goes."""

    @property
    def total(self) -> int:
        """How many jobs there are."""

    @property
    def output(self) -> Path:
        """The folder for their files."""


class Screen(Protocol):
    """Where a run is told."""

    def running(self) -> AbstractContextManager[object]:
        """The time during which jobs run."""

    def show(self, event: object) -> None:
        """Tell an event."""

    def say(self, text: str) -> None:
        """Tell something to people."""

    def warn(self, text: str) -> None:
        """Tell a problem, on standard error."""

    def account(self, account: Account, order: Asked) -> None:
        """Tell how it all ended."""


def screen_for(total: int, *, as_json: bool, live: bool | None = None) -> Screen:
    """The screen that suits where the output goes."""
    if as_json:
        return JsonLines()
    console = _LastingConsole(highlight=False)
    if live if live is not None else console.is_terminal:
        return LiveScreen(total, console)
    return PlainLines(console)


class _LastingConsole(Console):
    """Goes quiet when nobody reads any more: the pictures are worth more than the lines."""

    def on_broken_pipe(self) -> None:
        """The reader is gone; the jobs go on."""
        self.quiet = True

    def tell(self, *text: object, **settings: Any) -> None:
        """Print, or go quiet for good if that cannot be done."""
        try:
            self.print(*text, **settings)
        except OSError:
            self.quiet = True


class PlainLines:
    """One line an event, for pipes and logs."""

    def __init__(self, console: _LastingConsole) -> None:
        self._console = console
        self._began = time.monotonic()

    def running(self) -> AbstractContextManager[object]:
        """Nothing is drawn, so there is nothing to begin or to end."""
        return nullcontext()

    def show(self, event: object) -> None:
        """Tell what matters; single steps of nodes do not."""
        line = describe(event)
        if line:
            self.say(line)

    def say(self, text: str) -> None:
        """Tell something, with the seconds since the start."""
        stamp = f"[{time.monotonic() - self._began:7.1f}s] "
        self._console.tell(stamp + printable(text), markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Tell a problem, on standard error."""
        error_line(text)

    def account(self, account: Account, order: Asked) -> None:
        """Tell how it all ended."""
        print_account(self._console, account, order.total, str(order.output))


class LiveScreen(PlainLines):
    """What every job does right now, above it what happened."""

    def __init__(self, total: int, console: _LastingConsole) -> None:
        super().__init__(console)
        self._total = total
        self._done = 0
        self._failed = 0
        self._jobs: dict[str, dict[str, Any]] = {}
        self._live = Live(console=console, refresh_per_second=8, get_renderable=self._picture)

    def running(self) -> AbstractContextManager[object]:
        """Draw, until the jobs are done."""
        return self._live

    def show(self, event: object) -> None:
        """Update the picture; what went wrong also stays as a line."""
        match event:
            case events.AttemptStarted(job=job, server=server, number=number):
                self._jobs[job] = {"server": server, "attempt": number, "node": "", "part": None}
            case events.NodeStarted(job=job) if job in self._jobs:
                node = node_name(event.node_id, event.node_type)
                self._jobs[job].update(node=node, part=None)
            case events.NodeStepped(job=job) if job in self._jobs:
                self._jobs[job].update(part=(event.value, event.maximum))
            case events.JobDelivered(job=job):
                self._jobs.pop(job, None)
                self._done += 1
                return
            case events.JobFailed(job=job):
                self._jobs.pop(job, None)
                self._failed += 1
            case events.AttemptFailed(job=job):
                self._jobs.pop(job, None)
        if isinstance(event, _LASTING):
            super().show(event)

    def _picture(self) -> Group:
        table = Table(box=None, padding=(0, 1), show_edge=False)
        for title in ("job", "server", "try", "node", "", ""):
            table.add_column(title, style="dim" if title in ("server", "try") else "")
        for job, state in self._jobs.items():
            value, maximum = state["part"] or (0, 0)
            bar = ProgressBar(total=maximum, completed=value, width=20) if maximum else Text("")
            steps = f"{value:g}/{maximum:g}" if maximum else ""
            table.add_row(
                escape(printable(job)),
                escape(state["server"].partition("://")[2]),
                str(state["attempt"]),
                escape(printable(state["node"])),
                bar,
                steps,
            )
        finished = self._done + self._failed
        rate = finished / max(1e-6, time.monotonic() - self._began)
        left = (self._total - finished) / rate if finished else None
        estimate = f", about {duration(left)} left" if left else ""
        failed = f", {self._failed} failed" if self._failed else ""
        total = Table.grid(padding=(0, 1))
        total.add_row(
            ProgressBar(total=self._total, completed=finished, width=40),
            f"{self._done} of {self._total} delivered{failed}{estimate}",
        )
        return Group(table, total)


_LASTING = (
    events.AttemptFailed
    | events.ServerDown
    | events.ServerUp
    | events.ServerEjected
    | events.ServerAdded
    | events.ServerRemoved
    | events.HedgeStarted
    | events.HedgeEnded
    | events.ServerRestarting
    | events.ServerRestarted
    | events.ServerNotRestarted
    | events.Withdrawn
)
"""What stays on a live screen as a line."""


def describe(event: object) -> str:  # noqa: C901, PLR0911, PLR0912 - a table in code
    """An event as a line for people; empty if it is not worth one."""
    match event:
        case events.AttemptStarted(number=1, joined=False):
            return f"{event.job}: sent to {event.server}"
        case events.AttemptStarted(joined=True):
            return f"{event.job}: found again on {event.server}, joined"
        case events.AttemptStarted():
            return f"{event.job}: attempt {event.number} on {event.server}"
        case events.AttemptFailed(final=True):
            return f"{event.job}: {event.failure.message} -- given up: {event.recovery}"
        case events.AttemptFailed():
            return f"{event.job}: {event.failure.message} [{event.server}] -- {event.recovery}"
        case events.JobDelivered():
            names = ", ".join(each.filename for each in event.result.files[:3])
            more = f" and {len(event.result.files) - 3} more" if len(event.result.files) > 3 else ""
            changed = ", changed" if event.result.degradations else ""
            return f"{event.job}: delivered {names}{more} ({event.result.seconds:.1f} s){changed}"
        case events.JobFailed():
            return f"{event.job}: FAILED: {event.failure.message}"
        case events.ServerDown():
            return f"{event.server}: out for now: {event.reason}"
        case events.ServerUp():
            return f"{event.server}: back"
        case events.ServerEjected():
            return f"{event.server}: left out for {event.seconds:.0f} s: {event.reason}"
        case events.ServerAdded():
            return f"{event.server}: joined"
        case events.ServerRemoved():
            return f"{event.server}: has left"
        case events.HedgeStarted():
            return (
                f"{event.job}: has run on {event.slow_server} for {event.seconds:.1f} s where "
                f"{event.usual:.1f} s are usual: started a second time on {event.server}"
            )
        case events.HedgeEnded():
            return f"{event.job}: the second run {'won' if event.won else 'was not needed'}"
        case events.ServerRestarting():
            return f"{event.server}: restarted ({event.reason}), time {event.number}"
        case events.ServerRestarted():
            return f"{event.server}: works again after its restart"
        case events.ServerNotRestarted():
            return f"{event.server}: {event.reason}"
        case events.Withdrawn():
            return f"{event.job}: {event.words} ({event.server}, prompt {event.prompt_id})"
    return ""


def print_account(console: _LastingConsole, account: Account, total: int, output: str) -> None:
    """What was delivered, what was mended and how, what failed and why, what was left where."""
    for text, style in account_lines(account, total, output):
        console.tell(Text(printable(text), style=style), soft_wrap=True)


def account_lines(account: Account, total: int, output: str) -> Iterator[tuple[str, str]]:
    """The account, line by line, with the style of each."""
    delivered = len(account.delivered)
    whole = delivered == total and not account.uncopied
    yield "", ""
    yield (
        f"{delivered} of {total} jobs delivered, {account.files} files in {output}",
        "bold green" if whole else "bold yellow",
    )
    if account.uncopied:
        yield f"Not copied there, and safe in the store: {len(account.uncopied)} jobs.", "bold red"
    for job, words in account.uncopied.items():
        yield f"  {job}: {words}", ""
    for server, count in sorted(account.by_server.items()):
        yield f"  {count:4d} by {server}", ""
    yield from _mended_lines(account)
    yield from _changed_lines(account)
    if account.failed or account.unrun:
        yield "Failed:", "bold red"
    for job, words in account.unrun.items():
        yield f"  {job}: {words}", ""
    for job, failure in account.failed.items():
        yield f"  {job}: {failure.message}", ""
    missing = total - delivered - len(account.failed) - len(account.unrun)
    if missing > 0:
        yield f"Not done: {missing} jobs were stopped or not begun.", "bold yellow"
        for job, server, words in account.withdrawn:
            yield f"  {job}: {words} on {server}", ""
    for job, server, why in account.left_behind:
        yield f"Left behind: {job} on {server}: {why}", "yellow"


def _changed_lines(account: Account) -> Iterator[tuple[str, str]]:
    if account.changed:
        yield "Changed to get a result:", "bold"
    for job, changes in account.changed.items():
        yield from ((f"  {job}: {words}", "") for words in changes)
    if account.suspects:
        yield "Suspect, look at these:", "bold yellow"
    for job, file, why in account.suspects:
        yield f"  {job}: {file}: {why}", ""


def _mended_lines(account: Account) -> Iterator[tuple[str, str]]:
    if account.mended:
        yield "Mended on the way:", "bold"
    for job, mishaps in account.mended.items():
        for mishap in mishaps:
            yield f"  {job}: {mishap.failure.message} [{mishap.server}]", ""
            yield f"      -> {mishap.recovery}", "dim"
        result = account.delivered[job]
        yield f"      -> delivered by {result.server}", "dim"
        yield from ((f"      note: {note}", "dim") for note in result.notes)
