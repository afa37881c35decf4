"""The commands about kept jobs: `submit`, `jobs`, `work`. What they do is in the modules beside."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from holdfast.apps.cli_options import JOBS_PER_SERVER, SERVER, kept_in

EPILOG = (
    "Exit codes: 0 done; 1 some jobs failed, or something is damaged; 2 bad input; 3 no server; "
    "70 a bug in Holdfast; 130 stopped with Ctrl-C."
)
_KEPT = kept_in("the jobs and their files")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
_IDS = click.argument("ids", nargs=-1, metavar="JOB...")
_STATES = ("queued", "running", "delivered", "failed", "cancelled")


@click.command(epilog=EPILOG)
@click.argument("workflows", nargs=-1, metavar="WORKFLOW.json...")
@click.option(
    "--jobs",
    "sweep",
    default=None,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of runs, one a line: JSONL or CSV, with inputs as keys.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NODE.INPUT=VALUE",
    help="Set an input, as in 3.seed=5. A value @FILE is a file to upload.",
)
@click.option(
    "--count",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="Run each so often; every further run raises its seeds by one.",
)
@click.option("--priority", default=0, show_default=True, help="The higher goes first.")
@click.option(
    "--deadline",
    default=None,
    type=click.FloatRange(min=0.1),
    help="Seconds from now within which each job must be done.  [default: no limit]",
)
@click.option(
    "--key",
    default="",
    help="For idempotency: submitted twice with the same key, jobs are made once.",
)
@click.option("--user", default="", help="Whose jobs they are; users get even shares.")
@click.option("--strict", is_flag=True, help="Change nothing but what keeps the result.")
@click.option(
    "--output",
    default=None,
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder to which files are copied when a job is delivered.",
)
@_KEPT
@_JSON
def submit(
    workflows: tuple[str, ...],
    sweep: Path | None,
    settings: tuple[str, ...],
    count: int,
    *,
    priority: int,
    deadline: float | None,
    key: str,
    user: str,
    strict: bool,
    output: Path | None,
    data: Path | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Accept workflows (API format) as jobs; `holdfast serve` or `holdfast work` runs them."""
    from holdfast.apps.batch import Wishes
    from holdfast.apps.jobs import submit as carry_out
    from holdfast.apps.keeping import data_folder, open_kept

    wishes = Wishes(
        workflows,
        settings,
        count,
        sweep,
        output,
        priority=priority,
        deadline=deadline,
        key=key,
        user=user,
        strict=strict,
    )
    sys.exit(carry_out(open_kept(data_folder(data), store), wishes, as_json=as_json))


@click.group(epilog=EPILOG)
def jobs() -> None:
    """Look after jobs that are kept on disk."""


@jobs.command("list", epilog=EPILOG)
@click.option(
    "--state", "states", multiple=True, type=click.Choice(_STATES), help="Only in this state."
)
@click.option("--order", default=None, help="Only of this order.")
@click.option("--user", default=None, help="Only of this user.")
@click.option("--search", default="", help="Part of the id, name, prompt, seed or model.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@_KEPT
@_JSON
def list_jobs(
    states: tuple[str, ...],
    order: str | None,
    user: str | None,
    search: str,
    limit: int,
    *,
    data: Path | None,
    store: str | None,
    as_json: bool,
) -> None:
    """List jobs, the newest first, and how many there are in each state."""
    from holdfast.apps import jobs as acting
    from holdfast.apps.keeping import data_folder, open_kept

    kept = open_kept(data_folder(data), store, make=False)
    wanted = acting.Wanted(states, order, user, search, limit)
    sys.exit(acting.list_jobs(kept, wanted, as_json=as_json))


@jobs.command("show", epilog=EPILOG)
@click.argument("job_id", metavar="JOB")
@_KEPT
@_JSON
def show(job_id: str, *, data: Path | None, store: str | None, as_json: bool) -> None:
    """Tell a job's whole story: attempts, recoveries, what was changed, its files."""
    from holdfast.apps import jobs as acting
    from holdfast.apps.keeping import data_folder, open_kept

    kept = open_kept(data_folder(data), store, make=False)
    sys.exit(acting.show(kept, job_id, as_json=as_json))


@jobs.command("cancel", epilog=EPILOG)
@_IDS
@click.option("--order", default=None, help="All of this order that have not ended.")
@_KEPT
def cancel(
    ids: tuple[str, ...], order: str | None, *, data: Path | None, store: str | None
) -> None:
    """Ask for the end of jobs; those that run are taken back from their servers."""
    from holdfast.apps import jobs as acting
    from holdfast.apps.keeping import data_folder, open_kept

    sys.exit(acting.cancel(open_kept(data_folder(data), store, make=False), ids, order))


@jobs.command("retry", epilog=EPILOG)
@_IDS
@click.option("--order", default=None, help="All of this order that have failed.")
@click.option("--all", "everything", is_flag=True, help="All jobs that have failed.")
@_KEPT
def retry(
    ids: tuple[str, ...],
    order: str | None,
    *,
    everything: bool,
    data: Path | None,
    store: str | None,
) -> None:
    """Put jobs that failed or were cancelled into the queue again."""
    from holdfast.apps import jobs as acting
    from holdfast.apps.keeping import data_folder, open_kept

    kept = open_kept(data_folder(data), store, make=False)
    sys.exit(acting.retry(kept, ids, order, everything=everything))


@jobs.command("dead-letter", epilog=EPILOG)
@click.option("--order", default=None, help="Only of this order.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@_KEPT
@_JSON
def dead_letter(
    order: str | None, limit: int, *, data: Path | None, store: str | None, as_json: bool
) -> None:
    """List jobs that failed, with the reason, and how to try them again."""
    from holdfast.apps import jobs as acting
    from holdfast.apps.keeping import data_folder, open_kept

    kept = open_kept(data_folder(data), store, make=False)
    sys.exit(acting.dead_letters(kept, order, limit, as_json=as_json))


@jobs.command("export", epilog=EPILOG)
@_IDS
@click.option("--order", default=None, help="All of this order that were delivered.")
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the files; nothing in it is overwritten.",
)
@_KEPT
def export(
    ids: tuple[str, ...],
    order: str | None,
    output: Path,
    *,
    data: Path | None,
    store: str | None,
) -> None:
    """Copy the files of delivered jobs to a folder; done again, nothing comes twice."""
    from holdfast.apps import jobs as acting
    from holdfast.apps.keeping import data_folder, open_kept

    sys.exit(acting.export(open_kept(data_folder(data), store, make=False), ids, order, output))


@jobs.command("report", epilog=EPILOG)
@click.option("--order", default=None, help="Only of this order.")
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for report.html, report.json and contact-sheet.png.",
)
@_KEPT
def report(order: str | None, output: Path, *, data: Path | None, store: str | None) -> None:
    """Write the report: every picture, what was changed, what failed and why."""
    from holdfast.apps import jobs as acting
    from holdfast.apps.keeping import data_folder, open_kept

    sys.exit(acting.report(open_kept(data_folder(data), store, make=False), order, output))


