"""Answers as a Markdown table and the reasons below it."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence

from benchmarks.gates.catalogue import Gate
from benchmarks.gates.contract import Result, Status

MARKS = {Status.PASSED: "yes", Status.FAILED: "**no**", Status.NOT_APPLICABLE: ""}

Answers = Mapping[tuple[str, str], Result]
"""Gate key and peer name to the answer."""


def markdown(gates: Sequence[Gate], versions: Mapping[str, str], answers: Answers) -> str:
    """The table: gates down, peers across, and what was seen for every `no`."""
    peers = list(versions)
    lines = [
        f"Measured on CPython {platform.python_version()}. Empty: the library has nothing to ask.",
        "",
        _row("", *(f"{peer} {versions[peer]}" for peer in peers)),
        _row("---", *(":-:" for _ in peers)),
    ]
    for gate in gates:
        marks = (MARKS[answers[gate.key, peer].status] for peer in peers)
        lines.append(_row(f"{gate.key}. {gate.title}", *marks))
    lines += [_row("", *(_score(answers, gates, peer) for peer in peers)), ""]
    for gate in gates:
        lines.append(f"**{gate.key}. {gate.title}**")
        lines.append("")
        lines += [
            f"- {peer}: {MARKS[result.status]}, {result.detail}"
            for peer in peers
            if (result := answers[gate.key, peer]).status is not Status.NOT_APPLICABLE
        ]
        lines.append("")
    return "\n".join(lines)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _score(answers: Answers, gates: Sequence[Gate], peer: str) -> str:
    asked = [answers[gate.key, peer].status for gate in gates]
    passed = asked.count(Status.PASSED)
    return f"{passed} of {passed + asked.count(Status.FAILED)}"
