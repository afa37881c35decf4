"""What travels along the links between nodes, apart from pictures and masks.

Frozen values without behaviour of their own: loaders make them, samplers and
decoders read them. A latent is not numbers but the story of how it came about;
`decoding.render` turns that story into pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.comfyui.standin.node import Memory
from holdfast.comfyui.standin.painter import Pixels, Recipe


@dataclass(frozen=True, slots=True)
class Weights:
    """Model weights that can be resident in graphics memory."""

    key: str
    """Name to the memory; see `memory.weights_key`."""
    size: int
    """Bytes when resident, LoRA patches included."""

    def place(self, memory: Memory) -> tuple[str, ...]:
        """Make these weights resident; return what `Memory.work` then needs."""
        memory.load(self.key, self.size)
        return (self.key,)


@dataclass(frozen=True, slots=True)
class Model:
    """A MODEL: a diffusion model and what was patched into it."""

    name: str
    weights: Weights
    loras: tuple[tuple[str, float], ...] = ()
    """LoRA names and strengths, in the order applied."""
    shift: float | None = None
    """Time shift set by a ModelSampling node."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A CLIP: one or two text encoders."""

    name: str
    weights: tuple[Weights, ...]
    """Empty when the encoder runs on the CPU and takes no graphics memory."""
    loras: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Vae:
    """A VAE."""

    name: str
    weights: Weights


@dataclass(frozen=True, slots=True)
class UpscaleModel:
    """An UPSCALE_MODEL."""

    name: str
    weights: Weights
    scale: int
    """Factor by which both sides grow."""


@dataclass(frozen=True, slots=True)
class Conditioning:
    """A CONDITIONING: what was asked for, in words."""

    texts: tuple[str, ...]
    guidance: float | None = None
    """Strength for models with guidance built in, such as Flux."""

    @property
    def text(self) -> str:
        """All texts as one line."""
        return " | ".join(self.texts)


@dataclass(frozen=True, slots=True, eq=False)
class Latent:
    """A LATENT: its size, and the story of how it came about.

    Exactly one of these holds:

    - ``recipe``: it was sampled, over ``under`` if ``share`` is less than 1
    - ``pixels``: it was encoded from pictures
    - ``under`` alone: another latent, resized
    - none of them: it is empty
    """

    width: int
    """Pixels, a multiple of `cell`."""
    height: int
    """Pixels, a multiple of `cell`."""
    frames: int = 1
    """Frames of each item, as they will be decoded."""
    batch: int = 1
    first: int = 0
    """Which item of the batch it was cut from its first item was: noise goes by that place."""
    cell: int = 8
    """Pixels in the side of one latent cell."""
    stride: int = 1
    """Frames that each latent frame after the first stands for."""
    recipe: Recipe | None = None
    share: float = 1.0
    """How much of the picture is the recipe's, from 0 to 1."""
    leftover: float = 0.0
    """Noise still in it, from 0 (none) to 1 (nothing else)."""
    pixels: Pixels | None = None
    under: Latent | None = None
    cropped: bool = False
    """Whether `under` was cut about its centre to fit, rather than squeezed."""

    @property
    def tokens(self) -> int:
        """Tokens a diffusion model sees: 2 x 2 small cells, or one large cell, each."""
        side = max(16, self.cell)
        latent_frames = (self.frames - 1) // self.stride + 1
        return max(1, self.width * self.height // side**2) * latent_frames * self.batch

    @property
    def pictures(self) -> int:
        """Pictures that a decode gives."""
        return self.frames * self.batch


@dataclass(frozen=True, slots=True, eq=False)
class Video:
    """A VIDEO: pictures and how quickly they follow each other. Sound is dropped."""

    pictures: Pixels
    fps: float = 30.0
