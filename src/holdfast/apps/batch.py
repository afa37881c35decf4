"""From workflows and a sweep file to jobs in the store: accepted all together, or none."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from holdfast.apps.keeping import Kept
from holdfast.apps.run import read_setting
from holdfast.comfyui import Workflow
from holdfast.comfyui.durable import new_job
from holdfast.comfyui.durable.orders import suffix_of
from holdfast.comfyui.sweeps import Row, read
from holdfast.errors import BadInputError
from holdfast.ports import ambient
from holdfast.stores.jobs import NewJob, QueueFullError, StoredJob

MOST = 50_000
"""Jobs of one order: they are accepted in one transaction, and leases are to outlast it."""
LOADED = 100
"""Workflows that are held in memory."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for on the command line."""

    workflows: Sequence[str]
    settings: Sequence[str] = ()
    count: int = 1
    sweep: Path | None = None
    output: Path | None = None
    """Where files are copied in the end; None leaves them in the store."""
    priority: int = 0
    deadline: float | None = None
    """Seconds each job may take from now on."""
    key: str = ""
    user: str = ""
    strict: bool = False
    load: Callable[[str], Workflow] = Workflow.load


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs that were accepted together."""

    order: str
    jobs: tuple[StoredJob, ...] = field(default_factory=tuple)
    mixed: bool = False
    """Whether some of them had come with another order already, by their keys."""


def accept(kept: Kept, wishes: Wishes) -> Batch:
    """Take in everything that was asked for; when this returns, it is on the disk.

    All of it is read and checked before the first job is accepted, and read once more while
    they are, so that a great sweep is never in memory as a whole.

    Raises:
        BadInputError: something is wrong; nothing was accepted.
        StoreUnavailableError: the store cannot be written; nothing was accepted.
    """
    order = (
        f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(ambient.wall()))}-{secrets.token_hex(3)}"
    )
    now = ambient.wall()
    contents: dict[Path, str] = {}
    for number, _job in enumerate(_Placing(kept, wishes, order, now, contents).jobs(), 1):
        if number > MOST:
            raise BadInputError(f"more than {MOST:,} jobs: give them in several orders")
    jobs = _Placing(kept, wishes, order, now, contents).jobs()
    try:
        accepted = kept.store.accept_all(jobs).result()
    except QueueFullError as error:
        raise BadInputError(f"{error}; nothing was accepted") from None
    # With a key, jobs may be there already, and belong to the order they came with.
    orders = {job.order for job in accepted}
    known = orders.pop() if len(orders) == 1 else order
    return Batch(known, accepted, mixed=bool(orders))


class _Placing:
    def __init__(
        self, kept: Kept, wishes: Wishes, order: str, now: float, contents: dict[Path, str]
    ) -> None:
        self._kept = kept
        self._wishes = wishes
        self._order = order
        self._now = now
        self._loaded: dict[str, Workflow] = {}
        self._contents = contents
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def jobs(self) -> Iterator[NewJob]:
        wishes = self._wishes
        inputs: dict[str, Any] = {}
        files: dict[str, Path] = {}
        for setting in wishes.settings:
            key, value = read_setting(setting)
            if isinstance(value, Path):
                files[key] = value
            else:
                inputs[key] = value
        rows: Iterator[Row | None] = iter([None])
        if wishes.sweep is not None:
            rows = iter(read(wishes.sweep))
        for row in rows:
            for path in self._paths(row):
                yield from self._runs(path, row, inputs, files)

    def _paths(self, row: Row | None) -> Sequence[str]:
        if row is not None and row.workflow is not None:
            return [str(row.workflow)]
        if not self._wishes.workflows:
            where = "" if row is None else f"{self._wishes.sweep}: line {row.line}: "
            raise BadInputError(f"{where}no workflow is given: name one, or give it in the line")
        return self._wishes.workflows

    def _runs(
        self, path: str, row: Row | None, inputs: Mapping[str, Any], files: Mapping[str, Path]
    ) -> Iterator[NewJob]:
        wishes = self._wishes
        workflow = self._loaded.get(path)
        if workflow is None:
            if len(self._loaded) >= LOADED:
                self._loaded.clear()
            workflow = self._loaded[path] = wishes.load(path)
        given: dict[str, Any] = dict(inputs)
        loaded: dict[str, Path] = dict(files)
        if row is not None:
            given |= row.inputs
            loaded |= row.files
        try:
            workflow = workflow.with_inputs(given)
            for key in loaded:
                workflow.targets(key)
        except BadInputError as error:
            where = f"(in {path})"
            if row is not None:
                where = f"({wishes.sweep}: line {row.line}, for {path})"
            raise BadInputError(f"{error} {where}") from None
        count = wishes.count if row is None or row.count is None else row.count
        name = self._free(row.name if row is not None and row.name else workflow.name)
        for number in range(count):
            label = name if count == 1 else f"{name}_{number + 1:0{max(3, len(str(count)))}d}"
            job = new_job(
                workflow.with_seeds_moved(number),
                name=label,
                files={key: self._content(file) for key, file in loaded.items()},
                suffixes={self._content(each): suffix_of(each.name) for each in loaded.values()},
                strict=wishes.strict,
                export=None if wishes.output is None else wishes.output.resolve(),
                order=self._order,
                user=wishes.user,
                priority=wishes.priority if row is None or row.priority is None else row.priority,
                deadline=self._due(row),
            )
            yield replace(job, key=self._key(row, number, count, label))

    def _free(self, name: str) -> str:
        free = name
        while free in self._taken:
            # Not from the beginning each time: a sweep may have 100,000 lines without a name.
            number = self._next[name] = self._next.get(name, 1) + 1
            free = f"{name}-{number}"
        self._taken.add(free)
        return free

    def _content(self, path: Path) -> str:
        if path not in self._contents:
            try:
                self._contents[path] = self._kept.blobs.put(path.read_bytes())
            except OSError as error:
                raise BadInputError(f"cannot read {str(path)!r}: {error.strerror}") from None
        return self._contents[path]

    def _due(self, row: Row | None) -> float | None:
        if row is not None and row.due is not None:
            return row.due
        within = self._wishes.deadline if row is None or row.within is None else row.within
        return None if within is None else self._now + within

    def _key(self, row: Row | None, number: int, count: int, label: str) -> str:
        own = row.key if row is not None and row.key else ""
        if own:
            return own if count == 1 else f"{own}/{number}"
        return f"{self._wishes.key}/{label}" if self._wishes.key else ""
