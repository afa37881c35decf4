"""The model files recipes ask for, and by which names they are recognised, best first.

The order is the preference: the makers' own files at full precision, then the
same in 8 bits, then other files that say in their name what they are. A file
whose name says nothing is never guessed at; it has to be named in ``models=``.
"""

from __future__ import annotations

from holdfast.comfyui.engines.recipe import Role


def _checkpoint(
    *like: str, example: str, unlike: str | None = None, name: str = "checkpoint"
) -> Role:
    return Role(
        name, "checkpoints", "CheckpointLoaderSimple", "ckpt_name", like, example, unlike=unlike
    )


def _unet(name: str, *like: str, example: str, unlike: str | None = None) -> Role:
    return Role(name, "diffusion_models", "UNETLoader", "unet_name", like, example, unlike=unlike)


def _encoder(
    name: str, *like: str, example: str, at: tuple[str, str], unlike: str | None = None
) -> Role:
    return Role(name, "text_encoders", *at, like, example, unlike=unlike)


def _vae(*like: str, example: str) -> Role:
    return Role("vae", "vae", "VAELoader", "vae_name", like, example)


_DISTILLED = r"turbo|lightning|hyper|lcm|dmd"
_SPECIAL = r"inpaint|refiner|instruct|pix2pix|kontext|fill|depth|canny|redux|control"

SD15 = _checkpoint(
    *(r"v1-5-pruned-emaonly", r"v1-5", r"(?<![a-z0-9])sd[-_. ]?(v?1[-_.]?5|15)(?!\d)"),
    *(r"dreamshaper_?8", r"realistic_?vision", r"deliberate", r"anything-?_?v[345]"),
    unlike=rf"{_DISTILLED}|{_SPECIAL}|xl|vae",
    example="v1-5-pruned-emaonly-fp16.safetensors",
)
SDXL = _checkpoint(
    *(r"sd_?xl_base", r"^sd_?xl(?![a-z])", r"juggernaut_?-?xl", r"dreamshaper_?xl"),
    *(r"sd_?xl", r"pony|illustrious|noobai", r"xl"),
    unlike=rf"{_DISTILLED}|{_SPECIAL}|vae|flux|lora",
    example="sd_xl_base_1.0.safetensors",
)
SDXL_REFINER = _checkpoint(
    r"xl_?-?refiner", example="sd_xl_refiner_1.0.safetensors", name="refiner"
)

_PAIR = ("DualCLIPLoader", "clip_name1")
_PAIRED = ("DualCLIPLoader", "clip_name2")
_ALONE = ("CLIPLoader", "clip_name")
_T5 = (r"^t5xxl_?fp16", r"^t5-?xxl.*fp8.*scaled", r"^t5-?xxl.*fp8", r"^t5-?_?xxl", r"^t5-v1_1-xxl")
CLIP_L = _encoder("clip_l", r"^clip_l\.", r"^clip_l", example="clip_l.safetensors", at=_PAIR)
FLUX_T5 = _encoder("t5", *_T5, example="t5xxl_fp16.safetensors", at=_PAIRED)
FLUX_VAE = _vae(r"^ae\.", r"flux.*(vae|ae)\b", example="ae.safetensors")
FLUX_DEV = _unet(
    "model",
    *(r"^flux1-dev\.", r"^flux1-dev", r"flux.*krea", r"flux.*dev"),
    unlike=rf"{_SPECIAL}|lora|schnell|flux\.?2|{_DISTILLED}",
    example="flux1-dev.safetensors",
)
FLUX_SCHNELL = _unet(
    "model", r"^flux1-schnell", r"flux.*schnell", unlike="lora", example="flux1-schnell.safetensors"
)
FLUX_DEV_WHOLE = _checkpoint(
    *(r"^flux1-dev", r"flux.*dev"),
    unlike=rf"{_SPECIAL}|lora|schnell|flux\.?2|{_DISTILLED}",
    example="flux1-dev-fp8.safetensors",
)
FLUX_SCHNELL_WHOLE = _checkpoint(r"flux.*schnell", example="flux1-schnell-fp8.safetensors")

