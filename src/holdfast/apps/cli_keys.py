"""`holdfast keys`: who may use a gateway."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from holdfast.apps.cli_options import kept_in

EPILOG = "Exit codes: 0 done; 2 bad input; 70 a bug in Holdfast."
_KEPT = kept_in("the gateway")


@click.group(epilog=EPILOG)
def keys() -> None:
    """Make keys for those who may use a gateway, list them, and disable them."""


@keys.command(epilog=EPILOG)
@click.argument("user")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    default=("view", "run", "cancel"),
    show_default=True,
    type=click.Choice(["view", "run", "cancel", "dashboard", "admin"]),
    help="What the key is good for; may be given several times.",
)
@click.option("--label", default="", help="For people, such as the name of a program.")
@click.option("--days", default=None, type=click.FloatRange(min=0.001), help="Days it is good.")
@click.option("--max-queued", default=None, type=click.IntRange(min=0), help="Jobs that may wait.")
@click.option(
    "--max-running", default=None, type=click.IntRange(min=1), help="Jobs that may run at once."
)
@click.option("--jobs-per-hour", default=None, type=click.IntRange(min=0), help="Jobs in an hour.")
@click.option("--top-priority", default=None, type=int, help="The highest priority of its jobs.")
@_KEPT
def create(
    user: str,
    scopes: tuple[str, ...],
    *,
    label: str,
    days: float | None,
    max_queued: int | None,
    max_running: int | None,
    jobs_per_hour: int | None,
    top_priority: int | None,
    data: Path | None,
    store: str | None,
) -> None:
    """Make a key for USER and print it: it cannot be had again."""
    from holdfast.apps.keeping import data_folder, open_kept
    from holdfast.comfyui.gateway.caller import Quotas
    from holdfast.comfyui.gateway.keys import KeyStore
    from holdfast.ports import ambient

    kept = open_kept(data_folder(data), store)
    shown, key = KeyStore(kept.store.engine).create(
        user,
        scopes,
        label=label,
        expires=None if days is None else ambient.wall() + days * 86_400.0,
        quotas=Quotas(
            max_queued=max_queued,
            max_running=max_running,
            jobs_per_hour=jobs_per_hour,
            top_priority=top_priority,
        ),
    )
    kept.store.close()
    sys.stdout.write(f"{shown}\n")
    sys.stderr.write(
        f"key {key.id} of {key.user} for {', '.join(sorted(key.scopes))}; it is shown this once\n"
    )


@keys.command("list", epilog=EPILOG)
@_KEPT
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
def list_keys(data: Path | None, store: str | None, *, as_json: bool) -> None:
    """List keys; their secrets are known to nobody."""
    from holdfast.apps.keeping import data_folder, open_kept
    from holdfast.comfyui.gateway.keys import KeyStore

    kept = open_kept(data_folder(data), store, make=False)
    for key in KeyStore(kept.store.engine).list():
        told = asdict(key)
        del told["digest"]
        told["scopes"] = sorted(key.scopes)
        if as_json:
            sys.stdout.write(json.dumps(told) + "\n")
        else:
            state = "disabled" if key.disabled else "good"
            scopes = ",".join(sorted(key.scopes))
            sys.stdout.write(f"{key.id}  {state:8}  {key.user}  {scopes}  {key.label}\n")
    kept.store.close()


@keys.command(epilog=EPILOG)
@click.argument("key_id", metavar="KEY")
@_KEPT
def disable(key_id: str, *, data: Path | None, store: str | None) -> None:
    """Let a key open nothing any more, within seconds also where a gateway runs."""
    from holdfast.apps.keeping import data_folder, open_kept
    from holdfast.comfyui.gateway.keys import KeyStore
    from holdfast.errors import BadInputError

    kept = open_kept(data_folder(data), store, make=False)
    found = KeyStore(kept.store.engine).disable(key_id)
    kept.store.close()
    if found is None:
        raise BadInputError(f"there is no key {key_id!r:.100}; see: holdfast keys list")
    sys.stdout.write(f"key {found.id} of {found.user} opens nothing any more\n")
