"""The commands `holdfast workflow ...`, and their options."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

F = TypeVar("F", bound=Callable[..., None])

_EPILOG = (
    "Exit codes: 0 all is well; 1 the workflows differ; 2 bad input, or errors found; 3 node "
    "classes are missing, or no server; 70 a bug in Holdfast."
)
_FILE = click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def _knowledge(command: F) -> F:
    server = click.option(
        "--server", metavar="URL", default=None, help="A ComfyUI server to ask what it knows."
    )
    info = click.option(
        "--object-info",
        "object_info",
        metavar="FILE",
        type=click.Path(path_type=Path),
        default=None,
        help="A file with what a server answered to /object_info, in its place.",
    )
    return server(info(command))


@click.group()
def workflow() -> None:
    """Look at workflow files: what they do, what differs, what a server will say to them."""


@workflow.command(epilog=_EPILOG)
@_FILE
@_knowledge
@_JSON
def show(path: Path, server: str | None, object_info: Path | None, *, as_json: bool) -> None:
    """Tell what a workflow does: prompts, seeds, sizes, models, outputs, and where each is set."""
    from holdfast.apps import workflow as does

    sys.exit(does.show(path, does.Knowledge(server, object_info), as_json=as_json))


@workflow.command(epilog=_EPILOG)
@_FILE
@_knowledge
def convert(path: Path, server: str | None, object_info: Path | None) -> None:
    """Print a workflow in API format, from the page's own format or from API format."""
    from holdfast.apps import workflow as does

    sys.exit(does.convert(path, does.Knowledge(server, object_info)))


@workflow.command(epilog=_EPILOG)
@click.argument("before", metavar="A", type=click.Path(path_type=Path))
@click.argument("after", metavar="B", type=click.Path(path_type=Path))
@_knowledge
@_JSON
def diff(
    before: Path, after: Path, server: str | None, object_info: Path | None, *, as_json: bool
) -> None:
    """Tell what differs between two workflows; numbers and titles of nodes do not count."""
    from holdfast.apps import workflow as does

    sys.exit(does.diff(before, after, does.Knowledge(server, object_info), as_json=as_json))


@workflow.command(epilog=_EPILOG)
@_FILE
@_knowledge
@_JSON
@click.option(
    "--fix",
    "fixed",
    metavar="OUT",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Write the workflow to OUT with everything corrected that has one right answer.",
)
def check(
    path: Path,
    server: str | None,
    object_info: Path | None,
    fixed: Path | None,
    *,
    as_json: bool,
) -> None:
    """Find every error a server would raise, before it does, with what would be right."""
    from holdfast.apps import workflow as does

    sys.exit(does.check(path, does.Knowledge(server, object_info), fixed, as_json=as_json))
