"""Options that several commands have."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Seconds(click.FloatRange):
    """A finite number of seconds."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Refuse what is no number, which a range lets through."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number of seconds", param, ctx)
        return number


SERVER = click.option(
    "--server",
    "servers",
    multiple=True,
    required=True,
    metavar="URL",
    help="A ComfyUI server, such as http://127.0.0.1:8188. Give it once for each server.",
)
JOBS_PER_SERVER = click.option(
    "--jobs-per-server",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many jobs a server may have at a time.",
)


def kept_in(folder: str) -> Callable[[F], F]:
    """``--data`` and ``--store``: where jobs are kept.

    Args:
        folder: what ``--data`` is the folder of, for its help.
    """
    data = click.option(
        "--data",
        default=None,
        type=click.Path(file_okay=False, path_type=Path),
        help=f"Folder of {folder}.  [default: $HOLDFAST_DATA, else holdfast-data]",
    )
    store = click.option(
        "--store",
        default=None,
        metavar="URL",
        help="Where the jobs are: a path, or postgresql://...  [default: jobs.db in --data]",
    )
    return lambda command: data(store(command))
