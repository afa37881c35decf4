"""Which requests are let through at all, and what each needs. Pure: a method and a path decide.

Two readings of one path are what attacks are made of, so there is only one here: a path is decoded
once, and what would read differently if decoded again, or walks up, or hides a separator, is
refused. What is passed on is written anew from that one reading (`Judgement.forward`).

What is never passed on, whoever asks: installing custom nodes or packages, which is running
anybody's code on the servers, and files of a node manager among the user data, which is how its own
safety is switched off.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from holdfast.comfyui.gateway.caller import Scope

MOST_PATH = 4_096
"""Bytes of a path, at most."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
READING = frozenset({"GET", "HEAD", "OPTIONS"})

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\\\\\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_ENCODED = re.compile("%[0-9A-Fa-f]{2}")
_WHOLE_NAMES = frozenset({"userdata", "assets", "view_metadata"})
"""Below these a name may contain a slash, which clients send encoded."""
_MANAGERS = frozenset(
    {
        "manager",
        "customnode",
        "comfyui_manager",
        "comfyui-manager",
        "snapshot",
        "externalmodel",
        "model_manager",
        "model-manager",
        "custom_nodes",
    }
)
_CHANGING = re.compile(
    r"install|update|reboot|restart|restore|remove|save|fix|toggle|import|git|pip"
)
"""What node managers do, in old versions also when merely read."""
_FETCHING = re.compile(
    r"download|install|upgrade|reboot|restart|shutdown|terminal"
    r"|(?:^|[^a-z])(?:git|pip|exec|eval|shell|civitai)(?:[^a-z]|$)"
)
"""Words in the paths of custom nodes that fetch files or run commands."""
_PLAIN = frozenset(
    {
        *("assets", "docs", "extensions", "fonts", "global_subgraphs", "history", "i18n", "lib"),
        *("object_info", "prompt", "queue", "scripts", "settings", "templates", "userdata", "view"),
        *("workflow_templates", "workflows"),
    }
)
"""Where such a word is only part of a name."""
_FOR_ADMINS = _MANAGERS | {"internal", "free"}
_CHANGES = {
    "queue": Scope.CANCEL,
    "history": Scope.CANCEL,
    "interrupt": Scope.CANCEL,
    "users": Scope.ADMIN,
    "models": Scope.ADMIN,
    "experiment": Scope.ADMIN,
}
"""What changing something needs; elsewhere it is `Scope.RUN`."""
_SEEING = re.compile(
    r"view|show|preview|video|audio|image|picture|photo|galler|thumb|output|browse|file|media|path"
)
"""Words in the paths of custom nodes that show what lies on a server, whoever made it."""
_SHOWN = _PLAIN - {"assets"} | {
    *("holdfast", "models", "experiment", "embeddings", "upload", "view_metadata"),
}
"""Where such a word shows nobody's pictures."""
_PAGE_FILE = re.compile(r"\.[a-z0-9]{1,8}$")
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")
_OWN = frozenset({"prompt", "queue", "history", "interrupt", "free", "jobs", "ws"})
_OPEN = frozenset({"holdfast/health"})
_GUARDED_FILES = re.compile(
    r"(?:^|/)(?:__manager|comfyui[-_]manager)[. ]*(?:/|$)"
    r"|\.(?:ini|py|pyc|pth|sh|bat|cmd|exe|so|dll)[. ]*$|:|~[0-9]"
)
"""Files that decide what a server runs, also by the other names that Windows has for them."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to become of a request, as far as its method and path decide."""

    allowed: bool
    status: int = 200
    """What to answer if it is not allowed."""
    reason: str = ""
    path: str = "/"
    """The one reading: decoded, without doubled slashes."""
    forward: str = "/"
    """The same, encoded anew, for another server."""
    need: Scope | None = Scope.ADMIN
    """The scope it takes; None: open to all."""
    own: bool = False
    """Whether the gateway has to answer it itself: passed on, it would act on everybody's jobs."""
    why: str = ""
    """Why it takes that scope, where it may surprise."""


def judge(method: str, raw_path: bytes | str) -> Judgement:
    """Judge a request.

    Args:
        method: as it was sent.
        raw_path: the path as it was sent, encoded, without its query.
    """
    if method not in METHODS:
        return Judgement(False, 405, "the method is not known here")
    read = read_path(raw_path)
    if isinstance(read, str):
        return Judgement(False, 400, read)
    segments = read
    path = "/" + "/".join(segments)
    forward = "/" + "/".join(quote(one, safe="-._~!$&'()*+,;=:@") for one in segments)
    # Case decides nothing here, and neither does what some servers cut off a name.
    names = [one.casefold().split(";")[0].rstrip(". ") for one in segments if one]
    page = names[:1] != ["api"]
    if names[:1] == ["api"]:
        names = names[1:]
    refusal = _refusal(names, [one.casefold() for one in segments], method)
    if refusal:
        return Judgement(False, 403, refusal, path, forward)
    own = bool(names) and names[0] in _OWN
    need = _need(names, method)
    why = "" if need in {None, Scope.ADMIN} else _of_everybody(names, method, page=page)
    return Judgement(True, 200, "", path, forward, Scope.ADMIN if why else need, own, why)


