"""What `holdfast workflow` tells people. Nothing in a file can move the cursor or colour it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from holdfast.comfyui.differences import Difference
from holdfast.comfyui.edit import Change
from holdfast.comfyui.failures import clip
from holdfast.comfyui.preflight import Report, Severity
from holdfast.comfyui.views import Knob, Size, WorkflowView
from holdfast.text import printable

LONGEST_PROMPT = 400
"""Characters of a prompt that are shown."""

Row = tuple[str, str, str]


def show_view(view: WorkflowView) -> None:
    """What a workflow does, section by section."""
    console = _console()
    _line(console, f"{view.name}: {view.nodes} node{'s' if view.nodes != 1 else ''}", "bold")
    _section(console, "Prompts", _prompts(view))
    _section(console, "Values", _values(view))
    _section(console, "Models", _models(view))
    _section(console, "Outputs", _outputs(view))
    sure = {True: "as the server says", False: "by its name"}
    paid = ((each.node_id, each.class_type, sure[each.certain]) for each in view.paid)
    _section(console, "Costs money", paid)
    spare = (
        (each.kind.value.replace("_", " "), f"{each.node_id} ({each.class_type})", each.words)
        for each in view.optional
    )
    _section(console, "Could go without", spare)


def show_report(report: Report) -> None:
    """Every problem in a line, and what it comes to."""
    console = _console()
    styles = {Severity.ERROR: "red", Severity.WARNING: "yellow"}
    for each in report.problems:
        line = Text(f"{each.severity.value:<8} ", style=styles[each.severity])
        console.print(line.append(_one_line(each.words), style="default"), soft_wrap=True)
    errors, warnings = len(report.errors), len(report.warnings)
    said = f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}"
    if report.runs:
        said += f"; would run: {', '.join(clip(each, 40) for each in report.runs[:20])}"
    sure = sum(1 for each in report.problems if each.suggestion and each.suggestion.certain)
    if sure:
        said += f"; {sure} can be corrected with --fix OUT"
    _line(console, said, "bold green" if report.fine else "bold red")


def show_differences(found: Iterable[Difference]) -> None:
    """One difference a line."""
    console = _console()
    lines = [each.words for each in found]
    for line in lines or ["no differences"]:
        _line(console, line)


def show_changes(changes: Iterable[Change], written: str) -> None:
    """What was corrected, and where the corrected workflow is."""
    console = _console()
    count = 0
    for change in changes:
        count += 1
        _line(console, f"changed: {change.words}", "green")
    _line(console, f"{_counted(count, 'change')}, written to {written}", "bold")


def _prompts(view: WorkflowView) -> Iterator[Row]:
    for each in view.prompts:
        text = "" if each.value is None else f"{each.value}"
        yield each.role, _where(each), _from(each, clip(text, LONGEST_PROMPT) or "(empty)")


def _values(view: WorkflowView) -> Iterator[Row]:
    for size in view.sizes:
        yield "size", _size_place(size), _size(size)
    for name, knobs in (
        ("seed", view.seeds),
        ("steps", view.steps),
        ("guidance", view.guidance),
        ("batch", view.batches),
        ("frames", view.frames),
        ("frames/s", view.fps),
    ):
        for each in knobs:
            yield name, _where(each), _from(each, clip(f"{each.value}", 80))


def _models(view: WorkflowView) -> Iterator[Row]:
    for each in view.models:
        yield each.folder or "model", _where(each), _from(each, clip(f"{each.value}", 200))


def _outputs(view: WorkflowView) -> Iterator[Row]:
    for each in view.outputs:
        what = "saves" if each.saves else "shows"
        prefix = "" if each.prefix is None else _from(each.prefix, f"{each.prefix.value}")
        yield what, f"{each.node_id} ({each.class_type})", clip(prefix, 200)


def _size(size: Size) -> str:
    said = " x ".join(
        "?" if each.value is None else clip(f"{each.value}", 20)
        for each in (size.width, size.height)
    )
    sources = dict.fromkeys(each.source for each in (size.width, size.height) if each.source)
    return f"{said}  ({'; '.join(sources)})" if sources else said


def _size_place(size: Size) -> str:
    keys = [each.key or "-" for each in (size.width, size.height)]
    return ", ".join(dict.fromkeys(keys))


def _where(knob: Knob) -> str:
    """What ``--set`` takes; of what cannot be set, the input in brackets."""
    return knob.key or f"({knob.node_id}.{knob.input})"


def _from(knob: Knob, said: str) -> str:
    if not knob.settable:
        return f"known only when it runs: {knob.source}"
    used = f"  (used by {knob.node_id}.{knob.input})"
    return said + used if knob.source else said


def _section(console: Console, title: str, rows: Iterable[Row]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for width in (18, 30, None):
        table.add_column(overflow="fold", max_width=width)
    for row in rows:
        table.add_row(*(Text(_one_line(each)) for each in (f"  {row[0]}", *row[1:])))
    if table.row_count:
        _line(console, title, "bold")
        console.print(table)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _one_line(text: str) -> str:
    indent = text[: len(text) - len(text.lstrip(" "))]
    return indent + " ".join(printable(text).split())


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(Text(_one_line(text), style=style), soft_wrap=True)


def _console() -> Console:
    return Console(highlight=False)
