"""What the page does to texts when it sends them.

It takes comments out of prompts, picks one of ``{day|night}``, and fills
``%KSampler.seed%`` into file names. It picks by chance; here it is always the
first, so that the same file gives the same picture. Dates are left alone,
because they belong to the moment of sending.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_COMMENT = re.compile(r"/\*[\s\S]*?\*/|//[^\n\r\u2028\u2029]*")
_ESCAPED = re.compile(r"\\([{}|])")
_FIELD = re.compile(r"%([^%]+)%")
_NOT_IN_FILE_NAMES = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')


def resolved_prompt(text: str) -> str:
    """A prompt without comments, and of each choice the first."""
    text = _COMMENT.sub("", text)
    kept: list[str] = []
    open_choices: list[bool] = []
    wanted = True
    at = 0
    while at < len(text):
        letter = text[at]
        at += 1
        if letter == "\\":
            letter += text[at : at + 1]
            at += 1
        elif letter == "{":
            open_choices.append(wanted)
            continue
        elif letter == "}" and open_choices:
            wanted = open_choices.pop()
            continue
        elif letter == "|" and open_choices:
            wanted = False
            continue
        if wanted:
            kept.append(letter)
    return _ESCAPED.sub(r"\1", "".join(kept))


def filled_in(text: str, lookup: Callable[[str, str], str | None]) -> str:
    """A file name with ``%node.widget%`` replaced.

    Args:
        text: as it stands in the node.
        lookup: told a node's name and a widget's, says what is in there, or None.
    """

    def value(match: re.Match[str]) -> str:
        parts = match[1].split(".")
        found = lookup(*parts) if len(parts) == 2 and not parts[0].startswith("date:") else None
        return match[0] if found is None else _NOT_IN_FILE_NAMES.sub("_", found)

    return _FIELD.sub(value, text)
