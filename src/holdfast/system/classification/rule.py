"""One rule of classification: what an error must say, and what that means."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.errors import BadInputError
from holdfast.policies.checks import label
from holdfast.system.classification.answer import Verdict
from holdfast.system.classification.report import Report
from holdfast.system.classification.words import respelt, words

Judge = Callable[[Report], Verdict | None]

_MARKS = ("#", "@", "%")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """Words that are looked for in a line of words."""

    text: str
    regex: re.Pattern[str] | None
    whole: tuple[str, ...]
    """Words that are there as they are whenever the phrase is; an index looks for the rarest."""

    def within(self, line: str) -> bool:
        """Whether the phrase is in a line of words."""
        return self.text in line if self.regex is None else self.regex.search(line) is not None


def phrase(written: str) -> Phrase:
    """A phrase out of what is written in a rule.

    Words as in an error message; spelling, case and punctuation do not matter. ``*`` ends a word of
    which only the start is given, ``..`` stands for up to eight words. Marks: ``@name`` is the name
    of the exception's class or of one of its base classes, ``%word`` is in the node's type,
    ``#http503``, ``#errno28``, ``#winerror5`` and ``#exit137`` are numbers.

    Raises:
        BadInputError: there is no word in it.
    """
    parts: list[str] = []
    for part in written.split():
        if part == ".." or part.startswith(_MARKS):
            parts.append(part.lower())
        else:
            star = "*" if part.endswith("*") else ""
            found = words(part).split()
            if found:
                found[-1] += star
            parts += found
    parts = _usual(parts)
    whole = [part for part in parts if part != ".." and not part.endswith("*")]
    if not parts or parts == [".."]:
        raise BadInputError(f"a phrase must have a word in it, got {written!r}")
    if len(whole) == len(parts):
        return Phrase(text=_line(parts), regex=None, whole=tuple(whole))
    pattern = " "
    for part in parts:
        if part == "..":
            pattern += "(?:[^ ]{1,80} ){0,8}?"
        elif part.endswith("*"):
            pattern += re.escape(part[:-1]) + "[^ ]{0,80} "
        else:
            pattern += re.escape(part) + " "
    return Phrase(text=_line(parts), regex=re.compile(pattern), whole=tuple(whole))


def _usual(parts: list[str]) -> list[str]:
    """The parts in the spelling that `words` gives to messages."""
    return respelt(_line(parts)).split()


def _line(parts: list[str]) -> str:
    return f" {' '.join(parts)} "


@dataclass(frozen=True, slots=True)
class Rule:
    """Errors that say one of ``says`` and one of ``also`` and none of ``unless`` get a verdict.

    Raises:
        BadInputError: the name is no name, there is no condition, or a phrase has no word.
    """

    name: str
    """What the rule has understood, in words: the reason that is given to people."""
    verdict: Verdict | Judge
    """The verdict, or a function that finds one in the report, or None if it has none to give."""
    says: tuple[str, ...]
    """Phrases, see `phrase`: one must be there."""
    also: tuple[str, ...] = ()
    """One of these must be there as well, if any are given."""
    unless: tuple[str, ...] = ()
    """None of these may be there."""
    weak: bool = False
    """Whether it only guesses, so that a better rule on the error's cause should decide."""
    _says: tuple[Phrase, ...] = field(init=False, repr=False, compare=False)
    _also: tuple[Phrase, ...] = field(init=False, repr=False, compare=False)
    _unless: tuple[Phrase, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        label("name", self.name)
        if not isinstance(self.verdict, Verdict) and not callable(self.verdict):
            raise BadInputError(
                f"verdict must be a Verdict or a function, got {self.verdict!r:.100}"
            )
        for name in ("says", "also", "unless"):
            given = getattr(self, name)
            if not isinstance(given, tuple) or not all(isinstance(one, str) for one in given):
                raise BadInputError(f"{name} must be a tuple of phrases, got {given!r:.100}")
            object.__setattr__(self, f"_{name}", tuple(map(phrase, given)))
        if not self.says:
            raise BadInputError("says must have at least one phrase, got ()")

    @property
    def phrases(self) -> tuple[Phrase, ...]:
        """What ``says`` was made into."""
        return self._says

    def judge(self, report: Report) -> Verdict | None:
        """The verdict on an error that says one of `phrases`, or None if it is about others."""
        line = report.words
        if self._also and not any(one.within(line) for one in self._also):
            return None
        if self._unless and any(one.within(line) for one in self._unless):
            return None
        return self.verdict if isinstance(self.verdict, Verdict) else self.verdict(report)
