"""Small workflows for tests."""

from __future__ import annotations

from typing import Any

from holdfast.comfyui import Workflow


def picture(color: int = 7, size: int = 64, prefix: str = "pic") -> Workflow:
    """Model-free: two nodes and a file."""
    return Workflow.from_api(
        {
            "1": node("EmptyImage", width=size, height=size, batch_size=1, color=color),
            "2": node("ImageInvert", image=["1", 0]),
            "3": node("SaveImage", images=["2", 0], filename_prefix=prefix),
        },
        name="picture",
    )


def painting(seed: int = 1, *, steps: int = 4, size: int = 256, batch: int = 1) -> Workflow:
    """Text to image with a checkpoint."""
    return Workflow.from_api(
        {
            "1": node("CheckpointLoaderSimple", ckpt_name="sd15.safetensors"),
            "2": node("CLIPTextEncode", clip=["1", 1], text="a lighthouse in a storm"),
            "3": node("CLIPTextEncode", clip=["1", 1], text="blurry"),
            "4": node("EmptyLatentImage", width=size, height=size, batch_size=batch),
            "5": node(
                "KSampler",
                model=["1", 0],
                positive=["2", 0],
                negative=["3", 0],
                latent_image=["4", 0],
                seed=seed,
                steps=steps,
                cfg=7.0,
                sampler_name="euler",
                scheduler="normal",
                denoise=1.0,
            ),
            "6": node("VAEDecode", samples=["5", 0], vae=["1", 2]),
            "7": node("SaveImage", images=["6", 0], filename_prefix="painting"),
        },
        name="painting",
    )


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """One node in API format."""
    return {"class_type": class_type, "inputs": inputs}
