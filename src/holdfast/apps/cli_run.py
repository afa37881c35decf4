"""The options of `holdfast run`. What it does is in `run`, and in `durable_run` for kept jobs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from holdfast.apps.cli_options import SERVER, Seconds
from holdfast.errors import BadInputError

EPILOG = (
    "Exit codes: 0 all done; 1 some jobs failed; 2 bad input; 3 no server; "
    "70 a bug in Holdfast; 130 stopped with Ctrl-C."
)


@click.command(epilog=EPILOG)
@click.argument("workflows", nargs=-1, metavar="WORKFLOW.json...")
@SERVER
@click.option(
    "--jobs",
    "sweep",
    default=None,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of runs, one a line: JSONL or CSV, with inputs as keys. Kept on disk.",
)
@click.option(
    "--keep",
    is_flag=True,
    help="Keep the jobs on disk, so that --resume can go on after a crash.",
)
@click.option(
    "--detach",
    is_flag=True,
    help="Keep the jobs on disk, run them in the background, and return at once.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with what an earlier run with kept jobs has left; what still runs is joined.",
)
@click.option(
    "--data",
    default=None,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for jobs that are kept.  [default: .holdfast in --output]",
)
@click.option(
    "--store",
    default=None,
    metavar="URL",
    help="Where kept jobs are: a path, or postgresql://...  [default: jobs.db in --data]",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NODE.INPUT=VALUE",
    help="Set an input, as in 3.seed=5, seed=5 or 6.text='a cat'. A value @FILE uploads the file.",
)
@click.option(
    "--count",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="Run each workflow so often; every further run raises its seeds by one.",
)
@click.option(
    "--output",
    default="output",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for the files. Nothing in it is ever overwritten.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option(
    "--idle",
    default=600.0,
    show_default=True,
    type=Seconds(min=0.1),
    help="Seconds without any progress after which a running job counts as stalled.",
)
@click.option(
    "--deadline",
    default=None,
    type=Seconds(min=0.1),
    help="Seconds each job may take, retries and waiting included.  [default: no limit]",
)
@click.option(
    "--reach",
    default=120.0,
    show_default=True,
    type=Seconds(min=0.0),
    help="Seconds all servers may be unreachable during the run before jobs fail.",
)
@click.option(
    "--wait",
    default=0.0,
    show_default=True,
    type=Seconds(min=0.0),
    help="Seconds to wait for a first server at the start.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Change nothing in a workflow but what keeps its result.",
)
@click.option(
    "--fallback",
    "fallbacks",
    multiple=True,
    metavar="MODEL=OTHER",
    help="A model to take where MODEL is missing or damaged; may be given several times.",
)
@click.option(
    "--simpler",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="A workflow to run if nothing else helps; may be given several times, best first.",
)
@click.option(
    "--reseed",
    default=0,
    show_default=True,
    type=click.IntRange(0, 100),
    help="How often a picture of one colour is made again with another seed.",
)
@click.option(
    "--offline",
    default=None,
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder for jobs that find no server; the next run with it does them first.",
)
@click.option(
    "--models",
    "models_folder",
    default=None,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The models folder the servers read, writable here: missing models are fetched into it.",
)
@click.option(
    "--model",
    "model_sources",
    multiple=True,
    metavar="NAME=URL",
    help="Where a model can be fetched from: https:// or hf://.",
)
@click.option(
    "--model-list",
    "model_lists",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A list of models in ComfyUI-Manager's format.",
)
@click.option(
    "--restart-command",
    "restart_commands",
    multiple=True,
    metavar="URL=COMMAND",
    help="How to restart a server that is dead or frozen; split into words, no shell.",
)
@click.option(
    "--restart-unit",
    "restart_units",
    multiple=True,
    metavar="URL=UNIT",
    help="The systemd unit to restart for a server that is dead or frozen.",
)
@click.option(
    "--restart-container",
    "restart_containers",
    multiple=True,
    metavar="URL=NAME",
    help="The container (docker) to restart for a server that is dead or frozen.",
)
@click.option(
    "--correct",
    is_flag=True,
    help="Correct values a server refuses where their meaning is plain.",
)
def run(
    workflows: tuple[str, ...],
    servers: tuple[str, ...],
    settings: tuple[str, ...],
    count: int,
    output: Path,
    *,
    as_json: bool,
    idle: float,
    deadline: float | None,
    reach: float,
    wait: float,
    strict: bool,
    fallbacks: tuple[str, ...],
    simpler: tuple[str, ...],
    reseed: int,
    correct: bool,
    offline: Path | None,
    models_folder: Path | None,
    model_sources: tuple[str, ...],
    model_lists: tuple[Path, ...],
    restart_commands: tuple[str, ...],
    restart_units: tuple[str, ...],
    restart_containers: tuple[str, ...],
    sweep: Path | None,
    keep: bool,
    detach: bool,
    resume: bool,
    data: Path | None,
    store: str | None,
) -> None:
    """Run workflows, in either format, on the servers and bring the files home."""
    from holdfast.apps.page_format import Loader
    from holdfast.apps.run import Order, carry_out
    from holdfast.apps.run_options import read_allowed, read_models, read_restarts

    loader = Loader(servers, wait=wait)
    allowed = read_allowed(
        fallbacks=fallbacks,
        simpler=[loader.load(path) for path in simpler],
        reseeds=reseed,
        correct=correct,
    )
    supplies = read_models(servers, models_folder, model_lists, model_sources)
    restarts = read_restarts(restart_commands, restart_units, restart_containers)
    if sweep is not None or keep or detach or resume:
        from holdfast.apps.batch import Wishes
        from holdfast.apps.durable_run import Keeping, run_kept

        if offline is not None:
            raise BadInputError("--offline is for jobs that are not kept: leave it out")
        sys.exit(
            run_kept(
                Wishes(
                    workflows,
                    settings,
                    count,
                    sweep,
                    output,
                    deadline=deadline,
                    strict=strict,
                    load=loader.load,
                ),
                Keeping(
                    data or output / ".holdfast",
                    store,
                    detach=detach,
                    resume=resume,
                    again=_again(),
                ),
                servers,
                as_json=as_json,
                idle=idle,
                wait=wait,
                allowed=allowed,
                models=supplies,
                restarts=restarts,
            )
        )
    if not workflows:
        raise BadInputError("no workflow is given; name one, or go on with --resume")
    order = Order.read(workflows, settings, count, output, loader.load)
    sys.exit(
        carry_out(
            order,
            servers,
            as_json=as_json,
            idle=idle,
            deadline=deadline,
            reach=reach,
            wait=wait,
            allowed=allowed,
            strict=strict,
            models=supplies,
            offline=offline,
            restarts=restarts,
        )
    )


_ACCEPTED = frozenset(
    {"workflows", "sweep", "keep", "detach", "resume", "settings", "count", "deadline", "strict"}
)
"""What is in the jobs themselves once they are accepted."""


def _again() -> list[str]:
    """The command line that goes on with what this one has accepted."""
    context = click.get_current_context()
    arguments = ["run", "--resume"]
    for option in context.command.params:
        name = option.name or ""
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if name in _ACCEPTED or not given or not isinstance(option, click.Option):
            continue
        value = context.params[name]
        if option.is_flag:
            arguments.append(option.opts[0])
        else:
            for each in value if option.multiple else (value,):
                arguments += [option.opts[0], str(each)]
    return arguments
