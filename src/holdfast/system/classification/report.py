"""What an error says, read into one line of words and marks that rules are put to.

Reading never raises and never takes long: a message is looked at up to its first and last few
thousand characters, and whatever an exception's own code does when it is asked, a fault in it
only means that less is known.
"""

from __future__ import annotations

import builtins
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from holdfast.system.classification import codes
from holdfast.system.classification.words import clipped, without_frames, words

_BUILTIN = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, BaseException)
}
_PLAIN = frozenset({"object", "BaseException"})
_TYPE_IN_TEXT = re.compile(
    r"^(?:\[rank\d{1,4}\]: ?)?((?:[A-Za-z_]\w{0,60}\.){0,6}"
    r"[A-Za-z_]\w{0,60}(?:Error|Exception|Warning|Interrupt|Exit)): ?",
    re.MULTILINE,
)
_TYPE_NAMED = re.compile(r"\berror type: ([A-Za-z_]\w{0,60})")
_NODE_IN_TEXT = re.compile(
    r"\berror occurred when executing ([^\n:]{1,80}):"
    r"|^ {0,4}\* ([^\n:]{1,80}?) \d{1,9}(?::\d{1,9}){0,4}:"
    r"|\"(?:node_type|class_type)\": ?\"([^\"\n]{1,80})\"",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Report:
    """One error, ready for the rules."""

    words: str
    """The message as a line of words, then the marks."""
    text: str
    """The message in lower case, its middle left out if it is long."""
    node: str
    """The node's type, or empty."""
    http: int | None
    """The HTTP status that came with the error or stands in its text."""

    def says(self, *phrases: str) -> bool:
        """Whether one of the lines of words is there, as `words` would write them."""
        return any(f" {one} " in self.words for one in phrases)


_classes: dict[type[BaseException], str] = {}
_CLASSES = 1_024


def class_marks(kind: type[BaseException]) -> str:
    """The marks of a class: names of itself and its bases, and of the packages they come from."""
    found = _classes.get(kind)
    if found is None:
        if len(_classes) >= _CLASSES:
            _classes.clear()
        found = _classes[kind] = _class_marks(kind)
    return found


def _class_marks(kind: type[BaseException]) -> str:
    marks: list[str] = []
    for base in kind.__mro__:
        name, module = base.__name__, base.__module__
        if name in _PLAIN or not isinstance(module, str):
            continue
        marks.append(f"@{name.lower()}")
        if module != "builtins":
            marks.append(f"@from:{module.partition('.')[0].lower()}")
    return "".join(f"{mark} " for mark in dict.fromkeys(marks))


@lru_cache(maxsize=1024)
def name_marks(name: str) -> str:
    """The marks of a class of which only the name is known, with or without its module."""
    if " " in name.strip():
        return ""
    parts = [part for part in re.split(r"[.:/]+", name) if part]
    if not parts:
        return ""
    kind = _BUILTIN.get(parts[-1])
    marks = class_marks(kind) if kind else f"@{parts[-1].lower()} @exception "
    return marks + (f"@from:{parts[0].lower()} " if len(parts) > 1 else "")


@lru_cache(maxsize=1024)
def node_marks(node: str) -> str:
    """The marks of a node's type: the whole of it and its words."""
    found = words(node).split()
    whole = "".join(found)
    return "".join(f"%{part} " for part in dict.fromkeys([whole, *found]))


def read(
    names: str, message: str, node: str, http: int | None, extra: str = "", *, frames: bool = False
) -> Report:
    """One line of words and marks out of the parts of an error.

    Args:
        names: the marks of its class.
        message: what it says.
        node: the type of the node that failed, or empty.
        http: the HTTP status, or None.
        extra: marks that came from attributes.
        frames: keep the lines of a traceback that name files.
    """
    text = clipped(message)
    line = words(text if frames else without_frames(text))
    low = text.lower()
    if not node and ("xecuting" in low or "* " in low or "_type" in low):
        match = _NODE_IN_TEXT.search(text)
        if match is not None:
            node = next(group for group in match.groups() if group is not None)
    if "Error" in text or "Exception" in text or "error type" in low:
        found = [match.group(1) for match in _TYPE_IN_TEXT.finditer(text)]
        named = _TYPE_NAMED.search(text)
        if named is not None:
            found.append(named.group(1))
        if found:
            names = name_marks(found[-1]) + names
    if http is None:
        http = codes.http_in(low)
    marks = codes.marks_in(low) + extra + names
    if http is not None:
        marks += codes.http_marks(http)
    if node:
        marks += node_marks(node)
    return Report(words=f"{line}{marks}", text=low, node=node, http=http)


def message_of(error: BaseException) -> str:
    """What an exception says; empty if its own code cannot tell."""
    try:
        text = str(error)
        return text if type(text) is str else str.__str__(text)
    except Exception:  # noqa: BLE001 - whatever an exception's own code does, we go on
        return ""


def _attribute(owner: object, name: str) -> Any:
    try:
        return getattr(owner, name, None)
    except Exception:  # noqa: BLE001 - a property of a stranger
        return None


def _status(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
        return int(value)
    return None


def http_of(error: BaseException) -> int | None:
    """The HTTP status an exception carries, in any of the usual places."""
    for name in ("status_code", "status", "code"):
        found = _status(_attribute(error, name))
        if found is not None:
            return found
    answer = _attribute(error, "response")
    if answer is None:
        return None
    for name in ("status_code", "status"):
        found = _status(_attribute(answer, name))
        if found is not None:
            return found
    if isinstance(answer, dict):  # botocore
        meta = answer.get("ResponseMetadata")
        if isinstance(meta, dict):
            return _status(meta.get("HTTPStatusCode"))
    return None


def marks_of(error: BaseException) -> str:
    """The marks for numbers an exception carries: errno, Windows' error, exit code, gRPC code."""
    marks = ""
    if isinstance(error, OSError):
        for name, mark in (("winerror", "#winerror"), ("errno", "#errno")):
            number = _attribute(error, name)
            if isinstance(number, int) and not isinstance(number, bool) and abs(number) < 1 << 20:
                marks += f"{mark}{number} " if mark == "#winerror" else codes.errno_mark(number)
    code = _attribute(error, "returncode")
    if isinstance(code, int) and not isinstance(code, bool) and abs(code) < 1 << 40:
        marks += codes.exit_mark(code)
    state = _attribute(error, "sqlstate") or _attribute(error, "pgcode")
    if isinstance(state, str) and len(state) == 5 and state.isalnum():
        marks += f"#sql{state.lower()} "
    code = _attribute(error, "code")
    if callable(code) and any("grpc" in kind.__module__ for kind in type(error).__mro__):
        try:
            marks += f"#grpc{str(_attribute(code(), 'name')).lower()} "
        except Exception:  # noqa: BLE001 - as above
            return marks
    return marks
