"""Which widgets the page gives a node, in which order, and what is in them.

A workflow file says only ``[42, "randomize", 20]``. Which input each value
belongs to follows from the node class as the server describes it, and from
what the page adds of its own: a control beside a seed, a button for uploads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from holdfast.comfyui.catalog import ANY, COMBO, PLAIN_TYPES, InputSpec, NodeClass, input_spec
from holdfast.comfyui.page.document import Slot


class Absent(Enum):
    """The mark of a widget in which there is nothing, not even null."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT

DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
"""A list whose chosen value brings further inputs with it."""

_VALUE_TYPES = PLAIN_TYPES | frozenset(
    {
        "AUDIO_RECORD",
        "BOUNDING_BOX",
        "BOUNDING_BOXES",
        "CHART",
        "COLOR",
        "COLORS",
        COMBO,
        "COMPOSITOR",
        "CURVE",
        "FILEUPLOAD",
        "GALLERIA",
        "IMAGECOMPARE",
        "LOAD_3D",
        "LOAD_3D_ANIMATION",
        "MARKDOWN",
        "MULTISELECT",
        "PAINTER",
        "RANGE",
        "SELECTBUTTON",
        "TEXTAREA",
        "TREESELECT",
        "VIDEO_EDIT",
        "WEBCAM",
    }
)
"""Types of inputs that the page shows as widgets whose value goes to the server."""

_AUDIO_PLAYERS = frozenset(
    {"LoadAudio", "SaveAudio", "PreviewAudio", "SaveAudioMP3", "SaveAudioOpus"}
)
_MODEL_VIEWERS = frozenset({"SaveGLB", "Preview3D", "Preview3DAnimation"})
_BUTTONS_3D = ("upload 3d model", "upload extra resources", "clear")
_UPLOADS = ("image_upload", "video_upload", "animated_image_upload")
_SEEDS = ("seed", "noise_seed")
_LARGE = 2.0**70
"""Beyond this, no input's limits and steps mean anything."""
_MAX_WIDGETS = 2_000
"""Widgets of one node, those that choices bring included."""


