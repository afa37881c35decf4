"""Builders: from settings and names of model files to a workflow, one module for each family.

They are pure functions, and make what the makers' own example workflows make::

    from holdfast.comfyui.engines import Settings
    from holdfast.comfyui.engines.builders import sdxl

    settings = Settings("a lighthouse", width=1024, height=1024)
    workflow = sdxl.build(settings, {"checkpoint": "sd_xl_base_1.0.safetensors"})
"""

from holdfast.comfyui.engines.builders import flux, hunyuan, ltxv, sd3, sd15, sdxl, wan

__all__ = ["flux", "hunyuan", "ltxv", "sd3", "sd15", "sdxl", "wan"]