def read_path(raw_path: bytes | str) -> list[str] | str:
    """Decode a path into its segments; a text says why it is refused."""
    raw = raw_path.encode("utf-8", "replace") if isinstance(raw_path, str) else raw_path
    if len(raw) > MOST_PATH:
        return f"the path is longer than {MOST_PATH} bytes"
    if not raw.startswith(b"/") or b"?" in raw or b"#" in raw:
        return "the path must begin with a slash and end before its query"
    segments: list[str] = []
    for part in raw.split(b"/")[1:]:
        try:
            text = unquote_to_bytes(part).decode()
        except UnicodeDecodeError:
            return "the path is no UTF-8"
        refusal = _segment_refusal(text, segments)
        if refusal:
            return refusal
        segments.append(text)
    # `//prompt` is what clients send whose base address ends in a slash.
    kept = [one for one in segments[:-1] if one]
    return [*kept, segments[-1]]


def _segment_refusal(text: str, before: list[str]) -> str:
    if _UNSAFE.search(text):
        return "the path has control characters or backslashes in it"
    if _ENCODED.search(text):
        return "the path is encoded twice"
    inner = text.split("/")
    if any(one and not one.strip(". ") for one in inner):
        return "the path walks up or stands still"
    if len(inner) > 1 and not (_whole_names(before) and all(inner)):
        return "the path hides a slash"
    return ""


def _whole_names(before: list[str]) -> bool:
    names = [one.casefold() for one in before if one and one.casefold() not in {"api", "v2"}]
    return bool(names) and names[0] in _WHOLE_NAMES


def _refusal(names: list[str], whole: list[str], method: str) -> str:
    below = names[1:] if names[:1] == ["v2"] else names
    if not below:
        return ""
    reading = method in READING
    if below[0] in _MANAGERS and not (
        reading and not any(_CHANGING.search(one) for one in below[1:])
    ):
        return "changing custom nodes is not passed on"
    # Each name by itself, for a move has two, and all together, for a folder may be spelled with
    # plain slashes.
    if (
        below[0] == "userdata"
        and not reading
        and any(_GUARDED_FILES.search(one) for one in (*whole, "/".join(whole)))
    ):
        return "this file decides what servers run, and is not written through the gateway"
    return ""


def _of_everybody(names: list[str], method: str, *, page: bool) -> str:
    """Why a request would reach what belongs to other users; nothing if it does not.

    A server knows no users, or other ones than we do: what it is asked for there is everybody's.
    """
    below = names[1:] if names[:1] == ["v2"] else names
    first = below[0] if below else ""
    if first == "assets":
        # The page's own scripts and styles lie under the same name.
        if page and method in READING and _is_page_file(below):
            return ""
        return "the server's assets are those of all its users"
    if first not in _SHOWN and any(_SEEING.search(one) for one in below):
        return "this path may show files of other users; use /view for your own"
    return ""


def _is_page_file(below: list[str]) -> bool:
    return (
        len(below) > 1
        and _PAGE_FILE.search(below[-1]) is not None
        and not _UUID.fullmatch(below[1])
    )


def _need_of_ours(names: list[str], method: str) -> Scope:
    """Of Holdfast's own interface, which looks again, route by route; else of the dashboard."""
    if names[:1] != ["api"]:
        return Scope.DASHBOARD
    if method in READING:
        return Scope.VIEW
    if names[1:2] == ["jobs"] and names[-1] != "priority":
        return Scope.CANCEL if names[-1] == "cancel" else Scope.RUN
    return Scope.ADMIN


def _need(names: list[str], method: str) -> Scope | None:
    if "/".join(names) in _OPEN and method in READING:
        return None
    below = names[1:] if names[:1] == ["v2"] else names
    first = below[0] if below else ""
    if first == "holdfast":
        return _need_of_ours(names[1:], method)
    if first in _FOR_ADMINS or (
        first not in _PLAIN and any(_FETCHING.search(one) for one in below)
    ):
        return Scope.ADMIN
    if method in READING:
        return Scope.VIEW
    if first == "jobs" and "cancel" in below:
        return Scope.CANCEL
    return _CHANGES.get(first, Scope.RUN)
