"""What `holdfast run` may do to get a picture, read from its options."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.comfyui import Allowed, RestartCommand, Workflow, container, systemd_unit
from holdfast.comfyui.restarts import RestartHook
from holdfast.errors import BadInputError

if TYPE_CHECKING:
    from holdfast.comfyui.models import ModelManager


def read_allowed(
    *, fallbacks: Sequence[str], simpler: Sequence[Workflow], reseeds: int, correct: bool
) -> Allowed:
    """What may be changed to get a result, from the options of the command line.

    Raises:
        BadInputError: a fallback is not written as MODEL=OTHER.
    """
    declared: dict[str, list[str]] = {}
    for given in fallbacks:
        model, equals, other = given.partition("=")
        if not equals or not model.strip() or not other.strip():
            raise BadInputError(
                f"--fallback {given!r}: write it as MODEL=OTHER, such as "
                "big.safetensors=small.safetensors"
            )
        declared.setdefault(model.strip(), []).append(other.strip())
    return Allowed(
        fallbacks=declared,
        simpler=simpler,
        reseeds=reseeds,
        corrections=correct,
    )


def read_models(
    servers: Sequence[str], folder: Path | None, lists: Sequence[Path], sources: Sequence[str]
) -> ModelManager | None:
    """Where missing models may be fetched from, and where to; None if nowhere.

    Raises:
        BadInputError: a source is not written as NAME=URL, or there is no folder to put it into.
    """
    if folder is None:
        if lists or sources:
            raise BadInputError(
                "--models is missing: --model and --model-list need the models folder that the "
                "servers read, to put files into"
            )
        return None
    from holdfast.comfyui.models import ModelManager

    named = dict(_pair("--model", given) for given in sources)
    return ModelManager(*servers, folder=folder, sources=[named, *lists])


def read_restarts(
    commands: Sequence[str], units: Sequence[str], containers: Sequence[str]
) -> dict[str, RestartHook]:
    """How servers may be restarted, by address.

    Raises:
        BadInputError: one is not written as URL=WHAT, or is not fit to be run.
    """
    found: dict[str, RestartHook] = {}
    for given in commands:
        url, command = _pair("--restart-command", given)
        try:
            found[url] = RestartCommand(tuple(shlex.split(command)))
        except ValueError as error:
            raise BadInputError(f"--restart-command {given!r}: {error}") from None
    for given in units:
        url, unit = _pair("--restart-unit", given)
        found[url] = systemd_unit(unit)
    for given in containers:
        url, name = _pair("--restart-container", given)
        found[url] = container(name)
    return found


def _pair(option: str, given: str) -> tuple[str, str]:
    url, equals, what = given.partition("=")
    if not equals or not url.strip() or not what.strip():
        raise BadInputError(f"{option} {given!r}: write it as URL=WHAT, such as http://gpu1:8188=x")
    return url.strip(), what.strip()
