"""Where node classes come from that no server has by itself, as far as their names tell."""

from __future__ import annotations

import re

_PACKS = (
    (r"^VHS_", "Kosinkadink/ComfyUI-VideoHelperSuite"),
    (r"^ADE_", "Kosinkadink/ComfyUI-AnimateDiff-Evolved"),
    (r"^ACN_", "Kosinkadink/ComfyUI-Advanced-ControlNet"),
    (r"^(WanVideo|LoadWanVideo)", "kijai/ComfyUI-WanVideoWrapper"),
    (r"^HyVideo", "kijai/ComfyUI-HunyuanVideoWrapper"),
    (r"\(rgthree\)$", "rgthree/rgthree-comfy"),
    (r"\|pysssss$", "pythongosssss/ComfyUI-Custom-Scripts"),
    (r"^easy ", "yolain/ComfyUI-Easy-Use"),
    (r"^CR ", "Suzie1/ComfyUI_Comfyroll_CustomNodes"),
    (r"^UltimateSDUpscale", "ssitu/ComfyUI_UltimateSDUpscale"),
    (r"^UltralyticsDetectorProvider$", "ltdrdata/ComfyUI-Impact-Subpack"),
    (r"^(FaceDetailer|DetailerForEach|SAMLoader$|Impact)", "ltdrdata/ComfyUI-Impact-Pack"),
    (r"^IPAdapter", "cubiq/ComfyUI_IPAdapter_plus"),
    (r"^(UnetLoader|CLIPLoader|DualCLIPLoader|TripleCLIPLoader)GGUF", "city96/ComfyUI-GGUF"),
    (r"^(RIFE|FILM|AMT|GMFSS \w+|CAIN) VFI$", "Fannovel16/ComfyUI-Frame-Interpolation"),
    (r"^AIO_Preprocessor$|Preprocessor$", "Fannovel16/comfyui_controlnet_aux"),
    (r"^SeedVR2", "numz/ComfyUI-SeedVR2_VideoUpscaler"),
    (r"^SUPIR_", "kijai/ComfyUI-SUPIR"),
    (r"^(INTConstant|FloatConstant|StringConstant)|KJ(v2)?$", "kijai/ComfyUI-KJNodes"),
    (r"^(DownloadAndLoad)?Florence2", "kijai/ComfyUI-Florence2"),
    (r"DepthAnythingV2", "kijai/ComfyUI-DepthAnythingV2"),
    (r"^Layer(Mask|Utility|Style|Color|Filter): ", "chflame163/ComfyUI_LayerStyle"),
    (r"^ReActor", "Gourieff/ComfyUI-ReActor"),
    (r"\w\+$", "cubiq/ComfyUI_essentials"),
)
_COMPILED = tuple((re.compile(pattern), name) for pattern, name in _PACKS)


def pack_of(class_type: str) -> str | None:
    """The address of the pack that a node class is known to be in, None if nobody knows.

    Names of classes are not registered anywhere, so another pack may use the same one.
    """
    name = class_type[:200]
    found = next((pack for pattern, pack in _COMPILED if pattern.search(name)), None)
    return None if found is None else f"https://github.com/{found}"
