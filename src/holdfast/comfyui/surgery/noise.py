"""Whether pictures made in several runs come out as they would have in one.

ComfyUI draws the noise of a batch from one seed, picture after picture. A
latent cut out of a batch by `LatentFromBatch` remembers which pictures it
holds, and samplers then draw the noise of just those. It is the same, number
for number, if each picture has a multiple of 16 values, because noise is made
in blocks of 16 (measured with PyTorch 2.13). It stays the same only for
samplers that draw no more noise on the way, and for latents that never forget
their number by becoming pictures in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from holdfast.comfyui.surgery.draft import Draft, number

SAMPLERS: Mapping[str, str] = MappingProxyType(
    {
        "KSampler": "latent_image",
        "KSamplerAdvanced": "latent_image",
        "SamplerCustom": "latent_image",
        "SamplerCustomAdvanced": "latent_image",
    },
)
"""The core's samplers, and the input the latent comes in by."""

STEADY_SAMPLERS = frozenset(
    {
        "euler",
        "euler_cfg_pp",
        "heun",
        "heunpp2",
        "dpm_2",
        "lms",
        "dpm_fast",
        "dpmpp_2m",
        "dpmpp_2m_cfg_pp",
        "ipndm",
        "ipndm_v",
        "deis",
        "res_multistep",
        "res_multistep_cfg_pp",
        "gradient_estimation",
        "gradient_estimation_cfg_pp",
        "uni_pc",
        "uni_pc_bh2",
    },
)
"""Samplers that draw no noise after the first and treat each picture for itself."""

NUMBERED: Mapping[str, str] = MappingProxyType(
    {
        **SAMPLERS,
        "LatentFromBatch": "samples",
        "RepeatLatentBatch": "samples",
        "LatentUpscale": "samples",
        "LatentUpscaleBy": "samples",
    },
)
"""Classes that hand a latent on together with the numbers of its pictures, and by which input."""

_CHANNELS: Mapping[str, int] = MappingProxyType(
    {"EmptyLatentImage": 4, "EmptySD3LatentImage": 16},
)
_BLOCK = 16
_CELL = 8


def same_noise(draft: Draft, samplers: list[str]) -> bool:
    """Whether these nodes draw the same noise for a picture, whatever batch it is in."""
    return all(_steady(draft, node) and _whole_blocks(draft, node) for node in samplers)


def chain(draft: Draft, node: str) -> list[str]:
    """The nodes a latent came through to ``node``, upwards, as far as its numbers are kept."""
    found = {node: None}
    while True:
        name = NUMBERED.get(draft.kind(node))
        linked = None if name is None else draft.source(node, name)
        if linked is None or linked[0] in found:
            return list(found)
        node = linked[0]
        found[node] = None


def _steady(draft: Draft, node: str) -> bool:
    if draft.kind(node) not in SAMPLERS:
        return False
    holder = node
    if "sampler" in draft.inputs(node):
        linked = draft.source(node, "sampler")
        if linked is None or draft.kind(linked[0]) != "KSamplerSelect":
            return False
        holder = linked[0]
    name = draft.inputs(holder).get("sampler_name")
    return isinstance(name, str) and name in STEADY_SAMPLERS


def _whole_blocks(draft: Draft, node: str) -> bool:
    """Whether each picture that comes into a sampler has a multiple of 16 values."""
    *after, begin = chain(draft, node)
    channels = _CHANNELS.get(draft.kind(begin))
    cells = _cells(draft, begin)
    for each in reversed(after):
        if draft.kind(each) == "LatentUpscale":
            cells = _cells(draft, each)
        elif draft.kind(each) == "LatentUpscaleBy":
            by = number(draft.inputs(each).get("scale_by"))
            if by is None or cells is None or not 0 < by <= 8:
                return False
            cells = round(cells[0] * by), round(cells[1] * by)
    if channels is None or cells is None or cells[0] * cells[1] < 1:
        return False
    return channels * cells[0] * cells[1] % _BLOCK == 0


def _cells(draft: Draft, node: str) -> tuple[int, int] | None:
    """Width and height of a latent, in its own cells of 8 pixels."""
    width, height = draft.whole(node, "width"), draft.whole(node, "height")
    if not width or not height:
        return None
    return width // _CELL, height // _CELL