@jobs.command("pause", epilog=EPILOG)
@click.option("--reason", default="", help="Why, for whoever asks.")
@_KEPT
def pause(reason: str, *, data: Path | None, store: str | None) -> None:
    """Begin no more jobs; what runs goes on, and what comes is accepted."""
    from holdfast.apps import jobs as acting
    from holdfast.apps.keeping import data_folder, open_kept

    sys.exit(acting.pause(open_kept(data_folder(data), store, make=False), reason))


@jobs.command("resume", epilog=EPILOG)
@_KEPT
def resume(data: Path | None, store: str | None) -> None:
    """Begin jobs again."""
    from holdfast.apps import jobs as acting
    from holdfast.apps.keeping import data_folder, open_kept

    sys.exit(acting.resume(open_kept(data_folder(data), store, make=False)))


@jobs.command("check", epilog=EPILOG)
@_KEPT
@_JSON
def check(*, data: Path | None, store: str | None, as_json: bool) -> None:
    """Read all that is kept, and tell what is missing, damaged or referred to by nothing."""
    from holdfast.apps import jobs as acting
    from holdfast.apps.keeping import data_folder, open_kept

    kept = open_kept(data_folder(data), store, make=False)
    sys.exit(acting.check(kept, as_json=as_json))


@jobs.command("clean", epilog=EPILOG)
@click.option(
    "--days",
    required=True,
    type=click.FloatRange(min=0.0),
    help="Forget jobs that were delivered or cancelled longer ago, and files nothing refers to.",
)
@click.option(
    "--failed-days",
    default=None,
    type=click.FloatRange(min=0.0),
    help="Forget dead letters that are older.  [default: none]",
)
@click.option("--failed", is_flag=True, help="Dead letters too, after --days.")
@click.option(
    "--max-gib",
    default=None,
    type=click.FloatRange(min=0.0),
    help="Forget delivered jobs, the oldest first, until all files fit.  [default: no limit]",
)
@_KEPT
def clean(
    days: float,
    failed_days: float | None,
    max_gib: float | None,
    *,
    failed: bool,
    data: Path | None,
    store: str | None,
) -> None:
    """Forget old jobs and their files. What was copied elsewhere stays."""
    from holdfast.apps import jobs as acting
    from holdfast.apps.keeping import data_folder, open_kept
    from holdfast.stores.tidying import DAY, Keep

    dead = days if failed and failed_days is None else failed_days
    keep = Keep(
        seconds=days * DAY,
        dead_seconds=None if dead is None else dead * DAY,
        max_bytes=None if max_gib is None else int(max_gib * 2**30),
    )
    kept = open_kept(data_folder(data), store, make=False)
    sys.exit(acting.clean(kept, keep))


@jobs.command("salvage", epilog=EPILOG)
@click.argument("damaged", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("new")
def salvage(damaged: Path, new: str) -> None:
    """Copy what can be read of a DAMAGED store (a file) into a NEW one (a path or URL)."""
    from holdfast.apps import jobs as acting

    sys.exit(acting.salvage(damaged, new))


@jobs.command("copy", epilog=EPILOG)
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
def copy(source: str, target: str) -> None:
    """Copy all jobs FROM one store TO another, each a path or postgresql://..."""
    from holdfast.apps import jobs as acting

    sys.exit(acting.copy(source, target))


@click.command(epilog=EPILOG)
@SERVER
@click.option("--until-empty", is_flag=True, help="End when no job waits or runs any more.")
@JOBS_PER_SERVER
@_KEPT
def work(
    servers: tuple[str, ...],
    *,
    until_empty: bool,
    jobs_per_server: int,
    data: Path | None,
    store: str | None,
) -> None:
    """Run jobs that are kept, beside a gateway that does so or instead of it."""
    from holdfast.apps.keeping import data_folder, open_kept
    from holdfast.apps.work import work_forever

    kept = open_kept(data_folder(data), store)
    sys.exit(work_forever(kept, servers, until_empty=until_empty, jobs_per_server=jobs_per_server))
