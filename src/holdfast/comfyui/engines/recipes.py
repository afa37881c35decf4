"""The recipes there are, by family, and the order in which they are preferred."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from holdfast.comfyui.engines import roles
from holdfast.comfyui.engines.builders import flux, hunyuan, ltxv, sd3, sd15, sdxl, wan
from holdfast.comfyui.engines.grids import Grid
from holdfast.comfyui.engines.recipe import Recipe
from holdfast.errors import BadInputError

LTXV_NEGATIVE: Final = (
    "low quality, worst quality, deformed, distorted, disfigured, motion smear, motion artifacts, "
    "fused fingers, bad anatomy, weird hand, ugly"
)
# What the makers trained against: gaudy, overexposed, still, blurred, subtitled, deformed, ...
WAN_NEGATIVE: Final = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，"  # noqa: RUF001 - Chinese
    "JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，"  # noqa: RUF001 - Chinese
    "形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"  # noqa: RUF001 - Chinese
)

_SD = Grid(side=8, tidy=32, least=256)
_FLOW = Grid(side=16, tidy=32, least=256)
_LTX = Grid(side=32, tidy=32, least=256, stride=8, fewest=9)
_WAN = Grid(side=16, tidy=16, least=128, stride=4, fewest=5)
_WAN_5B = Grid(side=32, tidy=32, least=128, stride=4, fewest=5)

_SD15 = Recipe(
    *("sd15", "sd15", "image", (roles.SD15,), sd15.build, _SD, 512, 512),
    *(25, 7.0, "dpmpp_2m", "karras"),
)
_SDXL = Recipe(
    *("sdxl", "sdxl", "image", (roles.SDXL,), sdxl.build, _SD, 1024, 1024),
    *(30, 6.5, "dpmpp_2m", "karras"),
)
_FLUX_DEV = Recipe(
    "flux-dev",
    "flux",
    "image",
    (roles.FLUX_DEV, roles.CLIP_L, roles.FLUX_T5, roles.FLUX_VAE),
    flux.build,
    _FLOW,
    1024,
    1024,
    steps=20,
    cfg=1.0,
    sampler="euler",
    scheduler="simple",
    reads_negative=False,
    guidance=3.5,
)
_FLUX_SCHNELL = replace(
    _FLUX_DEV,
    name="flux-schnell",
    roles=(roles.FLUX_SCHNELL, roles.CLIP_L, roles.FLUX_T5, roles.FLUX_VAE),
    steps=4,
    guidance=None,
)
_SD3 = Recipe(
    *("sd3", "sd3", "image", (roles.SD3_WHOLE,), sd3.build, _FLOW, 1024, 1024),
    *(28, 4.5, "euler", "sgm_uniform"),
)
_LTXV = Recipe(
    *("ltxv", "ltxv", "video", (roles.LTXV, roles.LTXV_T5), ltxv.build, _LTX, 768, 512),
    *(30, 3.0, "euler", "normal"),
    negative=LTXV_NEGATIVE,
    frames=97,
    fps=25.0,
)
_WAN21 = Recipe(
    "wan2.1-1.3b",
    "wan2.1",
    "video",
    (roles.WAN21_T2V_SMALL, roles.UMT5, roles.WAN_VAE),
    wan.build,
    _WAN,
    832,
    480,
    steps=30,
    cfg=6.0,
    sampler="uni_pc",
    scheduler="simple",
    image=False,
    negative=WAN_NEGATIVE,
    shift=8.0,
    frames=33,
    fps=16.0,
)
_WAN22 = replace(
    _WAN21,
    name="wan2.2-14b",
    family="wan2.2",
    roles=(*roles.wan22_pair("t2v"), roles.UMT5, roles.WAN_VAE),
    build=wan.build_pair,
    width=640,
    height=640,
    steps=20,
    cfg=3.5,
    sampler="euler",
    frames=81,
)
_WAN22_FAST = replace(
    _WAN22,
    name="wan2.2-14b-fast",
    roles=(*_WAN22.roles, *roles.wan22_speed("t2v")),
    steps=4,
    cfg=1.0,
    shift=5.0,
    reads_negative=False,
)

RECIPES: Final[tuple[Recipe, ...]] = (
    _FLUX_DEV,
    replace(_FLUX_DEV, roles=(roles.FLUX_DEV_WHOLE,)),
    _FLUX_SCHNELL,
    replace(_FLUX_SCHNELL, roles=(roles.FLUX_SCHNELL_WHOLE,)),
    _SD3,
    replace(_SD3, roles=(roles.SD3_BARE, *roles.SD3_ENCODERS)),
    _SDXL,
    replace(
        _SDXL, name="sdxl-refiner", family="sdxl-refiner", roles=(roles.SDXL, roles.SDXL_REFINER)
    ),
    _SD15,
    _WAN22,
    replace(
        _WAN22,
        roles=(*roles.wan22_pair("i2v"), roles.UMT5, roles.WAN_VAE),
        image=True,
    ),
    _WAN22_FAST,
    replace(
        _WAN22_FAST,
        roles=(*roles.wan22_pair("i2v"), roles.UMT5, roles.WAN_VAE, *roles.wan22_speed("i2v")),
        image=True,
    ),
    replace(
        _WAN21,
        name="wan2.2-5b",
        family="wan2.2",
        roles=(roles.WAN_5B, roles.UMT5, roles.WAN22_VAE),
        build=wan.build_small,
        grid=_WAN_5B,
        width=1280,
        height=704,
        steps=20,
        cfg=5.0,
        image=None,
        frames=121,
        fps=24.0,
    ),
    replace(
        _WAN21, name="wan2.1-14b", roles=(roles.WAN21_T2V_14B, roles.UMT5, roles.WAN_VAE), frames=81
    ),
    _WAN21,
    replace(
        _WAN21,
        name="wan2.1-14b",
        roles=(roles.WAN21_I2V, roles.UMT5, roles.WAN_VAE, roles.WAN_VISION),
        steps=20,
        image=True,
        frames=81,
    ),
    Recipe(
        "hunyuan-video",
        "hunyuan",
        "video",
        (roles.HUNYUAN, roles.CLIP_L, roles.LLAMA, roles.HUNYUAN_VAE),
        hunyuan.build,
        _WAN,
        848,
        480,
        steps=20,
        cfg=1.0,
        sampler="euler",
        scheduler="simple",
        image=False,
        reads_negative=False,
        has_cfg=False,
        guidance=hunyuan.GUIDANCE,
        shift=7.0,
        frames=73,
        fps=24.0,
    ),
    _LTXV,
)
"""Every recipe; of the same family the preferred one first."""

FAMILIES: Final[dict[str, tuple[str, ...]]] = {
    kind: tuple(dict.fromkeys(each.family for each in RECIPES if each.kind == kind))
    for kind in ("image", "video")
}
"""Families by kind, in the order in which they are tried where none is named."""


def recipes_of(name: str, kind: str) -> tuple[Recipe, ...]:
    """The recipes of a family, or the one of that name.

    Raises:
        BadInputError: there is none; the message names those there are.
    """
    found = tuple(
        each for each in RECIPES if each.kind == kind and name in (each.family, each.name)
    )
    if not found:
        names = [n for each in RECIPES if each.kind == kind for n in (each.family, each.name)]
        known = ", ".join(dict.fromkeys(names))
        raise BadInputError(f"family is {name!r:.100}; it must be one of {known}")
    return found


def family_of(name: str, kind: str) -> str:
    """The family that a family or a recipe of this name belongs to.

    Raises:
        BadInputError: as `recipes_of`.
    """
    return recipes_of(name, kind)[0].family
