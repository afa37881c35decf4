"""What ComfyUI's page saves: what it does, what a server would say to it, what may be changed."""

import asyncio
import json

from holdfast.comfyui import ComfyUI, Workflow
from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.preflight import preflight
from holdfast.comfyui.standin import StandIn
from holdfast.comfyui.surgery import next_memory_edit
from holdfast.comfyui.views import view

SAVED = {
    "version": 0.4,
    "nodes": [
        {"id": 1, "type": "CheckpointLoaderSimple", "mode": 0,
         "widgets_values": ["sd16.safetensors"],
         "outputs": [{"name": "MODEL", "type": "MODEL"}, {"name": "CLIP", "type": "CLIP"},
                     {"name": "VAE", "type": "VAE"}]},
        {"id": 2, "type": "CLIPTextEncode", "mode": 0, "widgets_values": ["a lighthouse"],
         "inputs": [{"name": "clip", "type": "CLIP", "link": 1}],
         "outputs": [{"name": "CONDITIONING", "type": "CONDITIONING"}]},
        {"id": 3, "type": "EmptyLatentImage", "mode": 0, "widgets_values": [512, 512, 4],
         "outputs": [{"name": "LATENT", "type": "LATENT"}]},
        {"id": 4, "type": "KSampler", "mode": 0,
         "widgets_values": [7, "fixed", 20, 7.5, "euler", "normal", 1.0],
         "inputs": [{"name": "model", "type": "MODEL", "link": 2},
                    {"name": "positive", "type": "CONDITIONING", "link": 3},
                    {"name": "negative", "type": "CONDITIONING", "link": 4},
                    {"name": "latent_image", "type": "LATENT", "link": 5}],
         "outputs": [{"name": "LATENT", "type": "LATENT"}]},
        {"id": 5, "type": "VAEDecode", "mode": 0,
         "inputs": [{"name": "samples", "type": "LATENT", "link": 6},
                    {"name": "vae", "type": "VAE", "link": 7}],
         "outputs": [{"name": "IMAGE", "type": "IMAGE"}]},
        {"id": 6, "type": "SaveImage", "mode": 0, "widgets_values": ["picture"],
         "inputs": [{"name": "images", "type": "IMAGE", "link": 8}]},
    ],
    "links": [[1, 1, 1, 2, 0, "CLIP"], [2, 1, 0, 4, 0, "MODEL"], [3, 2, 0, 4, 1, "CONDITIONING"],
              [4, 2, 0, 4, 2, "CONDITIONING"], [5, 3, 0, 4, 3, "LATENT"], [6, 4, 0, 5, 0, "LATENT"],
              [7, 1, 2, 5, 1, "VAE"], [8, 5, 0, 6, 0, "IMAGE"]],
}  # fmt: skip


async def main() -> None:
    """Read it as a server would, look at it, check it, and make it lighter."""
    with StandIn() as server:
        async with ComfyUI(server.url) as comfy:
            known = Catalog.of(await comfy.servers[0].object_info())
    workflow = Workflow.parse(json.dumps(SAVED), object_info=known)

    seen = view(workflow, known)
    print("prompts:", [prompt.value for prompt in seen.prompts])
    print("models:", [model.value for model in seen.models])

    for problem in preflight(workflow, known).problems:
        print(f"{problem.severity}: {problem.words}")

    lighter = next_memory_edit(workflow, known, "5")
    if lighter is not None:
        print("lighter:", lighter.change.words)


if __name__ == "__main__":
    asyncio.run(main())
