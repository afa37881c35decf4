"""`holdfast workflow`: what a workflow file does, what differs, what a server will say to it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.apps import workflow_screen as screen
from holdfast.apps.exits import Exit
from holdfast.apps.json_lines import error_line
from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.corrections import correct
from holdfast.comfyui.differences import differences
from holdfast.comfyui.page import MissingNode, MissingNodesError
from holdfast.comfyui.preflight import Report, pack_of, preflight
from holdfast.comfyui.views import view
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError


class NoServerError(Exception):
    """The server that was to be asked does not answer. The message is fit for people."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Where to learn which node classes there are."""

    server: str | None
    object_info: Path | None

    def catalog(self) -> Catalog | None:
        """What is known; None if nobody was named who knows.

        Raises:
            BadInputError: both were named, or the file is none.
            NoServerError: the server does not answer.
        """
        if self.server is not None and self.object_info is not None:
            raise BadInputError("--server and --object-info cannot be given together; give one")
        if self.object_info is not None:
            return Catalog.load(self.object_info)
        return None if self.server is None else asyncio.run(_ask(self.server))

    def must(self) -> Catalog:
        """What is known.

        Raises:
            BadInputError: as `catalog`, or nobody was named.
            NoServerError: as `catalog`.
        """
        catalog = self.catalog()
        if catalog is None:
            raise BadInputError("give --server URL or --object-info FILE: what is right depends "
                                "on the server")  # fmt: skip
        return catalog


async def _ask(url: str) -> Catalog:
    from holdfast.comfyui import ComfyUI
    from holdfast.comfyui.server import ServerCallError

    async with ComfyUI(url) as comfy:
        (server,) = comfy.servers
        try:
            answer = await server.object_info()
        except ServerCallError as error:
            raise NoServerError(str(error)) from None
        try:
            return Catalog.parse(answer, source=f"{server.name}/object_info")
        except BadInputError as error:
            raise NoServerError(str(error)) from None


def show(path: Path, knowledge: Knowledge, *, as_json: bool) -> int:
    """Tell what a workflow does."""
    try:
        catalog = knowledge.catalog()
        told = view(_load(path, catalog), catalog)
    except (MissingNodesError, NoServerError) as error:
        return _cannot(error)
    if as_json:
        _print_json(dataclasses.asdict(told))
    else:
        screen.show_view(told)
    return Exit.OK


def convert(path: Path, knowledge: Knowledge) -> int:
    """Print a workflow in API format, or name what the server lacks."""
    try:
        catalog = knowledge.catalog()
        workflow = _load(path, catalog)
    except (MissingNodesError, NoServerError) as error:
        return _cannot(error)
    missing = _missing(workflow, catalog)
    if missing:
        return _cannot(MissingNodesError(str(path), missing))
    sys.stdout.write(_dumped(workflow) + "\n")
    return Exit.OK


def diff(before: Path, after: Path, knowledge: Knowledge, *, as_json: bool) -> int:
    """Tell what differs between two workflows."""
    try:
        catalog = knowledge.catalog()
        found = differences(_load(before, catalog), _load(after, catalog))
    except (MissingNodesError, NoServerError) as error:
        return _cannot(error)
    if as_json:
        listed = [dataclasses.asdict(each) for each in found]
        _print_json({"same": not found, "differences": listed})
    else:
        screen.show_differences(found)
    return Exit.SOME_FAILED if found else Exit.OK


def check(path: Path, knowledge: Knowledge, fixed: Path | None, *, as_json: bool) -> int:
    """Find every error a server would raise, and correct what has one right answer if asked."""
    try:
        catalog = knowledge.must()
        workflow = _load(path, catalog)
    except (MissingNodesError, NoServerError) as error:
        return _cannot(error)
    if fixed is None:
        report = preflight(workflow, catalog)
        if as_json:
            _print_json(_told(report))
        else:
            screen.show_report(report)
        return _verdict(report)
    correction = correct(workflow, catalog)
    _write_new(fixed, _dumped(correction.workflow) + "\n")
    if as_json:
        changes = [dataclasses.asdict(each) for each in correction.changes]
        _print_json(_told(correction.report) | {"changes": changes, "written": str(fixed)})
    else:
        screen.show_changes(correction.changes, str(fixed))
        screen.show_report(correction.report)
    return _verdict(correction.report)


def _load(path: Path, catalog: Catalog | None) -> Workflow:
    return Workflow.load(path, object_info=catalog)


def _missing(workflow: Workflow, catalog: Catalog | None) -> list[MissingNode]:
    """What a graph in API format needs that the server lacks; the page's format was checked."""
    ids: dict[str, list[str]] = {}
    for node_id, node in workflow.graph.items():
        if catalog is not None and node["class_type"] not in catalog:
            ids.setdefault(node["class_type"], []).append(node_id)
    return [MissingNode(name, tuple(found), _hint(name)) for name, found in ids.items()]


def _hint(name: str) -> str:
    pack = pack_of(name)
    return "" if pack is None else f"in the pack {pack}"


def _verdict(report: Report) -> int:
    if report.missing_classes:
        return Exit.MISSING_NODES
    return Exit.OK if report.fine else Exit.BAD_INPUT


def _told(report: Report) -> dict[str, Any]:
    return {
        "fine": report.fine,
        "runs": list(report.runs),
        "dropped": list(report.dropped),
        "problems": [dataclasses.asdict(each) for each in report.problems],
    }


def _cannot(error: MissingNodesError | NoServerError) -> int:
    if isinstance(error, NoServerError):
        error_line(str(error))
        return Exit.NO_SERVER
    for each in error.missing:
        error_line(f"the server does not have {each}")
    return Exit.MISSING_NODES


def _dumped(workflow: Workflow) -> str:
    return json.dumps(workflow.to_api(), indent=2)


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    except FileExistsError:
        raise BadInputError(
            f"--fix {path}: there is such a file, and nothing is overwritten; name another"
        ) from None
    except OSError as error:
        raise BadInputError(f"--fix {path}: cannot be written: {error.strerror}") from None


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(_plain(value)) + "\n")


def _plain(value: Any) -> Any:
    """``value`` as strict JSON has it: without the numbers that JSON does not know."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
