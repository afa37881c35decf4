"""A job's story in words: each event of it as one step of a timeline.

Events are written by others and by later versions; what is not known here is told as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from holdfast.apps.dashboard.phrases import cut, duration, plural
from holdfast.apps.dashboard.sources import StoryStep, Tone

LONGEST = 600
"""Characters of one step."""
_Teller = Callable[[Mapping[str, Any]], tuple[str, str]]


def step_of(at: float, kind: str, data: Mapping[str, Any]) -> StoryStep:
    """One event as a step."""
    known = _KINDS.get(kind)
    if known is None:
        return StoryStep(at, cut(kind.replace("_", " ").capitalize(), 80), rest(data), "circle",
                         Tone.PLAIN)  # fmt: skip
    tell, icon, tone = known
    title, words = tell(data)
    return StoryStep(at, cut(title, 160), cut(words, LONGEST), icon, tone)


def rest(data: Mapping[str, Any], told: Iterable[str] = ()) -> str:
    """What an event says beside what was told: ``size: 3, who: "x"``."""
    left = {str(key): value for key, value in data.items() if key not in set(told)}
    words = (
        f"{key}: {value if isinstance(value, str) else _as_json(value)}"
        for key, value in left.items()
        if value not in (None, "", [], {})
    )
    return cut(", ".join(words), LONGEST)


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value)[: 2 * LONGEST]
    except (TypeError, ValueError, RecursionError):
        return str(type(value).__name__)


def _text(data: Mapping[str, Any], *names: str) -> str:
    """The first of these that the event has, as text."""
    for name in names:
        value = data.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, list) and value:
            return "; ".join(str(each)[:200] for each in value[:20])
    return ""


def _seconds(data: Mapping[str, Any]) -> str:
    value = data.get("seconds")
    return duration(float(value)) if isinstance(value, int | float) else ""


def _accepted(data: Mapping[str, Any]) -> tuple[str, str]:
    return "Accepted, and on disk", rest(data, ("name",))


def _claimed(data: Mapping[str, Any]) -> tuple[str, str]:
    worker = _text(data, "worker", "by")
    return "Taken up" + (f" by {worker}" if worker else ""), rest(data, ("worker", "by", "fence"))


def _attempt(data: Mapping[str, Any]) -> tuple[str, str]:
    number, server = _text(data, "number", "attempt"), _text(data, "server")
    title = f"Attempt {number}".strip() + (f" on {server}" if server else "")
    return title, rest(data, ("number", "attempt", "server"))


def _failed_attempt(data: Mapping[str, Any]) -> tuple[str, str]:
    number, server = _text(data, "number", "attempt"), _text(data, "server")
    title = f"Attempt {number} failed".replace("  ", " ") + (f" on {server}" if server else "")
    return title, _text(data, "error", "message", "failure", "kind") or rest(data)


def _recovery(data: Mapping[str, Any]) -> tuple[str, str]:
    words = _text(data, "recovery", "words", "what", "action", "strategy")
    return "Recovery", words or rest(data)


def _degraded(data: Mapping[str, Any]) -> tuple[str, str]:
    words = _text(data, "degradations", "degradation", "words", "what", "change")
    return "Changed, to get a result", words or rest(data)


def _joined(data: Mapping[str, Any]) -> tuple[str, str]:
    server = _text(data, "server")
    where = f" on {server}" if server else ""
    return f"Found again{where}, and joined", rest(data, ("server", "number"))


def _node(data: Mapping[str, Any]) -> tuple[str, str]:
    kind = _text(data, "node_type", "class_type", "node", "node_id")
    return f"Node {kind}".strip(), rest(data, ("node_type", "class_type"))


def _delivered(data: Mapping[str, Any]) -> tuple[str, str]:
    files, took, server = data.get("files"), _seconds(data), _text(data, "server")
    count = len(files) if isinstance(files, list) else files
    parts = [
        plural(count, "file") if isinstance(count, int) else "",
        f"from {server}" if server else "",
        f"after {took}" if took else "",
    ]
    return "Delivered", " ".join(part for part in parts if part) or _text(data, "summary")


def _failed(data: Mapping[str, Any]) -> tuple[str, str]:
    return "Failed", _text(data, "summary", "message", "error", "kind") or rest(data)


def _cancelled(data: Mapping[str, Any]) -> tuple[str, str]:
    return "Cancelled", rest(data)


def _cancel_asked(data: Mapping[str, Any]) -> tuple[str, str]:
    return "Its end was asked for", rest(data)


def _submitted(data: Mapping[str, Any]) -> tuple[str, str]:
    server = _text(data, "server")
    changed = "with a changed workflow" if data.get("changed") is True else ""
    return "Sent" + (f" to {server}" if server else ""), changed


def _released(data: Mapping[str, Any]) -> tuple[str, str]:
    return "Given back by its worker", _text(data, "why") or rest(data)


def _priority(data: Mapping[str, Any]) -> tuple[str, str]:
    return f"Priority is now {_text(data, 'priority')}", ""


def _retried(data: Mapping[str, Any]) -> tuple[str, str]:
    late = "its deadline has passed, and counts no more" if data.get("deadline_dropped") else ""
    return "Queued again", late or rest(data, ("deadline_dropped",))


_KINDS: dict[str, tuple[_Teller, str, Tone]] = {
    "accepted": (_accepted, "inventory_2", Tone.PLAIN),
    "claimed": (_claimed, "engineering", Tone.BUSY),
    "attempt": (_attempt, "play_arrow", Tone.BUSY),
    "node": (_node, "account_tree", Tone.PLAIN),
    "joined": (_joined, "link", Tone.BUSY),
    "failed_attempt": (_failed_attempt, "warning", Tone.WARN),
    "recovery": (_recovery, "healing", Tone.BUSY),
    "degraded": (_degraded, "tune", Tone.WARN),
    "delivered": (_delivered, "check", Tone.GOOD),
    "failed": (_failed, "close", Tone.BAD),
    "cancelled": (_cancelled, "block", Tone.PLAIN),
    "cancel_asked": (_cancel_asked, "back_hand", Tone.WARN),
    "submitted": (_submitted, "send", Tone.BUSY),
    "released": (_released, "undo", Tone.WARN),
    "priority": (_priority, "low_priority", Tone.PLAIN),
    "retried": (_retried, "replay", Tone.BUSY),
}
