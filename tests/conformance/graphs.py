"""Small graphs in ComfyUI's API format, from its core nodes.

Every builder makes a graph of its own: colours, seeds and prefixes are drawn
anew, so that no run is served from the cache of another test.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from typing import Any

Graph = dict[str, dict[str, Any]]

CHANCE = random.Random()

WIDTH_CONFIG = ["INT", {"default": 512, "min": 1, "max": 16384, "step": 1}]
"""What ``EmptyImage`` says about its width and height."""


def prefix() -> str:
    """Return a file name prefix that no other test uses."""
    return f"hf_conf_{uuid.uuid4().hex[:12]}"


def color() -> int:
    """Return a colour that hardly any other test uses."""
    return CHANCE.randrange(1, 0xFFFFFF)


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """Return one node."""
    return {"class_type": class_type, "inputs": inputs}


def empty_image(**changes: Any) -> dict[str, Any]:
    """Return an ``EmptyImage`` of its own colour; a change to None removes the input."""
    inputs = {"width": 64, "height": 64, "batch_size": 1, "color": color()} | changes
    return node("EmptyImage", **inputs)


def preview(**changes: Any) -> Graph:
    """Return ``EmptyImage`` 1 -> ``PreviewImage`` 2."""
    return {"1": empty_image(**changes), "2": node("PreviewImage", images=["1", 0])}


def save(name: str | None = None, **changes: Any) -> Graph:
    """Return ``EmptyImage`` 1 -> ``ImageInvert`` 2 -> ``SaveImage`` 3."""
    return {
        "1": empty_image(**changes),
        "2": node("ImageInvert", image=["1", 0]),
        "3": node("SaveImage", images=["2", 0], filename_prefix=name or prefix()),
    }


def branches() -> Graph:
    """Return a graph with two outputs, 6 behind node 3 and 5 behind node 4."""
    return {
        "1": empty_image(),
        "2": node(
            "ImageScale",
            image=["1", 0],
            upscale_method="bilinear",
            width=128,
            height=96,
            crop="disabled",
        ),
        "3": node("ImageInvert", image=["2", 0]),
        "4": node("ImageBlur", image=["3", 0], blur_radius=2, sigma=1.0),
        "5": node("SaveImage", images=["4", 0], filename_prefix=prefix()),
        "6": node("PreviewImage", images=["3", 0]),
    }


def failing() -> Graph:
    """Return a graph whose ``SaveImage`` 3 fails: it may not leave the output folder."""
    return save(f"../../{prefix()}")


def half_failing() -> Graph:
    """Return a graph whose preview 3 works before its ``SaveImage`` 5 fails."""
    return {
        "1": empty_image(),
        "2": node("ImageInvert", image=["1", 0]),
        "3": node("PreviewImage", images=["2", 0]),
        "4": node("ImageSharpen", image=["2", 0], sharpen_radius=1, sigma=1.0, alpha=1.0),
        "5": node("SaveImage", images=["4", 0], filename_prefix=f"../../{prefix()}"),
    }


def load_image(name: str) -> Graph:
    """Return ``LoadImage`` 1 -> ``PreviewImage`` 2."""
    return {"1": node("LoadImage", image=name), "2": node("PreviewImage", images=["1", 0])}


def text_to_image(checkpoint: str, steps: int = 2) -> Graph:
    """Return a 64x64 text to image graph; its sampler is node 3, its output node 9."""
    return {
        "4": node("CheckpointLoaderSimple", ckpt_name=checkpoint),
        "6": node("CLIPTextEncode", text="a lighthouse at dusk", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="fog", clip=["4", 1]),
        "5": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "3": node(
            "KSampler",
            seed=CHANCE.randrange(2**48),
            steps=steps,
            cfg=7.0,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
            model=["4", 0],
            positive=["6", 0],
            negative=["7", 0],
            latent_image=["5", 0],
        ),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("PreviewImage", images=["8", 0]),
    }


@dataclass(frozen=True, slots=True)
class SlowGraph:
    """A graph that keeps a server busy, and the nodes that do so."""

    graph: Graph
    busy: tuple[str, ...]

    @property
    def output(self) -> str:
        """Its output node."""
        return list(self.graph)[-1]


def slow_sampling(checkpoint: str, steps: int) -> SlowGraph:
    """Return a graph that samples for many steps."""
    return SlowGraph(text_to_image(checkpoint, steps), ("3",))


def slow_blurring(length: int) -> SlowGraph:
    """Return a graph of many blurs in a row, for servers without a checkpoint."""
    graph: Graph = {"1": empty_image(width=768, height=768)}
    for index in range(2, length + 2):
        graph[str(index)] = node("ImageBlur", image=[str(index - 1), 0], blur_radius=15, sigma=5.0)
    busy = tuple(graph)[1:]
    last = str(length + 2)
    graph[last] = node("PreviewImage", images=[busy[-1], 0])
    return SlowGraph(graph, busy)
