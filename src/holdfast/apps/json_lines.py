"""A run told to programs: one JSON object a line."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from holdfast.apps.account import Account
from holdfast.comfyui import Failure, RunResult, events
from holdfast.text import printable

if TYPE_CHECKING:
    from holdfast.apps.screen import Asked


class JsonLines:
    """One JSON object a line, for programs."""

    _quiet = False

    def running(self) -> AbstractContextManager[object]:
        """Nothing is drawn, so there is nothing to begin or to end."""
        return nullcontext()

    def show(self, event: object) -> None:
        """Print the event under its name."""
        if isinstance(event, events.PreviewReceived):
            return
        assert dataclasses.is_dataclass(event)  # noqa: S101 - all events are
        name = type(event).__name__
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
        fields = {f.name: to_json(getattr(event, f.name)) for f in dataclasses.fields(event)}
        self._print({"event": snake, **fields})

    def say(self, text: str) -> None:
        """Print a remark."""
        self._print({"event": "remark", "text": text})

    def warn(self, text: str) -> None:
        """Print a problem, and say it on standard error too."""
        self._print({"event": "warning", "text": text})
        error_line(text)

    def account(self, account: Account, order: Asked) -> None:
        """Print the summary, the last line."""
        self._print(
            {
                "event": "summary",
                "jobs": order.total,
                "delivered": len(account.delivered),
                "failed": {job: to_json(failure) for job, failure in account.failed.items()},
                "files": account.files,
                "output": str(order.output),
                "retried": {job: len(found) for job, found in account.mended.items()},
                "left_behind": [
                    {"job": job, "server": server, "why": why}
                    for job, server, why in account.left_behind
                ],
            }
        )

    def _print(self, value: Mapping[str, Any]) -> None:
        if self._quiet:
            return
        try:
            sys.stdout.write(json.dumps(value) + "\n")
            sys.stdout.flush()
        except OSError:
            self._quiet = True  # nobody reads any more; the jobs go on


def to_json(value: Any) -> Any:
    """A value of an event as JSON knows it; file contents are left out."""
    if isinstance(value, RunResult):
        return {
            "prompt_id": value.prompt_id,
            "server": value.server,
            "seconds": round(value.seconds, 3),
            "files": [
                {
                    "path": str(each.path),
                    "node_id": each.node_id,
                    "media_type": each.media_type,
                    "bytes": each.size,
                    "sha256": each.sha256,
                    "width": each.width,
                    "height": each.height,
                }
                for each in value.files
            ],
            "attempts": [
                {
                    "number": each.number,
                    "server": each.server,
                    "seconds": round(each.seconds, 3),
                    "failure": to_json(each.failure),
                    "recovery": each.recovery,
                }
                for each in value.attempts
            ],
            "degradations": list(value.degradations),
            "notes": list(value.notes),
        }
    if isinstance(value, Failure):
        return {
            "kind": value.kind.value,
            "category": value.category.value,
            "message": value.message,
            "server": value.server,
            "node_id": value.node_id,
            "node_type": value.node_type,
            "exception_type": value.exception_type,
            "problems": [problem.words for problem in value.problems],
        }
    if isinstance(value, float) and value == float("inf"):
        return None
    return value


def error_line(text: str) -> None:
    """A problem as one line on standard error."""
    sys.stderr.write(f"holdfast: {' '.join(printable(text).split())}\n")
    sys.stderr.flush()