@dataclass(frozen=True, slots=True)
class Widget:
    """One place in a node's list of widgets."""

    name: str
    type: str = ""
    options: Mapping[str, Any] | None = None
    default: Any = ABSENT
    saved: bool = True
    """Whether it has a place in ``widgets_values``."""
    sent: bool = True
    """Whether its value goes to the server; buttons and controls stay in the page."""

    def settled(self, value: Any) -> Any:
        """The value it holds once ``value`` was put in."""
        options = self.options or {}
        if self.type == "STRING" and options.get("multiline"):
            return _as_text_area(value)
        if any(options.get(each) for each in _UPLOADS):
            return self._as_upload(value, options)
        return value

    def pushed(self, value: Any) -> Any:
        """The value it holds once another node set it: as if somebody had typed it."""
        value = self.settled(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        options = self.options or {}
        if self.type == "INT":
            return in_steps(value, options)
        return _rounded(value, options) if self.type == "FLOAT" else value

    def _as_upload(self, value: Any, options: Mapping[str, Any]) -> Any:
        if not value:
            return value if self.default is ABSENT else self.default
        folder = options.get("image_folder")
        if isinstance(value, list):
            files = [_annotated(each, folder) for each in value]
            return files if options.get("allow_batch") else files[0]
        return _annotated(value, folder)


def is_widget(spec: InputSpec) -> bool:
    """Whether the page shows this input as a widget."""
    kind = spec.options.get("widgetType", spec.type)
    return (kind in _VALUE_TYPES or kind == DYNAMIC_COMBO) and not is_forced(spec)


def is_forced(spec: InputSpec) -> bool:
    """Whether the page shows this input as a socket only, whatever its type."""
    options = spec.options
    return bool(
        options.get("forceInput") or (not spec.required and options.get("defaultInput")),
    )


def by_input(node_class: NodeClass) -> Iterator[tuple[str, tuple[Widget, ...]]]:
    """The inputs of a class in the page's order, each with its widgets: none for a socket.

    Lists whose chosen value brings further inputs stand as they were made, without those.
    """
    ordered = "input_order" in node_class.raw
    specs = list(node_class.inputs.values())
    first = len(specs) if ordered else sum(spec.required for spec in specs)
    for spec in specs[:first]:
        yield spec.name, tuple(_widgets_of(spec))
    for extra in _of_page(node_class):
        yield extra.name, (extra,)
    for spec in specs[first:]:
        yield spec.name, tuple(_widgets_of(spec))


def slots(node_class: NodeClass) -> list[Slot]:
    """The inputs of a node, in the page's order: sockets first, then those that are widgets."""
    specs = node_class.inputs.values()
    plain = [Slot(spec.name, spec.type) for spec in specs if not is_widget(spec)]
    shown = [Slot(spec.name, spec.type, None, spec.name) for spec in specs if is_widget(spec)]
    return plain + shown


def filled(
    node_class: NodeClass, saved: tuple[Any, ...] | Mapping[str, Any] | None
) -> dict[str, tuple[Widget, Any]]:
    """The widgets whose values go to the server, with what a saved node has in them.

    Args:
        node_class: of the node.
        saved: its ``widgets_values``: in order, by name, or none.
    """
    places = [each for _, group in by_input(node_class) for each in group]
    positions: tuple[Any, ...] = ()
    named: Mapping[str, Any] = {}
    if isinstance(saved, Mapping):
        named = saved
    elif saved is not None:
        positions = _without_forced(node_class, places, saved)
    found: dict[str, tuple[Widget, Any]] = {}
    at = 0
    waiting = places[::-1]
    while waiting and len(found) < _MAX_WIDGETS:
        widget = waiting.pop()
        value = widget.settled(widget.default) if widget.default is not ABSENT else ABSENT
        if widget.name in named:
            value = widget.settled(named[widget.name])
        elif widget.saved:
            value = widget.settled(positions[at]) if at < len(positions) else value
            at += 1
        if widget.sent:
            found[widget.name] = (widget, value)
        if widget.type == DYNAMIC_COMBO:
            waiting += list(_brought(widget, value))[::-1]
    return found


def _without_forced(
    node_class: NodeClass, places: list[Widget], saved: tuple[Any, ...]
) -> tuple[Any, ...]:
    # Older pages kept a value for inputs that are sockets today. If the count says that this is
    # such a list, those values are passed over; else all behind them would shift.
    kept: list[bool] = []
    for spec in node_class.inputs.values():
        if is_forced(spec):
            kept.append(False)
            kept += [True] * (spec.options.get("control_after_generate") is True)
        else:
            kept += [True for each in _widgets_of(spec) if each.saved]
    extra = sum(each.saved for each in places) - sum(kept)
    kept += [True] * extra
    if all(kept) or len(saved) != len(kept):
        return saved
    return tuple(value for value, keep in zip(saved, kept, strict=True) if keep)


def _widgets_of(spec: InputSpec) -> Iterator[Widget]:
    if not is_widget(spec):
        return
    options = spec.options
    kind = str(options.get("widgetType", spec.type))
    if kind in ("LOAD_3D", "LOAD_3D_ANIMATION"):
        yield from (Widget(each, sent=False) for each in _BUTTONS_3D)
    yield Widget(spec.name, kind, options, _default(spec, kind))
    control = options.get("control_after_generate")
    if control is None:
        control = kind == "INT" and spec.name in _SEEDS
    if control and kind in ("INT", "COMBO"):
        yield Widget("control_after_generate", sent=False)
    if control and kind == "COMBO":
        yield Widget("control_filter_list", sent=False)


def _of_page(node_class: NodeClass) -> Iterator[Widget]:
    if node_class.name in _AUDIO_PLAYERS:
        yield Widget("audioUI", saved=False, sent=False)
    if node_class.name in _MODEL_VIEWERS:
        yield Widget("image", sent=False)
    audio = node_class.inputs.get("audio")
    heard = audio is not None and audio.options.get("audio_upload") is True
    seen = any(
        spec.type == "COMBO" and spec.options.get(each) is True
        for spec in node_class.required
        for each in _UPLOADS
    )
    if heard or seen:
        yield Widget("upload", sent=False)
    if node_class.name == "WebcamCapture":
        yield Widget("waiting for camera...", sent=False)


def _brought(widget: Widget, value: Any) -> Iterator[Widget]:
    """The widgets that the chosen value of a dynamic list brings with it."""
    options = (widget.options or {}).get("options")
    for option in options if isinstance(options, list) else ():
        if isinstance(option, Mapping) and option.get("key") == value:
            for spec in brought_inputs(widget.name, option.get("inputs")):
                yield from _widgets_of(spec)
            return


def brought_inputs(name: str, groups: Any) -> Iterator[InputSpec]:
    """The inputs of one choice of a dynamic list, named ``list.input``."""
    for group in ("required", "optional"):
        listed = groups.get(group) if isinstance(groups, Mapping) else None
        for key, given in listed.items() if isinstance(listed, Mapping) else ():
            spec = input_spec(f"{name}.{key}", given, required=group == "required")
            if spec is not None:
                yield spec


def _default(spec: InputSpec, kind: str) -> Any:
    options = spec.options
    given = options.get("default", ABSENT)
    if kind == "COMBO":
        if given is not ABSENT and given:
            return given
        if isinstance(options.get("multi_select"), Mapping):
            return []
        return spec.choices[0] if spec.choices else ABSENT
    if kind == DYNAMIC_COMBO:
        listed = options.get("options")
        first = listed[0] if isinstance(listed, list) and listed else None
        return first.get("key", ABSENT) if isinstance(first, Mapping) else ABSENT
    if given is not ABSENT:
        return given
    return {"INT": 0, "FLOAT": 0, "BOOLEAN": False, "STRING": ""}.get(kind, ABSENT)


def _as_text_area(value: Any) -> Any:
    # A text area of a browser holds text, and one kind of line end.
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return value.replace("\r\n", "\n").replace("\r", "\n")
    return value


def _annotated(value: Any, folder: Any) -> Any:
    """A file's name, marked with the folder it is in unless that is the usual one."""
    kind = folder
    if isinstance(value, Mapping):
        name, sub = value.get("filename"), value.get("subfolder")
        kind = value.get("type")
        path = f"{sub}/{name}" if sub else f"{name or ''}"
    elif isinstance(value, str):
        path = value
    else:
        return value
    marked = any(f"[{each}]" in path.lower() for each in ("input", "output", "temp"))
    usual = not isinstance(kind, str) or kind in ("", "input")
    return path if marked or usual else f"{path} [{kind}]"


def in_steps(value: float, options: Mapping[str, Any]) -> float:
    """A whole number on the steps of its input, counted from the smallest value."""
    step = _amount(options.get("step"), 1) or 1
    least = _amount(options.get("min"), 0)
    if isinstance(value, int) and isinstance(step, int) and isinstance(least, int):
        start = math.fmod(least, step) if least else 0
        return (2 * (value - int(start)) + step) // (2 * step) * step + int(start)
    if not -_LARGE < value < _LARGE:
        return value
    start = math.fmod(least, step)
    return _whole(math.floor((value - start) / step + 0.5) * step + start)


def _rounded(value: float, options: Mapping[str, Any]) -> float:
    step = _amount(options.get("step"), 0.5)
    digits = max(0, -math.floor(math.log10(step))) if step > 0 else 0
    unit = _amount(options.get("round"), 0) or (10.0**-digits if digits else 0)
    if unit <= 0 or not -_LARGE < value < _LARGE or not math.isfinite(value / unit):
        return value
    places = digits or max(0, -math.floor(math.log10(unit)))
    near = round(math.floor(value / unit + 0.5) * unit, min(places, 100))
    low = _amount(options.get("min"), 0)
    high = _amount(options.get("max"), 2048)
    return min(max(near, low), max(high, low))


def _whole(value: float) -> float:
    return int(value) if value.is_integer() else value


def _amount(value: Any, otherwise: float) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    good = number and -_LARGE < value < _LARGE
    return value if good else otherwise


def fits(produced: str, wanted: str) -> bool:
    """Whether the page lets an output of one type be linked to an input of another."""
    if produced in ("", ANY) or wanted in ("", ANY):
        return True
    return bool(set(produced.lower().split(",")) & set(wanted.lower().split(",")))
