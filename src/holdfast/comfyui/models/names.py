"""Names of model files: which are safe to write, and which of a server's names one means.

Workflows, model lists and servers all name models, and none of them is
trusted. A name is a path relative to its kind's folder, such as
``SDXL/base.safetensors``; servers on Windows write it with a backslash.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from holdfast.comfyui.failures import clip
from holdfast.comfyui.model_inputs import slashed
from holdfast.comfyui.models.errors import ModelPlaceError

SUFFIXES = frozenset(
    {".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl"}
)
"""What model files end in; ComfyUI lists no others (``.gguf`` with the custom nodes for it)."""
PLAIN_SUFFIXES = frozenset({".safetensors", ".sft", ".gguf"})
"""Those that hold numbers and no code."""

LONGEST_NAME = 1_000
LONGEST_PART_BYTES = 200
"""File systems take 255 bytes; something is added to the name while a file is fetched."""
MOST_PARTS = 16

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*]')
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\.|$)")
"""Names that mean devices on Windows, whatever follows the first dot."""
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_GENERIC = re.compile(
    r"(diffusion_pytorch_model|pytorch_model|adapter_model|pytorch_lora_weights|model|vae|unet|"
    r"lora|flux|config|clip|weights|checkpoint)"
    r"([.-](fp16|fp32|bf16|fp8|non_ema|ema|\d{5}-of-\d{5}))*"
)
"""Names that say nothing: in one folder it is one model, in the next another."""


def is_model_name(value: object) -> bool:
    """Whether a value of a workflow looks like the name of a model file."""
    return (
        isinstance(value, str)
        and len(value) <= LONGEST_NAME
        and PurePosixPath(slashed(value)).suffix.lower() in SUFFIXES
    )


def base_name(name: str) -> str:
    """What follows the last slash, of either kind."""
    return slashed(name).rpartition("/")[2]


def is_generic(name: str) -> bool:
    """Whether the file's own name says nothing about which model it is."""
    return bool(_GENERIC.fullmatch(PurePosixPath(base_name(name)).stem.lower()))


def safe_folder(folder: str) -> str:
    """A kind of models, such as ``checkpoints``, as the name of a folder.

    Raises:
        ModelPlaceError: it is none.
    """
    if not _FOLDER.fullmatch(folder) or _DEVICE.match(folder):
        raise ModelPlaceError(
            f"folder must be a kind of models such as 'checkpoints' or 'loras', "
            f"got {clip(repr(folder), 100)}"
        )
    if folder == "custom_nodes":
        raise ModelPlaceError("folder must hold models, and 'custom_nodes' holds programs")
    return folder


def safe_path(name: str) -> PurePosixPath:
    """A model's name as a relative path that any system can hold and that leads nowhere else.

    Raises:
        ModelPlaceError: it climbs, is absolute, has a drive letter, means a device, or is not
            the name of a model file; the message says which.
    """
    shown = clip(repr(name), 120)
    if not 0 < len(name) <= LONGEST_NAME:
        raise ModelPlaceError(f"a model's name is text of 1 to {LONGEST_NAME} letters, not {shown}")
    given = slashed(unicodedata.normalize("NFC", name))
    wrong = _what_is_wrong(given)
    if wrong:
        raise ModelPlaceError(f"the model name {shown} {wrong}", model=name)
    return PurePosixPath(given)


def _what_is_wrong(given: str) -> str:
    parts = given.split("/")
    if given.startswith("/"):
        return "is absolute; it must be relative to its folder"
    if _FORBIDDEN.search(given) or not given.isprintable():
        return "holds a letter that no file name may hold"
    if len(parts) > MOST_PARTS:
        return f"has more than {MOST_PARTS} parts"
    if PurePosixPath(given).suffix.lower() not in SUFFIXES:
        return f"is not that of a model file; those end in {', '.join(sorted(SUFFIXES))}"
    return next(filter(None, map(_what_is_wrong_with_part, parts)), "")


def _what_is_wrong_with_part(part: str) -> str:
    if part in {"", ".", ".."}:
        return "climbs out of its folder, or has an empty part"
    if part.startswith((".", " ")) or part.endswith((".", " ")):
        return "has a part that begins or ends in a dot or a space"
    if _DEVICE.match(part):
        return f"has the part {part!r}, which means a device on Windows"
    if len(part.encode()) > LONGEST_PART_BYTES:
        return f"has a part longer than {LONGEST_PART_BYTES} bytes"
    return ""


class Likeness(StrEnum):
    """How a server's name for a model differs from the one that was asked for."""

    SAME = "same"
    SLASHES = "slashes"
    """Only in the slashes, as between Windows and Linux."""
    CASE = "case"
    """In capital letters, too."""
    SUBFOLDER = "subfolder"
    """It lies in another subfolder. It most likely is the same model; nothing proves it."""


@dataclass(frozen=True, slots=True)
class NameMatch:
    """Which of a server's names is meant."""

    name: str | None
    """As the server writes it; None if none is meant, or more than one could be."""
    likeness: Likeness | None = None
    candidates: tuple[str, ...] = ()
    """Those between which nothing decides."""


_STEPS: tuple[tuple[Likeness, Callable[[str], str]], ...] = (
    (Likeness.SAME, lambda name: name),
    (Likeness.SLASHES, slashed),
    (Likeness.CASE, lambda name: slashed(name).casefold()),
    (Likeness.SUBFOLDER, lambda name: base_name(name).casefold()),
)


def match_name(name: str, choices: Sequence[str]) -> NameMatch:
    """Find a model among a server's names, the smallest difference first, and never by guessing.

    Args:
        name: as a workflow has it.
        choices: as the server has them.
    """
    for likeness, key in _STEPS:
        if likeness is Likeness.SUBFOLDER and is_generic(name):
            break
        wanted = key(name)
        found = tuple(dict.fromkeys(each for each in choices if key(each) == wanted))
        if len(found) == 1:
            return NameMatch(found[0], likeness)
        if found:
            return NameMatch(None, None, found)
    return NameMatch(None)
