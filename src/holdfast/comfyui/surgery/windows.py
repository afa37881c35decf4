"""Long clips sampled in windows that overlap: all frames, in the memory of one window.

Only for clips made from text: what a given first frame does in the second
window is not known. Families that number frames along the latent's third
dimension can do it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.edit import Edit
from holdfast.comfyui.surgery.draft import Draft, Use, whole
from holdfast.comfyui.surgery.family import family_of
from holdfast.comfyui.surgery.frames import frames_of
from holdfast.comfyui.workflow import Workflow

CONTEXT_WINDOWS = "context_windows"

_WAN = "WanContextWindowsManual"
_ANY = "ContextWindowsManual"
_WINDOWS: tuple[tuple[int, int], ...] = ((81, 29), (49, 17))
"""Frames of a window, and how many of them the next one shares."""
_CLASSES: Mapping[str, str] = MappingProxyType(
    {"wan": _WAN, "wan22_5b": _WAN, "hunyuan_video": _ANY},
)
_FROM_TEXT = frozenset({"EmptyHunyuanLatentVideo", "Wan22ImageToVideoLatent"})
_SAMPLING = frozenset(
    {
        "KSampler",
        "KSamplerAdvanced",
        "SamplerCustom",
        "CFGGuider",
        "BasicGuider",
        "DualCFGGuider",
        "PerpNegGuider",
    },
)
_LATENT_STRIDE = 4
_TIME = 2
"""The dimension of a latent that numbers its frames."""


def context_windows(workflow: Workflow, catalog: Catalog) -> Edit | None:
    """Sample a long clip in windows; in shorter ones where it is done already.

    Returns:
        None if the clip fits into a window, is not made from text alone, or the model or server
        cannot do it.
    """
    draft = Draft(workflow, catalog)
    running = draft.running()
    kind, frames = _CLASSES.get(family_of(workflow).name), frames_of(workflow, catalog)
    if kind is None or frames is None or not _from_text(draft, running):
        return None
    there = [node for node in draft.of([_WAN, _ANY]) if node in running]
    now = [whole(draft.inputs(node).get("context_length")) for node in there]
    scale = _LATENT_STRIDE if kind == _ANY else 1
    for length, overlap in _WINDOWS:
        size = (length - 1) // scale + 1 if scale > 1 else length
        shared = max(1, overlap // scale)
        if frames <= length or any(each is None or each <= size for each in now):
            continue
        if there:
            for node in there:
                draft.inputs(node).update(context_length=size, context_overlap=shared)
        elif frames <= _WINDOWS[0][0] or not _insert(draft, running, kind, size, shared):
            # A model makes clips of one window's length at once, and better.
            return None
        words = (
            f"the {frames} frames are sampled in windows of {length} that overlap by {overlap}: "
            "all frames, but motion may change where windows meet"
        )
        name = CONTEXT_WINDOWS if length == _WINDOWS[0][0] else f"{CONTEXT_WINDOWS}_{length}"
        return draft.finish(name, words)
    return None


def _from_text(draft: Draft, running: set[str]) -> bool:
    sources = []
    for node in running:
        known = draft.catalog.get(draft.kind(node))
        if known is not None and {"width", "height", "length"} <= known.inputs.keys():
            sources.append(node)
    return bool(sources) and all(
        draft.kind(node) in _FROM_TEXT and draft.source(node, "start_image") is None
        for node in sources
    )


def _insert(draft: Draft, running: set[str], kind: str, length: int, overlap: int) -> bool:
    feeding: dict[tuple[str, int], list[Use]] = {}
    for node in draft.of(_SAMPLING):
        linked = draft.source(node, "model")
        if node in running and linked is not None:
            feeding.setdefault(linked, []).append(Use(node, "model", linked[1]))
    for (node, slot), uses in feeding.items():
        given = {"model": [node, slot], "context_length": length, "context_overlap": overlap}
        if kind == _ANY:
            given["dim"] = _TIME
        added = draft.add(kind, **given)
        if added is None:
            return False
        draft.relink(uses, added)
    return bool(feeding)
