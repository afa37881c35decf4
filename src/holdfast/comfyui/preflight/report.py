"""What a look at a workflow found: problems as data, with words and with what would be right."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from holdfast.comfyui.failures import clip, node_name


class Severity(StrEnum):
    """How much a problem matters."""

    ERROR = "error"
    """Something that was asked for will not be made."""
    WARNING = "warning"
    """It runs; perhaps not as meant."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What would be right."""

    input: str
    """The input to set on the node of the problem."""
    value: Any
    certain: bool
    """Whether it is what was meant, only written as the server takes it; else it is a guess, and
    for people to decide."""
    keeps_result: bool = True
    """Whether the server would have made the same of what was written, had it taken it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a workflow."""

    kind: str
    """The server's own name, such as ``value_not_in_list``, where it has one; else ours, such as
    ``dependency_cycle``, ``off_grid``, ``image_not_there``, ``paid``."""
    severity: Severity
    words: str
    """For people, in one line, with what would be right."""
    node_id: str | None = None
    class_type: str | None = None
    input: str | None = None
    value: Any = None
    """What is written there."""
    suggestion: Suggestion | None = None
    at_submission: bool = True
    """For an error: whether the server says so when the workflow is submitted. Otherwise it takes
    the workflow, and the node, or the whole server, fails when it comes to it."""
    near: tuple[str, ...] = ()
    """Names that may be meant, the nearest first."""
    model_folder: str | None = None
    """For a model that the server lacks: the folder it belongs in; empty if nobody knows."""
    url: str | None = None
    """For a model that the server lacks: where the workflow's author says it can be had. For a
    node class: the pack it is known from. Nothing about it is checked."""

    @property
    def is_missing_model(self) -> bool:
        """Whether a model is named that the server does not have."""
        return self.model_folder is not None and self.kind == "value_not_in_list"


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found."""

    problems: tuple[Problem, ...]
    """Errors first; within them, in the order of the workflow."""
    runs: tuple[str, ...] = ()
    """Output nodes that the server would run."""
    dropped: tuple[str, ...] = ()
    """Output nodes that it would refuse, and silently leave out if others run."""

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Why not all that was asked for will be made."""
        return tuple(each for each in self.problems if each.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What runs, perhaps not as meant."""
        return tuple(each for each in self.problems if each.severity is Severity.WARNING)

    @property
    def fine(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    @property
    def refused(self) -> bool:
        """Whether the server would refuse the workflow, or a branch of it, at submission."""
        return any(each.at_submission for each in self.errors)

    @property
    def missing_classes(self) -> tuple[str, ...]:
        """Node classes that the server does not have, each once."""
        unknown = (each.class_type for each in self.errors if each.kind == "invalid_prompt")
        return tuple(dict.fromkeys(name for name in unknown if name))

    @property
    def missing_models(self) -> tuple[Problem, ...]:
        """Models that the server does not have."""
        return tuple(each for each in self.errors if each.is_missing_model)


def called(node_id: str, class_type: str) -> str:
    """``node 4 (KSampler)``, safe to show and of bounded length."""
    return node_name(clip(node_id, 80), clip(class_type, 80))


def shown(value: Any) -> str:
    """A value as words show it: as JSON people would write it, safe and short."""
    if isinstance(value, str):
        return f"'{clip(value, 80)}'"
    try:
        return clip(repr(value), 80)
    except ValueError:
        return "a number of thousands of digits"
