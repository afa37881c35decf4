"""Engines: pictures and clips for people who do not write graphs.

::

    async with ImageEngine("http://gpu1:8188", "http://gpu2:8188") as engine:
        result = await engine.generate("a lighthouse in a storm", width=1216, height=832)
        result.images[0].show()

An engine looks at what the servers have, takes the best family that fits, builds
the workflow, runs it with everything `ComfyUI` knows about recovery, and goes
down a ladder where that is not enough. Whatever is not as asked is in
`result.degradations`.
"""

from holdfast.comfyui.engines.image import ImageEngine, SyncImageEngine
from holdfast.comfyui.engines.ladders import LADDERS, Rung
from holdfast.comfyui.engines.made import ImageResult, VideoResult
from holdfast.comfyui.engines.recipe import Recipe, Role, Settings
from holdfast.comfyui.engines.recipes import FAMILIES, RECIPES
from holdfast.comfyui.engines.video import SyncVideoEngine, VideoEngine
from holdfast.comfyui.engines.wish import Lora

__all__ = [
    "FAMILIES",
    "LADDERS",
    "RECIPES",
    "ImageEngine",
    "ImageResult",
    "Lora",
    "Recipe",
    "Role",
    "Rung",
    "Settings",
    "SyncImageEngine",
    "SyncVideoEngine",
    "VideoEngine",
    "VideoResult",
]
