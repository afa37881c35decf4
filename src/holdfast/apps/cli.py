"""The commands and their options. What they do is in the modules beside this one."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import click

from holdfast.apps.cli_errors import config, errors
from holdfast.apps.cli_jobs import jobs, submit, work
from holdfast.apps.cli_keys import keys
from holdfast.apps.cli_options import SERVER, Seconds
from holdfast.apps.cli_run import EPILOG, run
from holdfast.apps.cli_serve import serve
from holdfast.apps.cli_workflow import workflow
from holdfast.apps.exits import Exit
from holdfast.errors import BadInputError, HoldfastError
from holdfast.text import printable


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="holdfast")
def cli() -> None:
    """Get every picture that can be made out of ComfyUI, and lose nothing."""


@cli.command(epilog=EPILOG)
@SERVER
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option(
    "--seconds",
    default=10.0,
    show_default=True,
    type=Seconds(min=0.1),
    help="How long an idle server may take for a tiny test graph.",
)
def doctor(servers: tuple[str, ...], *, as_json: bool, seconds: float) -> None:
    """Examine servers: are they alive, do their workers work, what is wrong."""
    from holdfast.apps.doctor import examine_all

    sys.exit(examine_all(servers, as_json=as_json, seconds=seconds))


@cli.command(epilog=EPILOG)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8188,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--faults",
    type=click.Path(path_type=Path),
    default=None,
    help="A TOML file that says what goes wrong, and when.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=None,
    help="Where the server keeps input, output and temp.  [default: a temporary folder]",
)
@click.option(
    "--vram",
    default=24.0,
    show_default=True,
    type=Seconds(min=0.1),
    help="Pretended graphics memory, in GiB.",
)
@click.option("--cpu", is_flag=True, help="Fail like a server without a GPU.")
@click.option(
    "--step-seconds",
    default=0.02,
    show_default=True,
    type=Seconds(min=0.0),
    help="How long one sampling step takes.",
)
@click.option(
    "--page",
    default=None,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with ComfyUI's web page to serve, such as comfyui_frontend_package/static.",
)
def standin(
    host: str,
    port: int,
    faults: Path | None,
    folder: Path | None,
    vram: float,
    *,
    cpu: bool,
    step_seconds: float,
    page: Path | None,
) -> None:
    """Run a stand-in ComfyUI server: the real protocol, painted pictures, faults on demand."""
    from holdfast.apps.standin import serve

    sys.exit(
        serve(
            host=host,
            port=port,
            faults=faults,
            folder=folder,
            vram=vram,
            cpu=cpu,
            step_seconds=step_seconds,
            page=page,
        )
    )


@cli.command(epilog=EPILOG)
@click.option(
    "--output",
    default="holdfast-demo",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for the pictures and the contact sheet.",
)
@click.option("--seed", default=1, show_default=True, type=int, help="Seed of the pictures.")
def demo(output: Path, seed: int) -> None:
    """Push real workflows through three stand-in servers that fail in every way."""
    from holdfast.apps.demo import show

    sys.exit(show(output, seed=seed))


cli.add_command(run)
cli.add_command(submit)
cli.add_command(jobs)
cli.add_command(work)
cli.add_command(serve)
cli.add_command(keys)
cli.add_command(errors)
cli.add_command(config)
cli.add_command(workflow)


def run_cli() -> None:
    """Run the command line; every expected error is one line and an exit code."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.stderr.write("holdfast: stopped\n")
        code = Exit.INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = Exit.BAD_INPUT
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f" (see: {context.command_path} --help)" if context is not None else ""
        sys.stderr.write(f"holdfast: {one_line(error.format_message())}{hint}\n")
        code = Exit.BAD_INPUT
    except BadInputError as error:
        sys.stderr.write(f"holdfast: {one_line(str(error))}\n")
        code = Exit.BAD_INPUT
    except HoldfastError as error:
        # Such as a database that does not answer: no bug, and none of the user's making.
        sys.stderr.write(f"holdfast: {one_line(str(error))}\n")
        code = Exit.NO_SERVER
    except KeyboardInterrupt:
        sys.stderr.write("holdfast: stopped\n")
        code = Exit.INTERRUPTED
    except Exception:  # noqa: BLE001 - the last resort: a bug, shown as one
        traceback.print_exc()
        sys.stderr.write("holdfast: this is a bug in Holdfast; please report it with these lines\n")
        code = Exit.BUG
    sys.exit(flushed(int(code or 0)))


def flushed(code: int) -> int:
    """The exit code, once all output is out; nobody may be there to read it any more."""
    try:
        sys.stdout.flush()
    except OSError:
        # Python would complain again while closing it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def one_line(text: str) -> str:
    """``text`` without line breaks and control characters."""
    return " ".join(printable(text).split())
