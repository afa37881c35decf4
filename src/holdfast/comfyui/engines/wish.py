"""What somebody asks an engine for: words and numbers, checked before anything is sent.

Nothing here knows a model. What is left out (None) is filled in by the recipe
that makes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from holdfast.errors import BadInputError

MOST_SIDE = 16_384
"""Pixels; more is refused by every ComfyUI server."""
MOST_STEPS = 10_000
MOST_BATCH = 64
"""Pictures of one job; more of them are more jobs."""
MOST_FRAMES = 16_384
MOST_SEED = 2**64 - 1
MOST_WORDS = 100_000
"""Characters of a prompt."""
MOST_LORAS = 32


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA to patch in."""

    name: str
    """As the server lists it, such as ``detail.safetensors``."""
    strength: float = 1.0
    """On the diffusion model."""
    clip_strength: float | None = None
    """On the text encoder, where it is patched; None: as `strength`."""

    def __post_init__(self) -> None:
        """Refuse what no server takes."""
        text("loras.name", self.name)
        if not self.name.strip():
            raise BadInputError("loras.name is empty; name a file as the server lists it")
        number("loras.strength", self.strength, -100, 100)
        number("loras.clip_strength", self.clip_strength, -100, 100)

    @property
    def on_clip(self) -> float:
        """The strength on the text encoder."""
        return self.strength if self.clip_strength is None else self.clip_strength


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for. None everywhere means: as the recipe has it."""

    prompt: str
    seed: int
    negative: str | None = None
    """What should not be there; None: what the family's own examples say."""
    width: int | None = None
    """Pixels."""
    height: int | None = None
    """Pixels."""
    steps: int | None = None
    cfg: float | None = None
    guidance: float | None = None
    """For models with guidance built in, such as Flux."""
    sampler: str | None = None
    scheduler: str | None = None
    batch: int = 1
    denoise: float | None = None
    """How much of the picture given may change, above 0 to 1."""
    loras: tuple[Lora, ...] = ()
    picture: tuple[int, int] | None = None
    """Width and height (pixels) of the picture to start from, if there is one."""
    frames: int | None = None
    seconds: float | None = None
    fps: float | None = None
    """Frames a second."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, naming the field, the value and what is right."""
        text("prompt", self.prompt)
        if not self.prompt.strip():
            raise BadInputError("prompt is empty; say what should be seen")
        if self.negative is not None:
            text("negative", self.negative)
        whole("seed", self.seed, 0, MOST_SEED)
        whole("width", self.width, 16, MOST_SIDE)
        whole("height", self.height, 16, MOST_SIDE)
        whole("steps", self.steps, 1, MOST_STEPS)
        number("cfg", self.cfg, 0, 100)
        number("guidance", self.guidance, 0, 100)
        whole("batch", self.batch, 1, MOST_BATCH)
        whole("frames", self.frames, 1, MOST_FRAMES)
        number("seconds", self.seconds, 0.01, MOST_FRAMES)
        number("fps", self.fps, 1, 120)
        for field, value in (("sampler", self.sampler), ("scheduler", self.scheduler)):
            if value is not None:
                text(field, value)
        self._check_denoise()
        if self.frames is not None and self.seconds is not None:
            raise BadInputError(
                f"frames is {self.frames} and seconds is {self.seconds:g}; give one of them"
            )

    def _check_denoise(self) -> None:
        number("denoise", self.denoise, 0, 1)
        if self.denoise is None:
            return
        if self.picture is None:
            raise BadInputError(
                f"denoise is {self.denoise:g}, but there is no image to start from; give image="
            )
        if self.denoise == 0:
            raise BadInputError(
                "denoise is 0, which gives the image back as it is; it must be above 0"
            )


def loras_of(given: Iterable[Any]) -> tuple[Lora, ...]:
    """LoRAs as people write them: a name, ``(name, strength)``, a mapping, or a `Lora`.

    Raises:
        BadInputError: one is none of these.
    """
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise BadInputError(
            f"loras must be a list of names or (name, strength), got {given!r:.100}"
        )
    found = tuple(_lora(each) for each in given)
    if len(found) > MOST_LORAS:
        raise BadInputError(f"loras has {len(found)} entries; at most {MOST_LORAS} are taken")
    return found


def _lora(given: Any) -> Lora:
    if isinstance(given, Lora):
        return given
    if isinstance(given, str):
        return Lora(given)
    try:
        return Lora(**given) if isinstance(given, Mapping) else Lora(*given)
    except TypeError:
        raise BadInputError(
            f"loras has {given!r:.100}; an entry is a name, (name, strength) or "
            "{'name': ..., 'strength': ...}"
        ) from None


def text(field: str, value: Any) -> None:
    """Refuse what is no text of a bearable length."""
    if not isinstance(value, str):
        raise BadInputError(f"{field} must be text, got {value!r:.100}")
    if len(value) > MOST_WORDS:
        raise BadInputError(f"{field} has {len(value):,} characters; at most {MOST_WORDS:,}")


def whole(field: str, value: Any, low: int, high: int) -> None:
    """Refuse what is neither None nor a whole number from ``low`` to ``high``."""
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadInputError(f"{field} must be a whole number, {low} to {high}, got {value!r:.100}")


def number(field: str, value: Any, low: float, high: float) -> None:
    """Refuse what is neither None nor a number from ``low`` to ``high``."""
    if value is None:
        return
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    if not fits or not isfinite(value) or not low <= value <= high:
        raise BadInputError(f"{field} must be a number, {low:g} to {high:g}, got {value!r:.100}")
