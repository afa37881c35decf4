"""The options of `holdfast serve`. What it does is in `serve`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from holdfast.apps.cli_options import JOBS_PER_SERVER, SERVER


@click.command(
    epilog="Exit codes: 0 stopped; 2 bad input, or the port is taken; 70 a bug in Holdfast."
)
@SERVER
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8188,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--data",
    default="holdfast-data",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for the jobs, their files, and what the servers know.",
)
@click.option(
    "--store",
    default=None,
    metavar="URL",
    help="Where the jobs are: a path, or postgresql://...  [default: jobs.db in --data]",
)
@click.option(
    "--no-keys",
    "keyless",
    is_flag=True,
    help="Ask for no key: everybody on this machine, and nobody else, may do everything.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A name under which the gateway may be asked for, besides addresses and localhost.",
)
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="A web page, such as https://app.example, that may use the gateway from a browser.",
)
@click.option(
    "--trust-proxy",
    "proxies",
    multiple=True,
    metavar="NETWORK",
    help="A proxy in front, such as 10.0.0.0/8, whose X-Forwarded headers are believed.",
)
@click.option(
    "--tls-cert",
    default=None,
    type=click.Path(path_type=Path),
    help="Certificate for TLS, as PEM, with those that lead to its root.",
)
@click.option("--tls-key", default=None, type=click.Path(path_type=Path), help="Its key, as PEM.")
@click.option(
    "--tls-client-ca",
    default=None,
    type=click.Path(path_type=Path),
    help="Certificates, as PEM, that clients' own must be signed by.",
)
@JOBS_PER_SERVER
@click.option(
    "--max-queued",
    default=100_000,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many jobs may wait; beyond that, clients get 429, the lowest priorities first.",
)
@click.option(
    "--max-sockets",
    default=None,
    type=click.IntRange(1, 5_000),
    help="WebSockets of one key, or of all clients with --no-keys.  [default: 128; 4096]",
)
@click.option(
    "--lease",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=1.0, max=3_600.0),
    help="Seconds a worker may be silent before its jobs are given to others.",
)
@click.option(
    "--drain",
    default=0.0,
    show_default=True,
    type=click.FloatRange(min=0.0, max=86_400.0),
    help="Seconds that running jobs may go on when stopped; the others are joined at the next "
    "start.",
)
@click.option("--no-work", is_flag=True, help="Run no jobs: `holdfast work` does, elsewhere.")
@click.option("--no-dashboard", is_flag=True, help="Serve no dashboard at /holdfast/.")
def serve(
    servers: tuple[str, ...],
    host: str,
    port: int,
    data: Path,
    store: str | None,
    *,
    keyless: bool,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    proxies: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    jobs_per_server: int,
    max_queued: int,
    max_sockets: int | None,
    lease: float,
    drain: float,
    no_work: bool,
    no_dashboard: bool,
) -> None:
    """Stand in front of ComfyUI servers: their clients need not be changed, and lose nothing."""
    from holdfast.apps.serve import Plan, serve_forever

    sys.exit(
        serve_forever(
            Plan(
                servers=servers,
                host=host,
                port=port,
                data=data,
                store=store,
                keyless=keyless,
                hosts=hosts,
                origins=origins,
                proxies=proxies,
                tls_cert=tls_cert,
                tls_key=tls_key,
                tls_client_ca=tls_client_ca,
                jobs_per_server=jobs_per_server,
                max_queued=max_queued,
                max_sockets=max_sockets,
                lease=lease,
                drain=drain,
                works=not no_work,
                dashboard=not no_dashboard,
            )
        )
    )
