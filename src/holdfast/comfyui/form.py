"""The form a job has now: the workflow as given, or what was made of it to get a result.

A job begins as one run of the workflow as it was given. Changes replace that by
another workflow, or by several runs whose files are put together again in the
order one run would have made them in. What is made already stays made: only
the runs that are still to come are changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holdfast.comfyui.edit import Change

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from holdfast.comfyui.result import OutputFile
    from holdfast.comfyui.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Part:
    """One run of the job, made or still to be made."""

    workflow: Workflow
    files: tuple[OutputFile, ...] | None = None
    """What it made; None while it is still to come."""


@dataclass(frozen=True, slots=True)
class Form:
    """A job's runs, in order, and everything that was changed to come to them."""

    parts: tuple[Part, ...]
    given: Workflow
    """As the caller gave it."""
    changes: tuple[Change, ...] = ()

    @classmethod
    def of(cls, workflow: Workflow) -> Form:
        """The workflow as it was given: one run."""
        return cls((Part(workflow),), workflow)

    @property
    def next(self) -> int:
        """Which run comes next, counted from 0; as many as there are if all are made."""
        return next(
            (index for index, part in enumerate(self.parts) if part.files is None),
            len(self.parts),
        )

    @property
    def workflow(self) -> Workflow:
        """What the next run runs; what the last one ran if all are made."""
        return self.parts[min(self.next, len(self.parts) - 1)].workflow

    @property
    def made(self) -> bool:
        """Whether all runs are made."""
        return self.next == len(self.parts)

    @property
    def begun(self) -> bool:
        """Whether something is made already."""
        return any(part.files is not None for part in self.parts)

    @property
    def names(self) -> frozenset[str]:
        """The kinds of changes that were made."""
        return frozenset(change.name for change in self.changes)

    @property
    def losses(self) -> tuple[str, ...]:
        """In words, what was changed, each once and in order."""
        return tuple(dict.fromkeys(change.words for change in self.changes))

    @property
    def coming(self) -> tuple[int, ...]:
        """The runs that are still to be made, in order."""
        return tuple(index for index, part in enumerate(self.parts) if part.files is None)

    def changed(self, runs: Mapping[int, Sequence[Workflow]], change: Change) -> Form:
        """With some of the coming runs replaced, each by one workflow or by several in order."""
        parts: list[Part] = []
        for index, part in enumerate(self.parts):
            parts += [Part(each) for each in runs[index]] if index in runs else [part]
        return Form(tuple(parts), self.given, (*self.changes, change))

    def delivered(self, files: tuple[OutputFile, ...]) -> Form:
        """With the next run made."""
        at = self.next
        done = replace(self.parts[at], files=files)
        return replace(self, parts=(*self.parts[:at], done, *self.parts[at + 1 :]))

    def unmade(self) -> Form:
        """With every run still to come."""
        return replace(self, parts=tuple(Part(part.workflow) for part in self.parts))

    @property
    def files(self) -> tuple[OutputFile, ...]:
        """All files, in the order one run would have listed them: node by node."""
        if len(self.parts) == 1:
            return self.parts[0].files or ()
        made = [file for part in self.parts for file in part.files or ()]
        nodes = {file.node_id: number for number, file in reversed(list(enumerate(made)))}
        return tuple(sorted(made, key=lambda file: nodes[file.node_id]))
