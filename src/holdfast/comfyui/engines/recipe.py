"""A recipe: one way of making pictures or clips, and what it needs for that.

A recipe joins a builder of workflows with the model files it loads, the sizes
it can make, and the settings its makers recommend.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from holdfast.comfyui.engines.grids import Grid
from holdfast.comfyui.engines.wish import Lora
from holdfast.comfyui.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a builder needs beside the names of model files. Nothing is left open."""

    prompt: str
    seed: int = 0
    negative: str = ""
    width: int = 512
    """Pixels."""
    height: int = 512
    """Pixels."""
    batch: int = 1
    steps: int = 20
    cfg: float = 7.0
    guidance: float | None = None
    """Only for models that have it built in."""
    shift: float = 8.0
    """Only for flow models whose time shift is set in the workflow."""
    sampler: str = "euler"
    scheduler: str = "normal"
    denoise: float = 1.0
    loras: tuple[Lora, ...] = ()
    image: str | None = None
    """The picture to start from, as the server calls it; None: from nothing."""
    frames: int = 1
    fps: float = 24.0
    weights: str = "default"
    """Precision in which a diffusion model of its own file is loaded."""
    prefix: str = "holdfast"
    """What the server calls the files."""


Build = Callable[[Settings, Mapping[str, str]], Workflow]
"""From settings and file names by role to a workflow. Pure."""


@dataclass(frozen=True, slots=True)
class Role:
    """A model file that a recipe loads."""

    name: str
    """What it is called in ``models=``, such as ``checkpoint``."""
    folder: str
    """Where a server looks for it, below its ``models`` folder."""
    loader: str
    """The node class that lists the files there are ..."""
    input: str
    """... and its input that does."""
    like: tuple[str, ...]
    """Patterns of names that fit, best first; searched in the name without folders, in lower
    case."""
    example: str
    """The name under which the makers' own file is known."""
    unlike: str | None = None
    """A pattern of names that do not fit, whatever else they match."""

    def preferred(self, names: Sequence[str]) -> list[str]:
        """Of these names the ones that fit, best first."""
        ranked = [(rank, name) for name in names if (rank := self._rank(name)) is not None]
        return [name for _rank, name in sorted(ranked, key=lambda each: (each[0], each[1]))]

    def _rank(self, name: str) -> int | None:
        plain = re.split(r"[/\\]", name)[-1].lower()
        if self.unlike is not None and re.search(self.unlike, plain):
            return None
        return next((at for at, each in enumerate(self.like) if re.search(each, plain)), None)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way of making something."""

    name: str
    family: str
    kind: Literal["image", "video"]
    roles: tuple[Role, ...]
    build: Build
    grid: Grid
    width: int
    """Pixels; with `height` the size the model was made for."""
    height: int
    """Pixels."""
    steps: int
    cfg: float
    sampler: str
    scheduler: str
    image: bool | None = None
    """Whether it starts from a picture: always, never, or (None) as asked."""
    negative: str = ""
    """What the makers' examples do not want to see."""
    reads_negative: bool = True
    """Whether a negative prompt has any effect at the recipe's own `cfg`."""
    guidance: float | None = None
    """None: the model has none built in."""
    shift: float = 0.0
    denoise: float = 0.75
    """How much of a picture given changes, unless said otherwise."""
    frames: int = 1
    fps: float = 24.0
    has_cfg: bool = True
    """Whether its workflow has a cfg to set."""

    def makes(self, *, from_picture: bool) -> bool:
        """Whether it can be asked so."""
        return self.image is None or self.image is from_picture
