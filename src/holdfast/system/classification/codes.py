"""Numbers that mean something in any language: HTTP, errno, Windows, exit codes and signals.

Each becomes a mark such as ``#http503``, ``#errno28``, ``#winerror1455`` or ``#exit137``, which
rules ask for like for any other word. Localised texts are understood through them alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_REASONS = (
    "bad request|unauthorized|payment required|forbidden|not found|method not allowed"
    "|request timeout|conflict|payload too large|request entity too large|unsupported media type"
    "|unprocessable|too many requests|internal server error|bad gateway|service unavailable"
    "|service temporarily unavailable|gateway time"
)
_HTTP = re.compile(
    r"\bhttp(?:/[123](?:\.\d)?)?[ :]{1,2}(?:error )?([2-5]\d\d)\b"
    r"|\b(?:handshake |http )?status(?:[ _]?code)?['\")]{0,2} {0,2}[:=]? {0,2}[(<\[]?([2-5]\d\d)\b"
    r"|\b([45]\d\d) (?:client|server) error"
    r"|\berror code:? {0,2}([45]\d\d)\b"
    r"|\bcode['\"] ?[:=] ?['\"]?([45]\d\d)\b"
    rf"|\b([45]\d\d)[ :,-]{{1,3}}(?:{_REASONS})"
    r"|\bstatus (?:client|server) error \(([45]\d\d)"
    r"|\b(?:api )?error[ :]{1,2}([45]\d\d)\b"
    r"|\b(?:response|returned|responded with|received|unexpected status|got)"
    r" (?:http |code |status |error ){0,2}([45]\d\d)\b"
    r"|<response \[([45]\d\d)\]>"
)
_ERRNO = re.compile(
    r"\[errno:? (-?\d{1,5})\]|\berror\((-?\d{1,5}),|\berrno[:= ]{1,2}(-?\d{1,5})\b"
    r"|\((-?\d{1,5}), ['\"]|\berror (-?\d{1,5}) (?:connecting|while|at)\b"
)
_WINERROR = re.compile(
    r"\bwin(?:dows )?error:? (\d{1,5})\b|\bos error:? (\d{1,5})\b|\bwin32 error:? (\d{1,5})\b"
    r"|\b(?:loadlibrary|getlasterror)\b[^\n]{0,40}?\berror:? (\d{1,5})\b"
)
_HRESULT = re.compile(r"\b(?:0x)?8007([0-9a-f]{4})\b")
_EXIT = re.compile(
    r"\b(?:exit(?:s|ed|ing)?|return(?:s|ed)?|terminated|died|finished|failed|crashed|stopped)\b"
    r"[^.\n]{0,40}?\b(?:code|status)\b['\"]?[ :=(]{0,4}(-?\d{1,10})\b"
    r"|\b(?:exit|return)_?code['\"]?[ :=(]{0,4}(-?\d{1,10})\b"
    r"|\bexit(?:ed)? \(?(-?\d{1,3})\b"
)
_STATUS = re.compile(r"\b(?:0x)(c0[0-9a-f]{6})\b")
_SIGNAL = re.compile(
    r"\bsignal[ :=(]{1,3}(\d{1,2})\b|\bstatus=(\d{1,2})/[a-z]{3,5}\b|\bsig(\d{1,2})\b"
)
_DIGIT = re.compile(r"\d")


def http_marks(status: int) -> str:
    """The marks of an HTTP status."""
    return f"#http{status} #http{status // 100}xx "


def exit_mark(code: int) -> str:
    """The mark of a process's exit code, the same for all ways to write it."""
    if code < -64:
        code += 1 << 32  # Windows statuses, written as signed numbers
    if code >= 0xC0000000:
        return f"#exit{code:x} "
    if 128 < code <= 160:
        return f"#exit{code} #signal{code - 128} "
    if code < 0:
        return f"#exit{128 - code} #signal{-code} "
    return f"#exit{code} "


def errno_mark(number: int) -> str:
    """The mark of an errno; Windows' socket errors come under its name, too."""
    return f"#winerror{number} " if number >= 1000 else f"#errno{number} "


def _all(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    for count, match in enumerate(pattern.finditer(text)):
        if count >= 20:
            return
        yield next(group for group in match.groups() if group is not None)


def http_in(text: str) -> int | None:
    """The first HTTP status that lower-case ``text`` names as one."""
    found = next(_all(_HTTP, text), None)
    return None if found is None else int(found)


def marks_in(text: str) -> str:
    """The marks for all numbers but HTTP's that lower-case ``text`` names."""
    if not _DIGIT.search(text):
        return ""
    marks: list[str] = []
    if "err" in text or "', " in text or ", '" in text or ', "' in text:
        marks += [errno_mark(int(number)) for number in _all(_ERRNO, text)]
        for number in _all(_WINERROR, text):
            marks.append(f"#winerror{int(number)} ")
    if "8007" in text:
        marks += [f"#winerror{int(number, 16)} " for number in _all(_HRESULT, text)]
    if "0xc0" in text:
        marks += [f"#exit{number} " for number in _all(_STATUS, text)]
    if "exit" in text or "code" in text or "status" in text:
        marks += [exit_mark(int(number)) for number in _all(_EXIT, text)]
    if "sig" in text or "status=" in text:
        marks += [f"#signal{int(number)} " for number in _all(_SIGNAL, text)]
    return "".join(dict.fromkeys(marks))
