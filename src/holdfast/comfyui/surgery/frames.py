"""Fewer frames, shown more slowly: a clip of the same length that needs less memory.

The number is snapped to what the family of models can make, because a server
cuts any other down in silence. Where the motion is given from outside, by a
sound, a track or a guiding video, fewer frames would tell another story, and
the edit is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.edit import Edit
from holdfast.comfyui.surgery.draft import Draft, Place, number, whole
from holdfast.comfyui.surgery.family import MOST_SIDE, family_of, snap_frames
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError

FRAME_INPUTS = ("length", "video_frames", "num_frames")
"""What the number of frames is called where a clip begins."""

_FPS: Mapping[str, str] = MappingProxyType(
    {
        "CreateVideo": "fps",
        "SaveWEBM": "fps",
        "SaveAnimatedWEBP": "fps",
        "SaveAnimatedPNG": "fps",
        "VHS_VideoCombine": "frame_rate",
        # These two tell the model how fast things move.
        "LTXVConditioning": "frame_rate",
        "SVD_img2vid_Conditioning": "fps",
    },
)
_GUIDED = frozenset(
    {
        "WanSoundImageToVideo",
        "WanSoundImageToVideoExtend",
        "WanHuMoImageToVideo",
        "WanFunControlToVideo",
        "Wan22FunControlToVideo",
        "WanAnimateToVideo",
        "WanTrackToVideo",
        "WanFirstLastFrameToVideo",
        "LTXVAddGuide",
        "SV3D_Conditioning",
    },
)
"""Motion is given from outside, or the last frame is."""
_GUIDES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "WanVaceToVideo": ("control_video", "control_masks"),
        "WanFunInpaintToVideo": ("end_image",),
        "WanCameraImageToVideo": (),
    },
)
_PICKERS = frozenset({"ImageFromBatch", "LatentFromBatch", "LatentCut", "TrimVideoLatent"})
"""These take frames by number."""


def frames_of(workflow: Workflow, catalog: Catalog) -> int | None:
    """How many frames the longest clip has that is begun here; 1 for stills, None if unknown."""
    draft = Draft(workflow, catalog)
    places = _frame_inputs(draft)
    counts = [draft.whole(node, name) for node, name in places]
    known = [count for count in counts if count is not None]
    if len(known) < len(counts):
        return None
    return max(known, default=1)


def fewer_frames(workflow: Workflow, catalog: Catalog, share: float = 0.75) -> Edit | None:
    """Make a clip of fewer frames, as long in seconds as before.

    Args:
        workflow: to change.
        catalog: what the server knows.
        share: of the frames that is to be left; what is left is never less.

    Returns:
        None if there is no clip, its motion is given from outside, or it is as short as the model
        can make it.

    Raises:
        BadInputError: ``share`` is not above 0 and below 1.
    """
    check_share(share)
    draft = Draft(workflow, catalog)
    running = draft.running()
    if _guided(draft, running):
        return None
    family = family_of(workflow)
    places = {draft.place(node, name) for node, name in _frame_inputs(draft)}
    found = {place: whole(draft.value(place)) for place in places if place is not None}
    before = next(iter(found.values()), None)
    if None in places or before is None or set(found.values()) != {before}:
        return None
    if not family.makes_video or not 1 < before <= MOST_SIDE or _shared(draft, found):
        return None
    after = snap_frames(max(1.0, before * share), family, up=True)
    if after >= before:
        return None
    for place in sorted(found):
        draft.put(place, after)
    slowed = scale_rates(draft, running, after / before)
    if slowed is None:
        return None
    words = f"{after} frames instead of {before}"
    if slowed:
        words += ", shown more slowly, so that the clip is as long as before"
    return draft.finish("fewer_frames", words)


def _frame_inputs(draft: Draft) -> list[tuple[str, str]]:
    found = []
    animated = any(draft.kind(node).startswith(("ADE_", "AnimateDiff")) for node in draft.graph)
    for node in sorted(draft.running()):
        known = draft.catalog.get(draft.kind(node))
        if known is None:
            continue
        sized = {"width", "height"} <= known.inputs.keys()
        named = [name for name in FRAME_INPUTS if sized and name in known.inputs]
        if animated and draft.kind(node) == "EmptyLatentImage":
            named = ["batch_size"]
        found += [(node, name) for name in named if name in draft.inputs(node)]
    return found


def _guided(draft: Draft, running: Iterable[str]) -> bool:
    for node in running:
        kind = draft.kind(node)
        guides = _GUIDES.get(kind, ())
        if kind in _GUIDED or kind in _PICKERS:
            return True
        if any(draft.source(node, name) is not None for name in guides):
            return True
    return False


def _shared(draft: Draft, places: Iterable[Place]) -> bool:
    """Whether a primitive feeds something else than lengths as well."""
    mine = {node for node, _ in _frame_inputs(draft)}
    return any(
        use.name not in (*FRAME_INPUTS, "batch_size") or use.node not in mine
        for place in places
        if place.name not in (*FRAME_INPUTS, "batch_size")
        for use in draft.uses(place.node)
    )


def scale_rates(draft: Draft, running: Iterable[str], factor: float) -> bool | None:
    """Scale the frame rates of some nodes: whether there are any; None if one cannot be scaled."""
    places = set[Place]()
    for node in sorted(running):
        name = _FPS.get(draft.kind(node))
        if name is None or name not in draft.inputs(node):
            continue
        place = draft.place(node, name)
        if place is None or any(
            _FPS.get(draft.kind(use.node)) != use.name
            for use in (draft.uses(place.node) if place.node != node else ())
        ):
            return None
        places.add(place)
    for place in places:
        rate = draft.value(place)
        spec = draft.spec(*place)
        if number(rate) is None or not 0 < rate <= 1_000:
            return None
        slower = rate * factor
        exact = spec is None or spec.type != "INT"
        draft.put(place, round(slower, 3) if exact else max(1, round(slower)))
    return bool(places)


def check_share(share: float) -> None:
    """Refuse what is no share.

    Raises:
        BadInputError: ``share`` is not above 0 and below 1.
    """
    if number(share) is None or not 0 < share < 1:
        raise BadInputError(f"share is {share!r}; the share to be left is above 0 and below 1")
