"""Pictures from recipes: what the stand-in shows where a model would have drawn.

A landscape of layered ridges under a sky with a sun and a few balloons. The
same recipe always gives the same pixels (up to the last bit of a machine's
sine); another prompt, seed, model or LoRA gives a plainly different picture.
Nothing here pretends to know what a prompt means.

- The prompt and the model choose colours, the seed and the item in the batch
  choose where things stand, steps decide how sharp edges are, cfg the contrast.
- Positions are relative, so that another size shows the same scene.
- Frames of a video differ by a small, steady drift.
- NumPy alone; no I/O, no clock, no global randomness.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Pixels: TypeAlias = npt.NDArray[np.float32]
"""``float32`` in 0..1; one picture here is ``[height, width, 3]``."""

_DRIFT_PER_FRAME: Final = 0.012
_TAU: Final = np.float32(2 * math.pi)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything a finished picture depends on, apart from its size."""

    positive: str
    negative: str = ""
    seed: int = 0
    steps: int = 20
    """Steps really taken; more make edges sharper."""
    cfg: float = 8.0
    sampler: str = "euler"
    scheduler: str = "normal"
    model: str = ""
    loras: tuple[tuple[str, float], ...] = ()
    """Names and strengths, in the order applied."""
    guidance: float | None = None
    shift: float | None = None


@dataclass(slots=True)
class _Canvas:
    planes: Pixels
    """``[3, height, width]``: one colour plane after another is quicker to blend."""
    x: Pixels
    """Column centres in units of the shorter side."""
    y: Pixels
    """Row centres from 0 (top) to 1 (bottom)."""
    unit: float
    """Pixels in the shorter side."""
    edge: float
    """Width of a soft edge in pixels."""

    @property
    def aspect(self) -> float:
        """Width in units of the shorter side."""
        return len(self.x) / self.unit

    @property
    def tall(self) -> float:
        """Height in units of the shorter side."""
        return len(self.y) / self.unit


@dataclass(frozen=True, slots=True)
class _Palette:
    offsets: Pixels
    spread: float
    depth: float

    def at(self, place: float) -> Pixels:
        """Colour at a place of the palette: a cosine per channel, softened towards its mean."""
        wave = np.cos(_TAU * (np.float32(place * self.spread) + self.offsets))
        colour = 0.5 + np.float32(self.depth) * wave
        return np.asarray(0.8 * colour + 0.2 * colour.mean(), np.float32)


def paint(recipe: Recipe, width: int, height: int, *, frame: int = 0, item: int = 0) -> Pixels:
    """Paint one picture ``[height, width, 3]``.

    Args:
        recipe: What to paint.
        width: Pixels, at least 1.
        height: Pixels, at least 1.
        frame: Frame of a video; neighbouring frames look alike.
        item: Place in the batch; each is another picture, as with real batch noise.
    """
    place = _chance("place", recipe.positive, recipe.seed, item)
    palette = _palette(recipe, place)
    unit = float(min(width, height))
    canvas = _Canvas(
        planes=np.empty((3, height, width), np.float32),
        x=((np.arange(width, dtype=np.float32) + np.float32(0.5)) / np.float32(unit)),
        y=((np.arange(height, dtype=np.float32) + np.float32(0.5)) / np.float32(height)),
        unit=unit,
        edge=0.7 + 0.08 * unit / max(1, recipe.steps),
    )
    time = frame * _DRIFT_PER_FRAME
    _sky(canvas, palette, place, time)
    _sun(canvas, palette, place, time)
    _ridges(canvas, palette, place, time, detail=1 - math.exp(-recipe.steps / 12))
    _balloons(canvas, palette, place, time)
    contrast = np.float32(0.85 + 0.04 * min(recipe.cfg, 12.0))
    picture = np.ascontiguousarray(canvas.planes.transpose(1, 2, 0))
    picture -= np.float32(0.5)
    picture *= contrast
    picture += np.float32(0.5)
    np.clip(picture, 0.0, 1.0, out=picture)
    return picture


def noise(recipe: Recipe, width: int, height: int, *, item: int = 0) -> Pixels:
    """Fixed noise ``[height, width, 3]`` in 0..1, in cells of 8 pixels like a latent's."""
    rows, columns = -(-height // 8), -(-width // 8)
    cells = _chance("noise", recipe.seed, item).random((rows, columns, 3), dtype=np.float32)
    whole = cells.repeat(8, axis=0).repeat(8, axis=1)
    return np.ascontiguousarray(whole[:height, :width])


def _chance(*parts: object) -> np.random.Generator:
    text = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text).digest()[:16], "big"))


def _palette(recipe: Recipe, place: np.random.Generator) -> _Palette:
    chance = _chance("palette", recipe.positive, recipe.model)
    offsets = chance.random(3) + place.random() * 0.35
    for name, strength in recipe.loras:
        offsets += 0.3 * strength * _chance("lora", name).random(3)
    finish = (recipe.negative, recipe.sampler, recipe.scheduler, recipe.guidance, recipe.shift)
    offsets += 0.08 * _chance("finish", *finish).random(3)
    return _Palette(
        offsets=offsets.astype(np.float32),
        spread=float(0.45 + 0.5 * chance.random()),
        depth=float(0.32 + 0.12 * chance.random()),
    )