SD3_WHOLE = _checkpoint(
    *(r"sd3\.5_large_fp8_scaled", r"sd3\.?5.*incl_clips", r"sd3.*incl_clips"),
    unlike=rf"{_DISTILLED}|{_SPECIAL}",
    example="sd3.5_large_fp8_scaled.safetensors",
)
SD3_BARE = _checkpoint(
    *(r"sd3\.5_large", r"sd3\.5_medium", r"sd3_medium"),
    unlike=rf"{_DISTILLED}|{_SPECIAL}|incl_clips|fp8_scaled",
    example="sd3.5_large.safetensors",
)
SD3_ENCODERS = tuple(
    _encoder(name, *like, example=example, at=("TripleCLIPLoader", where))
    for name, like, example, where in (
        ("clip_l", (r"^clip_l\.", r"^clip_l"), "clip_l.safetensors", "clip_name1"),
        ("clip_g", (r"^clip_g\.", r"^clip_g"), "clip_g.safetensors", "clip_name2"),
        ("t5", _T5, "t5xxl_fp16.safetensors", "clip_name3"),
    )
)

LTXV = _checkpoint(
    *(r"ltxv?-?.*2b.*0\.9\.[5-8]", r"ltx-?video-?2b", r"ltxv?.*2b"),
    unlike=r"distilled|upscaler|13b|lora",
    example="ltx-video-2b-v0.9.safetensors",
)
LTXV_T5 = _encoder("t5", *_T5, example="t5xxl_fp16.safetensors", at=_ALONE)

UMT5 = _encoder(
    "t5",
    *(r"^umt5_?-?xxl_?-?fp16", r"^umt5.*fp8.*scaled", r"^umt5"),
    example="umt5_xxl_fp8_e4m3fn_scaled.safetensors",
    at=_ALONE,
)
WAN_VAE = _vae(r"^wan_?2\.1_vae", example="wan_2.1_vae.safetensors")
WAN22_VAE = _vae(r"^wan_?2\.2_vae", example="wan2.2_vae.safetensors")
WAN_VISION = Role(
    "clip_vision",
    "clip_vision",
    "CLIPVisionLoader",
    "clip_name",
    (r"clip_vision_h", r"open-?clip.*vit-?h"),
    "clip_vision_h.safetensors",
)
_WAN_OTHER = r"vace|fun|camera|s2v|flf2v|animate|ati|lora|alpha"
WAN_5B = _unet(
    "model", r"wan_?2\.2.*ti2v.*5b", unlike=_WAN_OTHER, example="wan2.2_ti2v_5B_fp16.safetensors"
)
WAN21_T2V_14B = _unet(
    "model",
    r"wan_?2\.1.*t2v.*14b",
    unlike=_WAN_OTHER,
    example="wan2.1_t2v_14B_fp8_scaled.safetensors",
)
WAN21_T2V_SMALL = _unet(
    "model", r"wan_?2\.1.*t2v.*1\.3b", unlike=_WAN_OTHER, example="wan2.1_t2v_1.3B_fp16.safetensors"
)
WAN21_I2V = _unet(
    "model",
    *(r"wan_?2\.1.*i2v.*480p.*14b", r"wan_?2\.1.*i2v.*14b"),
    unlike=_WAN_OTHER,
    example="wan2.1_i2v_480p_14B_fp16.safetensors",
)


def wan22_pair(way: str) -> tuple[Role, Role]:
    """The two models of Wan 2.2 14B for ``t2v`` or ``i2v``."""
    high, low = (
        _unet(
            part,
            rf"wan_?2\.2.*{way}.*{part}_?noise.*14b",
            rf"wan_?2\.2.*{way}.*14b.*{part}",
            unlike=_WAN_OTHER,
            example=f"wan2.2_{way}_{part}_noise_14B_fp8_scaled.safetensors",
        )
        for part in ("high", "low")
    )
    return high, low


def wan22_speed(way: str) -> tuple[Role, Role]:
    """The two LoRAs that make Wan 2.2 14B do with four steps."""
    high, low = (
        Role(
            f"{part}_lora",
            "loras",
            "LoraLoaderModelOnly",
            "lora_name",
            (rf"wan_?2\.2.*{way}.*light.*{part}_?noise", rf"wan_?2\.2.*light.*{way}.*{part}"),
            f"wan2.2_{way}_lightx2v_4steps_lora_v1_{part}_noise.safetensors",
        )
        for part in ("high", "low")
    )
    return high, low


HUNYUAN = _unet(
    "model",
    *(r"hunyuan_?-?video.*t2v.*720p", r"hunyuan_?-?video.*t2v"),
    unlike=r"lora|1\.5",
    example="hunyuan_video_t2v_720p_bf16.safetensors",
)
LLAMA = _encoder(
    "llama",
    *(r"llava_?-?llama3_?fp16", r"llava_?-?llama3"),
    unlike="vision",
    example="llava_llama3_fp8_scaled.safetensors",
    at=_PAIRED,
)
HUNYUAN_VAE = _vae(r"hunyuan_?-?video_vae", example="hunyuan_video_vae_bf16.safetensors")
