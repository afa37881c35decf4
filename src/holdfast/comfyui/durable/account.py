"""How a run went, as the store keeps it: the outcome, the files, one line, and the story. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.comfyui import events
from holdfast.comfyui.failures import ComfyUIError, Failure, clip
from holdfast.comfyui.outputs import safe_name
from holdfast.comfyui.result import Attempt, OutputFile, RunResult
from holdfast.stores.jobs import FILE_KEY, NewFile

_LISTED = 1_000
"""Attempts of an account, at most."""


def delivered(result: RunResult) -> tuple[dict[str, Any], list[NewFile], str]:
    """Outcome, files and summary of a job that was delivered."""
    files = [_file(each) for each in result.files]
    outcome = {
        "status": "delivered",
        "server": result.server,
        "seconds": round(result.seconds, 3),
        "attempts": _attempts(result.attempts),
        "degradations": list(result.degradations),
        "notes": list(result.notes),
        "outputs": _outputs(result.outputs, result.files),
        "names": [each.filename for each in result.files],
    }
    words = f"{len(files)} file{'s' * (len(files) != 1)} from {result.server}"
    if len(result.attempts) > 1:
        words += f", {len(result.attempts)} attempts"
    if result.degradations:
        words += f"; changed: {'; '.join(result.degradations)}"
    return outcome, files, words


def failed(error: ComfyUIError, seconds: float) -> tuple[dict[str, Any], str]:
    """Outcome and summary of a job that failed."""
    outcome = {
        "status": "failed",
        "server": error.failure.server or "",
        "seconds": round(seconds, 3),
        "attempts": _attempts(error.attempts),
        "failure": _failure(error.failure),
    }
    return outcome, error.failure.message


def refused(kind: str, message: str) -> tuple[dict[str, Any], str]:
    """Outcome and summary of a job that no server ever saw."""
    words = clip(message)
    failure = {"kind": kind, "message": words}
    return {"status": "failed", "attempts": [], "failure": failure}, words


def line_of(event: events.Event) -> tuple[str, dict[str, Any]] | None:
    """What an event adds to a job's story; None for what is only of the moment."""
    match event:
        case events.AttemptStarted():
            kind = "joined" if event.joined else "attempt"
            return kind, {"server": event.server, "number": event.number}
        case events.AttemptFailed():
            told = _failure(event.failure)
            del told["traceback"]
            return "failed_attempt", {
                **told,
                "server": event.server,
                "number": event.number,
                "recovery": event.recovery,
            }
        case events.HedgeStarted():
            return "hedged", {
                "slow_server": event.slow_server,
                "server": event.server,
                "seconds": event.seconds,
                "usual": event.usual,
            }
        case events.Withdrawn():
            return "withdrawn", {"server": event.server, "words": event.words}
        case _:
            return None


def _file(file: OutputFile) -> NewFile:
    return NewFile(
        file.node_id[:200],
        _plain_name(file.server_name, file.filename),
        file.sha256,
        file.size,
        file.media_type,
        _inside(file.subfolder),
        "temp" if file.kind == "temp" else "output",
        file.width,
        file.height,
        file.suspect,
    )


def _plain_name(server_name: str, own: str) -> str:
    """What the server called it, if that is a name and nothing more."""
    stem, dot, suffix = server_name.rpartition(".")
    if (
        not dot
        or not stem
        or any(each in server_name for each in "/\\\x00")
        or stem.startswith(".")
    ):
        return own
    if _is_plain(stem) and _is_plain(suffix, 10):
        return server_name
    return f"{safe_name(stem, 150)}.{safe_name(suffix, 10)}"


def _is_plain(part: str, most: int = 150) -> bool:
    return part.isprintable() and len(part) <= most


def _inside(subfolder: str) -> str:
    parts = [each for each in subfolder.replace("\\", "/").split("/") if each not in ("", ".")]
    if ".." in parts or any(":" in each for each in parts):
        return ""
    return "/".join(parts)[:400]


def _outputs(raw: Mapping[str, Any], files: Sequence[OutputFile]) -> dict[str, Any]:
    """What the nodes showed, with a mark where the store is to put the name of a file of ours."""
    shown: dict[str, dict[str, Any]] = {}
    for node, lists in raw.items():
        if isinstance(lists, dict):
            shown[str(node)] = {str(name): _without_files(listed) for name, listed in lists.items()}
    for index, file in enumerate(files):
        listed = shown.setdefault(file.node_id, {}).setdefault(file.list_name, [])
        if isinstance(listed, list):
            listed.append({**_details(raw, file), FILE_KEY: index})
    return shown


def _without_files(listed: Any) -> Any:
    if not isinstance(listed, list):
        return listed
    return [each for each in listed if not _is_ours(each)]


def _is_ours(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and isinstance(item.get("filename"), str)
        and item.get("type", "output") in ("output", "temp")
    )


def _details(raw: Mapping[str, Any], file: OutputFile) -> dict[str, Any]:
    """What the server said of the file besides its name, such as a video's frame rate."""
    node = raw.get(file.node_id)
    listed = node.get(file.list_name) if isinstance(node, dict) else None
    for item in listed if isinstance(listed, list) else []:
        if isinstance(item, dict) and item.get("filename") == file.server_name:
            names = {"filename", "subfolder", "type", "fullpath"}
            return {key: value for key, value in item.items() if key not in names}
    return {}


def _attempts(attempts: Sequence[Attempt]) -> list[dict[str, Any]]:
    return [
        {
            "number": each.number,
            "server": each.server,
            "seconds": round(each.seconds, 3),
            "error": "" if each.failure is None else each.failure.message,
            "kind": "" if each.failure is None else each.failure.kind.value,
            "recovery": each.recovery,
            "made": each.made,
        }
        for each in attempts[:_LISTED]
    ]


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "kind": failure.kind.value,
        "message": failure.message,
        "node_id": failure.node_id,
        "node_type": failure.node_type,
        "category": failure.category.value,
        "exception_type": failure.exception_type,
        "traceback": failure.traceback.splitlines(keepends=True),
    }
