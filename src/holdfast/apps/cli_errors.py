"""The commands `holdfast errors ...` and `holdfast config ...`, and their options."""

from __future__ import annotations

import sys
from pathlib import Path

import click

_HISTORY = click.option(
    "--history",
    metavar="PATH|URL",
    default=None,
    help="The history: a file, sqlite:///FILE or postgresql://...  "
    "[default: HOLDFAST_HISTORY, or [history] url of ./holdfast.toml]",
)
_SINCE = click.option(
    "--since", metavar="TIME", default=None, help="Only since then: 90m, 24h, 7d, or a date."
)
_OUTPUT = click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="A file to write.  [default: standard output]",
)


@click.group()
def errors() -> None:
    """What has gone wrong, out of the history that services keep."""


@errors.command()
@_HISTORY
@_SINCE
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "markdown", "html", "json"]),
    default="table",
    show_default=True,
    help="How to tell it.",
)
@_OUTPUT
def report(history: str | None, since: str | None, form: str, output: Path | None) -> None:
    """Everything at a glance: rates, kinds, groups, trends, what was mended."""
    from holdfast.apps import errors as does

    sys.exit(does.report(history, since, form, output))


@errors.command()
@_HISTORY
@_SINCE
@click.option(
    "--limit", default=10, show_default=True, type=click.IntRange(1, 10_000), help="How many."
)
@click.option(
    "--by",
    "order",
    type=click.Choice(["count", "last_seen"]),
    default="count",
    show_default=True,
    help="Which come first.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def top(history: str | None, since: str | None, limit: int, order: str, *, as_json: bool) -> None:
    """The groups of errors, the most frequent first."""
    from holdfast.apps import errors as does

    sys.exit(does.top(history, since, limit, order, as_json=as_json))


@errors.command()
@click.argument("group", metavar="GROUP")
@_HISTORY
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many errors."
)
def show(group: str, history: str | None, limit: int) -> None:
    """One group of errors, by the beginning of its fingerprint."""
    from holdfast.apps import errors as does

    sys.exit(does.show(history, group, limit))


@errors.command()
@_HISTORY
@_SINCE
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="How to write it.",
)
@_OUTPUT
def export(history: str | None, since: str | None, form: str, output: Path | None) -> None:
    """Every error, as JSON lines or CSV."""
    from holdfast.apps import errors as does

    sys.exit(does.export(history, since, form, output))


@click.group()
def config() -> None:
    """Configuration files."""


@config.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE.toml...", type=click.Path())
def check(files: tuple[str, ...]) -> None:
    """Say whether files are right, and if not, what is wrong in which line."""
    from holdfast.apps.config_check import check_all

    sys.exit(check_all(files))


@config.command()
def defaults() -> None:
    """Print every setting with its default and its meaning, as TOML."""
    from holdfast.apps.config_defaults import print_defaults

    sys.exit(print_defaults())
