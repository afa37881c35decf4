"""Is a value that is written into a workflow fit for its input? By the server's own rules.

The server converts with Python's ``int()``, ``float()``, ``str()`` and
``bool()``, then looks at the limits, then at the list of values. So ``"64"``
is a number, ``64.9`` is 64 where an integer is wanted, and ``"false"`` is
true.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.comfyui.catalog import COMBO, InputSpec, NodeClass
from holdfast.comfyui.model_inputs import model_folder, same_choice
from holdfast.comfyui.preflight.guesses import Guesses
from holdfast.comfyui.preflight.report import Problem, Severity, Suggestion, called, shown

CONVERSIONS: Mapping[str, type] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}

UPLOADS = ("image_upload", "video_upload", "audio_upload", "file_upload", "animated_image_upload")
"""Options that mark an input as the name of an uploaded file."""

_JUDGED_BY_CLASS = frozenset({("LoadLatent", "latent")})
"""Inputs whose class looks at the file itself, without an option that says so."""

_WHAT = {"INT": "a whole number", "FLOAT": "a number", "STRING": "text", "BOOLEAN": "true or false"}
_NO = frozenset({"false", "no", "off", "0", ""})
_YES = frozenset({"true", "yes", "on", "1"})


@dataclass(frozen=True, slots=True)
class Place:
    """An input of a node of the workflow."""

    node_id: str
    node: NodeClass
    spec: InputSpec
    guesses: Guesses

    @property
    def words(self) -> str:
        """``node 4 (KSampler): steps``."""
        return f"{called(self.node_id, self.node.name)}: {self.spec.name}"

    def problem(
        self,
        kind: str,
        words: str,
        value: Any,
        *,
        severity: Severity = Severity.ERROR,
        suggestion: Suggestion | None = None,
        at_submission: bool = True,
        near: tuple[str, ...] = (),
        folder: str | None = None,
    ) -> Problem:
        """A problem of this input."""
        return Problem(
            kind,
            severity,
            f"{self.words} {words}",
            self.node_id,
            self.node.name,
            self.spec.name,
            value,
            suggestion,
            at_submission,
            near,
            folder,
        )


def written_type(node: NodeClass, spec: InputSpec) -> Any:
    """The type as the server wrote it: a list where the values themselves are the type."""
    group = node.raw["input"]["required" if spec.required else "optional"]
    given = group[spec.name]
    return given[0] if isinstance(given, list) and given else given


def is_upload(node: NodeClass, spec: InputSpec) -> bool:
    """Whether the input names an uploaded file, which the class itself looks for."""
    marked = any(spec.options.get(each) is True for each in UPLOADS)
    return marked or (node.name, spec.name) in _JUDGED_BY_CLASS


def judge_value(place: Place, written: Any) -> list[Problem]:
    """What is wrong with a value that is not a link; empty if nothing."""
    value = written
    if isinstance(value, dict) and "__value__" in value:
        value = value["__value__"]
    if is_upload(place.node, place.spec):
        return _judge_upload(place, written, value)
    convert = CONVERSIONS.get(place.spec.type)
    if convert is None:
        return _judge_choice(place, written, value)
    try:
        converted = convert(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return [_not_convertible(place, written, value)]
    if place.spec.type in ("INT", "FLOAT"):
        outside = _judge_limits(place, written, converted)
        if outside is not None:
            return [outside]
    return _judge_conversion(place, written, value, converted)


def _not_convertible(place: Place, written: Any, value: Any) -> Problem:
    kind = place.spec.type
    number = _number_of(value)
    suggestion = None
    if kind == "INT" and number is not None and math.isfinite(number):
        # Python's int() refuses "64.9", though it takes 64.9.
        whole = int(number)
        suggestion = Suggestion(place.spec.name, whole, certain=True, keeps_result=whole == number)
    right = f"; write {suggestion.value}" if suggestion else _range_words(place.spec)
    words = f"must be {_WHAT[kind]}, not {shown(written)}{right}"
    return place.problem("invalid_input_type", words, written, suggestion=suggestion)


def _number_of(value: Any) -> float | None:
    if not isinstance(value, str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _range_words(spec: InputSpec) -> str:
    low, high = spec.minimum, spec.maximum
    if low is not None and high is not None:
        return f"; from {low} to {high}"
    if low is not None:
        return f"; at least {low}"
    return f"; at most {high}" if high is not None else ""


def _judge_limits(place: Place, written: Any, value: float) -> Problem | None:
    low, high = place.spec.minimum, place.spec.maximum
    if low is not None and value < low:
        kind, words, right = "value_smaller_than_min", "too small", low
    elif high is not None and value > high:
        kind, words, right = "value_bigger_than_max", "too big", high
    else:
        return None
    suggestion = None
    if math.isfinite(right):
        if place.spec.type == "INT":
            right = math.ceil(right) if right == low else math.floor(right)
        suggestion = Suggestion(place.spec.name, right, certain=True, keeps_result=False)
    words = f"is {shown(written)}, which is {words}{_range_words(place.spec)}"
    return place.problem(kind, words, written, suggestion=suggestion)


def _judge_conversion(place: Place, written: Any, value: Any, converted: Any) -> list[Problem]:
    kind, name = place.spec.type, place.spec.name
    if isinstance(converted, float) and not math.isfinite(converted):
        words = f"is {shown(written)}, which the server takes and nodes fail on"
        return [place.problem("not_finite", words, written, severity=Severity.WARNING)]
    if type(value) is type(converted) and value is written:
        return []
    if kind in ("INT", "FLOAT") and type(value) in (int, float) and value == converted:
        return []
    right, keeps = converted, True
    words = f"is {shown(written)}; the server makes {shown(converted)} of it"
    if kind == "BOOLEAN" and isinstance(value, str):
        said = value.strip().lower()
        if said not in _NO | _YES:
            return [place.problem("value_converted", words, written, severity=Severity.WARNING)]
        right = said in _YES
        keeps = right == converted
        words += "" if keeps else f", since it takes any text for true; write {right}"
    suggestion = Suggestion(name, right, certain=True, keeps_result=keeps)
    return [
        place.problem(
            "value_converted", words, written, severity=Severity.WARNING, suggestion=suggestion
        )
    ]


def _judge_choice(place: Place, written: Any, value: Any) -> list[Problem]:
    spec = place.spec
    if spec.type != COMBO:
        return []
    listed = isinstance(written_type(place.node, spec), list)
    choices = spec.choices
    if choices is None:
        if not isinstance(spec.options.get("options"), list) or "remote" in spec.options:
            return []  # the values are asked for elsewhere
        choices = ()
    several = spec.options.get("multiselect") is True and isinstance(value, list)
    if not listed and several and all(each in choices for each in value):
        return []
    if value in choices:
        return []
    folder = model_folder(place.node.name, spec.name, value, choices)
    same = same_choice(value, choices)
    near = (same,) if same is not None else place.guesses.choices(value, choices)
    suggestion = None
    if near:
        suggestion = Suggestion(spec.name, near[0], certain=same is not None)
    later = "" if listed else " (some servers notice only when the node runs)"
    return [
        place.problem(
            "value_not_in_list",
            _choice_words(value, folder, same, near, choices) + later,
            written,
            suggestion=suggestion,
            # Servers from before late 2025 do not look at lists that are written the new way.
            at_submission=listed,
            near=near,
            folder=folder,
        )
    ]


def _choice_words(
    value: Any,
    folder: str | None,
    same: str | None,
    near: tuple[str, ...],
    choices: tuple[Any, ...],
) -> str:
    named = shown(value)
    if same is not None:
        return f"is {named}; this server writes it {shown(same)}"
    where = f" in models/{folder}" if folder else ""
    words = f"is {named}, which is not one of the values"
    if folder is not None:
        words = f"is the model {named}, which this server does not have{where}"
    if near:
        return f"{words}; near it: {', '.join(shown(each) for each in near)}"
    if not choices:
        return f"{words}; it has none there" if folder is not None else f"{words}; there are none"
    few = ", ".join(shown(each) for each in choices[:8])
    more = f" and {len(choices) - 8} more" if len(choices) > 8 else ""
    return f"{words}; there {'is' if len(choices) == 1 else 'are'} {few}{more}"


def _judge_upload(place: Place, written: Any, value: Any) -> list[Problem]:
    if not isinstance(value, str):
        kind = "exception_during_inner_validation"
        words = f"must be the name of a file, not {shown(written)}"
        return [place.problem(kind, words, written)]
    choices = place.spec.choices or ()
    if value in choices:
        return []
    near = place.guesses.choices(value, choices)
    hint = f"; near it: {', '.join(shown(each) for each in near)}" if near else ""
    words = f"is {shown(value)}, which is not on the server yet: upload it{hint}"
    return [place.problem("image_not_there", words, written, severity=Severity.WARNING, near=near)]
