"""The jobs of the survival benchmark: what is asked for, and what a true delivery looks like."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

MAKERS = ("plain", "painting", "batch", "large_batch", "tall", "styled", "sharpened", "wrong")
SHARES = (15, 45, 10, 6, 5, 7, 8, 2)
"""In a hundred jobs, on the average."""

LORA = "style.safetensors"
"""One server lacks it."""
OPTIONAL_NODE = "ImageSharpen"
"""One server lacks it."""


@dataclass(frozen=True, slots=True)
class Order:
    """One job."""

    name: str
    kind: str
    graph: dict[str, Any]
    pictures: int
    """How many it should make."""
    deliverable: bool = True
    """Whether any server could make it at all, if nothing went wrong but memory."""


def orders(count: int, seed: int) -> list[Order]:
    """So many jobs of all kinds, the same ones for the same seed."""
    dice = random.Random(seed)
    kinds = dice.choices(MAKERS, SHARES, k=count)
    return [_order(f"job{number:04d}", kind, dice) for number, kind in enumerate(kinds)]


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def _order(name: str, kind: str, dice: random.Random) -> Order:
    seed = dice.randrange(2**32)
    if kind == "plain":
        graph = {
            "1": node("EmptyImage", width=96, height=96, batch_size=1, color=dice.randrange(2**24)),
            "7": node("SaveImage", images=["1", 0], filename_prefix=name),
        }
        return Order(name, kind, graph, 1)
    batch = {"batch": 4, "large_batch": 8}.get(kind, 1)
    width, height = (768, 1024) if kind == "tall" else (512, 512) if batch == 8 else (256, 256)
    graph = _painting(name, seed, width, height, batch)
    if kind == "styled":
        graph["8"] = node(
            "LoraLoader", model=["1", 0], clip=["1", 1], lora_name=LORA,
            strength_model=0.8, strength_clip=0.8,
        )  # fmt: skip
        graph["5"]["inputs"]["model"] = ["8", 0]
    elif kind == "sharpened":
        graph["8"] = node(OPTIONAL_NODE, image=["6", 0], sharpen_radius=1, sigma=1.0, alpha=1.0)
        graph["7"]["inputs"]["images"] = ["8", 0]
    elif kind == "wrong":
        graph["1"]["inputs"]["ckpt_name"] = "nobody-has-this.safetensors"
    return Order(name, kind, graph, batch, deliverable=kind != "wrong")


def _painting(name: str, seed: int, width: int, height: int, batch: int) -> dict[str, Any]:
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name="sd15.safetensors"),
        "2": node("CLIPTextEncode", clip=["1", 1], text=f"a lighthouse, {name}"),
        "3": node("CLIPTextEncode", clip=["1", 1], text="blurry"),
        "4": node("EmptyLatentImage", width=width, height=height, batch_size=batch),
        "5": node(
            "KSampler", model=["1", 0], positive=["2", 0], negative=["3", 0],
            latent_image=["4", 0], seed=seed, steps=6, cfg=7.0, sampler_name="euler",
            scheduler="normal", denoise=1.0,
        ),
        "6": node("VAEDecode", samples=["5", 0], vae=["1", 2]),
        "7": node("SaveImage", images=["6", 0], filename_prefix=name),
    }  # fmt: skip
