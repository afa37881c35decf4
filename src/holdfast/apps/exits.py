"""Exit codes, and how an error becomes one line on standard error."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What the `holdfast` commands exit with. Documented in docs/cli.md."""

    OK = 0
    """Everything asked for was done: all jobs delivered, the server is well."""
    SOME_FAILED = 1
    """At least one job failed, or the doctor found something wrong. The rest was delivered.
    Of `workflow diff`: the two differ."""
    BAD_INPUT = 2
    """What was given cannot work: a file, an option, a folder, an address. Of `workflow check`: a
    server would refuse the workflow or a part of it."""
    NO_SERVER = 3
    """No server could be reached, or none of them is ComfyUI."""
    MISSING_NODES = 3
    """The workflow needs node classes that the server does not have."""
    BUG = 70
    """An error of Holdfast's own; the only case with a traceback."""
    INTERRUPTED = 130
    """Stopped with Ctrl-C."""
