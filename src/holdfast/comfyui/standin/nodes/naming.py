"""Where a save node writes: folders, prefixes and counters as on a real server.

``PREFIX_00001_.png``: the counter is one more than the highest in that folder
for that prefix, read when the node runs, so it survives restarts. Prefixes may
name subfolders but not leave the output folder.

A real server fills in ``%width%``, ``%height%`` and ``%year%`` to ``%second%``;
its web page fills in ``%date:...%`` and ``%Node.input%`` before sending. Here
both are done, so that a template sent as it was written gives readable names.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from holdfast.comfyui.standin.node import NodeError

_CLOCK: Final = {
    "year": "%Y",
    "month": "%m",
    "day": "%d",
    "hour": "%H",
    "minute": "%M",
    "second": "%S",
}
_DATE_PARTS: Final = {
    "yyyy": "%Y",
    "yy": "%y",
    "MM": "%m",
    "dd": "%d",
    "hh": "%H",
    "mm": "%M",
    "ss": "%S",
}
_UNFIT: Final = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')


@dataclass(frozen=True, slots=True)
class SavePlace:
    """A folder, and what the next file there is called."""

    folder: Path
    subfolder: str
    """Relative to the output folder, ``""`` for itself; part of what clients are told."""
    name: str
    counter: int

    def file(self, index: int, suffix: str) -> str:
        """Name the `index`-th file (from 0) of this save."""
        stem = self.name.replace("%batch_num%", str(index))
        return f"{stem}_{self.counter + index:05}_{suffix}"


def save_place(
    root: Path, prefix: str, *, width: int, height: int, prompt: Mapping[str, Any]
) -> SavePlace:
    """Find where files with `prefix` go below `root`, making the folder if it is missing.

    Raises:
        NodeError: the prefix leads out of `root`.
        OSError: the folder cannot be made or read.
    """
    path = os.path.normpath(_filled(prefix, width=width, height=height, prompt=prompt))
    subfolder, name = os.path.split(path)
    top = os.path.abspath(root)  # noqa: PTH100 - without following links, as a real server does
    folder = os.path.abspath(os.path.join(top, subfolder))  # noqa: PTH100, PTH118 - likewise
    if os.path.commonpath((top, folder)) != top:
        raise NodeError(
            "Exception",
            "**** ERROR: Saving image outside the output folder is not allowed."
            f"\n full_output_folder: {folder}\n         output_dir: {top}"
            f"\n         commonpath: {os.path.commonpath((top, folder))}",
        )
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    return SavePlace(place, subfolder, name, _next_counter(place, name))


def _next_counter(folder: Path, name: str) -> int:
    start = f"{name}_"
    highest = 0
    for file in folder.iterdir():
        if file.name.startswith(start):
            digits = file.name[len(start) :].split("_")[0]
            highest = max(highest, int(digits) if digits.isdecimal() else 0)
    return highest + 1


def _filled(prefix: str, *, width: int, height: int, prompt: Mapping[str, Any]) -> str:
    now = time.localtime()
    known = {"width": str(width), "height": str(height)}
    known |= {word: time.strftime(code, now) for word, code in _CLOCK.items()}

    def fill(token: re.Match[str]) -> str:
        word = token[1]
        if word in known:
            return known[word]
        if word.startswith("date:"):
            pattern = "|".join(_DATE_PARTS)
            return re.sub(
                pattern,
                lambda part: time.strftime(_DATE_PARTS[part[0]], now),
                word.removeprefix("date:"),
            )
        node, dot, name = word.rpartition(".")
        value = _input_of(prompt, node, name) if dot else None
        return token[0] if value is None else _UNFIT.sub("_", str(value))

    return re.sub(r"%([^%]+)%", fill, prefix)


def _input_of(prompt: Mapping[str, Any], node: str, name: str) -> object | None:
    """Find a literal input of the node with this title, class or id."""
    for node_id, entry in prompt.items():
        titles = {node_id, entry.get("class_type"), entry.get("_meta", {}).get("title")}
        value = entry.get("inputs", {}).get(name)
        if node in titles and isinstance(value, str | int | float):
            return value
    return None
