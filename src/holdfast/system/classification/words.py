"""Any text as one line of plain words, so that one phrase finds all spellings.

``CUDA_ERROR_OUT_OF_MEMORY``, ``OutOfMemoryError`` and ``out-of-memory`` all come out with the words
``out of memory``. A phrase is looked for between spaces, so it never matches inside of a word.
"""

from __future__ import annotations

import re

HEAD = 6_000
"""Characters read from the start of a message."""
TAIL = 3_000
"""Characters read from its end; what lies between is not looked at."""

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W_]+")
_FRAME = re.compile(r'^[ \t]{0,20}File "[^"\n]{0,400}", line \d{1,7}[^\n]{0,200}\n?', re.MULTILINE)
_TELLING = ("validate_prompt", "validate_inputs")
"""Functions whose part in a failure says whose fault it is."""
_SPELLINGS = (
    (" web socket", " websocket"),
    (" time out", " timeout"),
    (" couldn t ", " could not "),
    (" can t ", " cannot "),
    (" can not ", " cannot "),
    (" doesn t ", " does not "),
    (" isn t ", " is not "),
    (" don t ", " do not "),
    (" filesystem", " file system"),
    (" u net ", " unet "),
    (" safe tensors", " safetensors"),
)


def clipped(text: str) -> str:
    """``text`` itself if it is short, else its head and its tail."""
    if len(text) <= HEAD + TAIL:
        return text
    return f"{text[:HEAD]}\n{text[-TAIL:]}"


def words(text: str) -> str:
    """``text`` as lower-case words with one space before, between and after them."""
    found = _WORD.findall(_HUMP.sub(" ", text).lower())
    return respelt(f" {' '.join(found)} ")


def respelt(line: str) -> str:
    """A line of words with one spelling for what is written in several ways."""
    for spelling, usual in _SPELLINGS:
        if spelling in line:
            line = line.replace(spelling, usual)
    return line


def _frame(match: re.Match[str]) -> str:
    line = match.group()
    return next((f"{name}\n" for name in _TELLING if name in line), "")


def without_frames(text: str) -> str:
    """``text`` without the lines of a traceback that name files, which say nothing of the cause."""
    return _FRAME.sub(_frame, text) if 'File "' in text else text