def _sky(canvas: _Canvas, palette: _Palette, place: np.random.Generator, time: float) -> None:
    top, low = palette.at(0.0), 0.55 * palette.at(0.35) + 0.45
    blend = canvas.y**1.3
    clouds = np.zeros(canvas.planes.shape[1:], np.float32)
    for octave in range(3):
        phase_x, phase_y = place.random(2) * 2 * math.pi
        rate = 2.2 * 1.9**octave
        across = np.sin(canvas.x * np.float32(rate) + np.float32(phase_x + time * (1 + octave)))
        down = np.sin(canvas.y * np.float32(rate * 2.1 * canvas.tall) + np.float32(phase_y))
        clouds += np.outer(down * np.float32(0.07 / (1 + octave)), across)
    for plane, high, bottom in zip(canvas.planes, top, low, strict=True):
        rows = high + (bottom - high) * blend
        np.add(clouds, rows[:, None], out=plane)


def _sun(canvas: _Canvas, palette: _Palette, place: np.random.Generator, time: float) -> None:
    centre_x = canvas.aspect * (0.15 + 0.7 * place.random()) + 0.3 * time
    centre_y = 0.12 + 0.3 * place.random()
    radius = 0.06 + 0.08 * place.random()
    colour = 0.3 * palette.at(0.8) + 0.7
    far_x = (canvas.x - np.float32(centre_x)) / np.float32(3.5 * radius)
    far_y = (canvas.y - np.float32(centre_y)) * np.float32(canvas.tall / (3.5 * radius))
    glow = np.outer(np.exp(-far_y * far_y), np.exp(-far_x * far_x) * np.float32(0.45))
    _lay(canvas.planes, colour, cover=glow)
    _disc(canvas, (centre_x, centre_y * canvas.tall), radius, colour, shade=0.0)


def _ridges(
    canvas: _Canvas, palette: _Palette, place: np.random.Generator, time: float, *, detail: float
) -> None:
    count = 3 + int(place.integers(0, 3))
    sharp = np.float32(canvas.unit / canvas.edge)
    for layer in range(count):
        nearness = (layer + 1) / count
        level = 0.42 + 0.5 * layer / count + 0.08 * float(place.random())
        profile = np.full(canvas.x.shape, level, np.float32)
        for octave in range(6):
            phase, lift = place.random(2)
            rate = np.float32(2.0 * 2.0**octave * (1.2 - 0.3 * nearness))
            height = 0.09 * (0.4 + float(lift)) * 0.52**octave * (detail if octave > 1 else 1.0)
            shift = np.float32(2 * math.pi * float(phase) + time * nearness * float(rate))
            profile += np.float32(height) * np.sin(canvas.x * rate + shift)
        colour = palette.at(0.45 + 0.5 * nearness) * np.float32(1.0 - 0.55 * nearness)
        haze = np.float32(0.3 * (1 - nearness))
        colour = colour * (1 - haze) + haze
        start = int(np.searchsorted(canvas.y, profile.min() - 2 * canvas.edge / canvas.unit))
        depth = (canvas.y[start:, None] - profile[None, :]) * np.float32(canvas.tall)
        cover = np.clip(depth * sharp + np.float32(0.5), 0.0, 1.0)
        depth *= np.float32(-0.55)
        depth += np.float32(1.12)
        np.maximum(depth, np.float32(0.6), out=depth)
        _lay(canvas.planes[:, start:], colour, cover, light=depth)


def _balloons(canvas: _Canvas, palette: _Palette, place: np.random.Generator, time: float) -> None:
    for index in range(2 + int(place.integers(0, 5))):
        x, y, size, hue, pace = (float(value) for value in place.random(5))
        radius = 0.018 + 0.05 * size * size
        centre = (
            canvas.aspect * (0.05 + 0.9 * x) + 0.4 * time * (pace - 0.3),
            canvas.tall * (0.1 + 0.55 * y) + 0.02 * math.sin(5 * time + index),
        )
        _disc(canvas, centre, radius, palette.at(0.6 + 0.8 * hue), shade=0.35)


def _disc(
    canvas: _Canvas, centre: tuple[float, float], radius: float, colour: Pixels, *, shade: float
) -> None:
    """Draw a soft-edged disc, lit from the upper left; lengths are in shorter sides."""
    centre_x, centre_y = centre
    reach = radius + canvas.edge / canvas.unit
    height, width = canvas.planes.shape[1:]
    left, right = (int((centre_x + side * reach) * canvas.unit) for side in (-1, 1))
    top, bottom = (int((centre_y + side * reach) * canvas.unit) for side in (-1, 1))
    rows = slice(max(0, top), min(height, bottom + 1))
    columns = slice(max(0, left), min(width, right + 1))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    across = canvas.x[columns] - np.float32(centre_x)
    down = canvas.y[rows] * np.float32(canvas.tall) - np.float32(centre_y)
    far = np.sqrt(across[None, :] ** 2 + down[:, None] ** 2)
    cover = np.clip((np.float32(radius) - far) * np.float32(canvas.unit / canvas.edge) + 0.5, 0, 1)
    light = 1 - shade * (across[None, :] + down[:, None] + radius) / (2 * radius)
    _lay(canvas.planes[:, rows, columns], colour, cover, light.astype(np.float32))


def _lay(planes: Pixels, colour: Pixels, cover: Pixels, light: Pixels | float = 1.0) -> None:
    """Blend a colour, lit or shaded, over part of the canvas."""
    for plane, tone in zip(planes, colour, strict=True):
        np.add(plane, cover * (light * tone - plane), out=plane)
