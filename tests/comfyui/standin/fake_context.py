"""A `NodeContext` without a server, and a way to run nodes by name in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL.Image import Image

from holdfast.comfyui.standin.memory import GIB, GraphicsMemory
from holdfast.comfyui.standin.node import Folders, NodeContext
from holdfast.comfyui.standin.nodes import CATALOG


@dataclass
class FakeServer:
    """Runs nodes as a worker would and remembers what they reported."""

    root: Path
    memory: GraphicsMemory = field(default_factory=lambda: GraphicsMemory(24 * GIB))
    prompt: dict[str, Any] = field(default_factory=dict)
    extra_pnginfo: dict[str, Any] | None = None
    model_files: dict[str, list[str]] = field(default_factory=dict)
    corrupt: frozenset[str] = frozenset()
    progress: list[tuple[int, int, Image | None]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    saved: list[tuple[str, Path, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folders = Folders(self.root / "input", self.root / "output", self.root / "temp")
        for folder in (self.folders.input, self.folders.output, self.folders.temp):
            folder.mkdir(exist_ok=True)
        self.context = NodeContext(
            node_id="1",
            prompt=self.prompt,
            extra_pnginfo=self.extra_pnginfo,
            folders=self.folders,
            memory=self.memory,
            progress=lambda value, maximum, preview=None, **_whole: self.progress.append(
                (value, maximum, preview)
            ),
            check=lambda: None,
            sleep=self.slept.append,
            step_seconds=1.0,
            before_save=lambda path: self.saved.append(("before", path, path.exists())),
            after_save=lambda path: self.saved.append(("after", path, path.exists())),
            is_corrupt=lambda _folder, name: name in self.corrupt,
        )

    def models(self, folder: str) -> list[str]:
        return self.model_files.get(folder, [])

    def input_images(self) -> list[str]:
        return sorted(path.name for path in self.folders.input.iterdir())

    def run(self, name: str, **inputs: Any) -> Any:
        """Run a node; return its one value, or all of them if it has several."""
        values = CATALOG[name].run(self.context, **inputs).values
        return values[0] if len(values) == 1 else values

    def show(self, name: str, **inputs: Any) -> Any:
        """Run an output node; return what it shows."""
        return CATALOG[name].run(self.context, **inputs).ui

    def sample(self, latent: Any, **changes: Any) -> Any:
        """Run a `KSampler` on a latent with a small model and prompt, but for `changes`."""
        checkpoint = changes.pop("checkpoint", "sd15.safetensors")
        prompt = changes.pop("prompt", "a lighthouse")
        model, clip, vae = self.run("CheckpointLoaderSimple", ckpt_name=checkpoint)
        inputs: dict[str, Any] = {
            "model": model,
            "seed": 1,
            "steps": 4,
            "cfg": 7.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "positive": self.run("CLIPTextEncode", text=prompt, clip=clip),
            "negative": self.run("CLIPTextEncode", text="", clip=clip),
            "latent_image": latent,
        }
        return self.run("KSampler", **(inputs | changes)), vae

    def picture(self, width: int = 64, height: int = 64, **changes: Any) -> Any:
        """Sample an empty latent of this size and decode it."""
        latent = self.run("EmptyLatentImage", width=width, height=height, batch_size=1)
        sampled, vae = self.sample(latent, **changes)
        return self.run("VAEDecode", samples=sampled, vae=vae)
