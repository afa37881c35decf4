"""What the page does to texts when it sends them.

It takes comments out of prompts, picks one of ``{day|night}``, and fills
``%KSampler.seed%`` into file names. It picks by chance; here it is always the
first, so that the same file gives the same picture. Dates are left alone,
because they belong to the moment of sending.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_COMMENT = re.compile(r"/\*|//[^\n\r\u2028\u2029]*")
_MARK = re.compile(r"\\[\s\S]?|[{}|]")
_ESCAPED = re.compile(r"\\([{}|])")
_FIELD = re.compile(r"%([^%]+)%")
_MAX_NAME = 4_000
"""A file name longer than this is no file name, and is left as it is; so is what is put in."""

_NOT_IN_FILE_NAMES = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')


def resolved_prompt(text: str) -> str:
    """A prompt without comments, and of each choice the first."""
    text = _without_comments(text)
    kept: list[str] = []
    open_choices: list[bool] = []
    wanted = True
    at = 0
    for match in _MARK.finditer(text):
        if wanted:
            kept.append(text[at : match.start()])
        at = match.end()
        mark = match[0]
        if mark == "{":
            open_choices.append(wanted)
        elif mark == "}" and open_choices:
            wanted = open_choices.pop()
        elif mark == "|" and open_choices:
            wanted = False
        elif wanted:
            kept.append(mark)
    if wanted:
        kept.append(text[at:])
    return _ESCAPED.sub(r"\1", "".join(kept))


def _without_comments(text: str) -> str:
    kept: list[str] = []
    at = 0
    # Once a block has no end, no later one has, and looking again each time would take long.
    ends = True
    for match in _COMMENT.finditer(text):
        start, end = match.span()
        if start < at:
            continue
        if match[0] == "/*":
            end = text.find("*/", end) + 2 if ends else 1
            if end == 1:
                ends = False
                continue
        kept.append(text[at:start])
        at = end
    kept.append(text[at:])
    return "".join(kept)


def filled_in(text: str, lookup: Callable[[str, str], str | None]) -> str:
    """A file name with ``%node.widget%`` replaced.

    Args:
        text: as it stands in the node.
        lookup: told a node's name and a widget's, says what is in there, or None.
    """

    def value(match: re.Match[str]) -> str:
        parts = match[1].split(".")
        found = lookup(*parts) if len(parts) == 2 and not parts[0].startswith("date:") else None
        if found is None or len(found) > _MAX_NAME:
            return match[0]
        return _NOT_IN_FILE_NAMES.sub("_", found)

    return _FIELD.sub(value, text) if len(text) <= _MAX_NAME else text
