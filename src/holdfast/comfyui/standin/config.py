"""What a stand-in server is made of: its device, its models, its faults.

A frozen record and nothing else; reading it starts nothing. Every field has a
default, so ``StandInConfig()`` is a healthy server with a few models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from holdfast.comfyui.standin.faults import Fault
from holdfast.errors import BadInputError

GIB = 1024**3
MIB = 1024**2

FOLDER_NAMES = (
    "checkpoints",
    "configs",
    "loras",
    "vae",
    "text_encoders",
    "diffusion_models",
    "clip_vision",
    "style_models",
    "embeddings",
    "diffusers",
    "vae_approx",
    "controlnet",
    "gligen",
    "upscale_models",
    "custom_nodes",
    "hypernetworks",
    "photomaker",
    "classifiers",
    "model_patches",
    "audio_encoders",
)
"""What ``GET /models`` lists, in its order."""

OLD_FOLDER_NAMES = MappingProxyType({"unet": "diffusion_models", "clip": "text_encoders"})
"""Names from before, still understood."""

DEFAULT_MODELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "checkpoints": ("sd15.safetensors", "sdxl.safetensors"),
        "diffusion_models": (
            "flux1-dev.safetensors",
            "flux1-dev-fp8.safetensors",
            "wan2.1_t2v_1.3B_fp16.safetensors",
        ),
        "text_encoders": (
            "clip_l.safetensors",
            "t5xxl_fp16.safetensors",
            "t5xxl_fp8_e4m3fn.safetensors",
            "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
        ),
        "vae": ("ae.safetensors", "sd15-vae.safetensors", "wan_2.1_vae.safetensors"),
        "loras": ("detail.safetensors", "style.safetensors"),
        "upscale_models": ("2x-plain.pth", "4x-plain.pth"),
    }
)

DEFAULT_MODEL_SIZES: Mapping[str, int] = MappingProxyType(
    {
        "sd15.safetensors": 2 * GIB,
        "sdxl.safetensors": 6 * GIB,
        "flux1-dev.safetensors": 22 * GIB,
        "flux1-dev-fp8.safetensors": 11 * GIB,
        "wan2.1_t2v_1.3B_fp16.safetensors": 3 * GIB,
        "clip_l.safetensors": 240 * MIB,
        "t5xxl_fp16.safetensors": 9 * GIB,
        "t5xxl_fp8_e4m3fn.safetensors": 5 * GIB,
        "umt5_xxl_fp8_e4m3fn_scaled.safetensors": 6 * GIB,
        "ae.safetensors": 320 * MIB,
        "sd15-vae.safetensors": 160 * MIB,
        "wan_2.1_vae.safetensors": 240 * MIB,
        "detail.safetensors": 140 * MIB,
        "style.safetensors": 140 * MIB,
        "2x-plain.pth": 64 * MIB,
        "4x-plain.pth": 64 * MIB,
    }
)


@dataclass(frozen=True)
class StandInConfig:
    """Settings of one stand-in server."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 0
    """Port to listen on; 0 picks a free one, which is kept over restarts."""
    folder: Path | None = None
    """Where input, output, temp and models lie. None: a temporary folder, removed by `stop`."""
    vram_bytes: int = 24 * GIB
    """Graphics memory."""
    device: Literal["cuda", "cpu"] = "cuda"
    """What ``/system_stats`` claims, and how running out of memory sounds."""
    models: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: DEFAULT_MODELS)
    """Model names by folder, beside the files that really lie in ``folder/models``."""
    model_sizes: Mapping[str, int] = field(default_factory=lambda: DEFAULT_MODEL_SIZES)
    """Bytes of graphics memory by model name."""
    without_nodes: frozenset[str] = frozenset()
    """Node classes this server does not have."""
    without_models: frozenset[str] = frozenset()
    """Model names this server does not have."""
    corrupt_models: frozenset[str] = frozenset()
    """Model names that are listed but whose files are damaged."""
    step_seconds: float = 0.02
    """How long one sampling step takes."""
    history_limit: int = 10000
    """Finished jobs remembered before the oldest is dropped."""
    max_upload: int = 100 * MIB
    """Largest request body, in bytes; more is answered with 413."""
    faults: tuple[Fault, ...] = ()
    """What goes wrong, and when."""
    page: Path | None = None
    """A folder with ComfyUI's web page, as the package comfyui-frontend-package has it; None: no
    page is served."""
    seed: int | None = None
    """Makes the server's own random names repeatable. None: different every time."""

    def __post_init__(self) -> None:
        if self.device not in {"cuda", "cpu"}:
            raise BadInputError(f"device is {self.device!r}; it must be 'cuda' or 'cpu'")
        if not 0 <= self.port <= 65535:
            raise BadInputError(f"port is {self.port!r}; it must be 0 to 65535")
        if self.vram_bytes <= 0:
            raise BadInputError(f"vram_bytes is {self.vram_bytes!r}; it must be above 0")
        if self.step_seconds < 0:
            raise BadInputError(f"step_seconds is {self.step_seconds!r}; it must be 0 or more")
        for folder in self.models:
            if OLD_FOLDER_NAMES.get(folder, folder) not in FOLDER_NAMES:
                known = ", ".join(FOLDER_NAMES)
                raise BadInputError(f"models has folder {folder!r}; it must be one of {known}")

    def listed(self, folder: str) -> set[str]:
        """Names of the models in ``folder`` by these settings, absent ones left out."""
        wanted = OLD_FOLDER_NAMES.get(folder, folder)
        names = {
            name
            for key, models in self.models.items()
            if OLD_FOLDER_NAMES.get(key, key) == wanted
            for name in models
        }
        return names - self.without_models
