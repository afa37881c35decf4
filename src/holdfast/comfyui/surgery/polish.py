"""What a workflow can go without: what only makes a finished picture larger, smoother or faster.

The result is smaller or plainer, and said to be so. LoRAs and control nets
make the picture what it is, so they are left out only by those who ask for it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import StrEnum

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.edit import Edit
from holdfast.comfyui.surgery.bypass import bypass, remove
from holdfast.comfyui.surgery.draft import Draft, described, listed
from holdfast.comfyui.surgery.effort import FEW_STEPS, SPEEDING, steps_of
from holdfast.comfyui.surgery.frames import scale_rates
from holdfast.comfyui.workflow import Workflow


class Polish(StrEnum):
    """A kind of node that a workflow can go without."""

    UPSCALE = "upscale"
    INTERPOLATE = "interpolate"
    DETAIL = "detail"
    RESTORE = "restore"
    COMPILE = "compile"
    CACHE = "cache"


_CLASSES: tuple[tuple[Polish, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        (Polish.UPSCALE, r"ImageUpscaleWithModel|UltimateSDUpscale|LatentUpscale(By)?\Z"),
        (Polish.INTERPOLATE, r"(RIFE|FILM|GMFSS|IFRNet|AMT|CAIN|STMFNet|Sepconv|FLAVR).*VFI"),
        (Polish.DETAIL, r"FaceDetailer|DetailerForEach"),
        (Polish.RESTORE, r"SUPIR_(Upscale|sample|denoise)|SeedVR2|FaceRestore|ReActorRestoreFace"),
        (Polish.COMPILE, r"TorchCompileModel|(Patch|Pathch)SageAttention|ModelPatchTorchSettings"),
        (Polish.CACHE, r"EasyCache\Z|LazyCache\Z|TeaCache"),
    )
)
_MOST_DROPPED = 50
"""Nodes of polish left out at once; each is tried on a copy of the graph."""
_PREVIEWS = frozenset({"PreviewImage", "MaskPreview", "MaskPreview+", "PreviewAny", "Preview3D"})
_LORAS = frozenset({"LoraLoader", "LoraLoaderModelOnly"})
_CONTROLS = frozenset(
    {
        "ControlNetApply",
        "ControlNetApplyAdvanced",
        "ControlNetApplySD3",
        "ControlNetInpaintingAliMamaApply",
    }
)
_SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
_BETWEEN = frozenset(
    {
        "LatentUpscale",
        "LatentUpscaleBy",
        "VAEDecode",
        "VAEDecodeTiled",
        "VAEEncode",
        "VAEEncodeTiled",
        "ImageUpscaleWithModel",
        "ImageScale",
        "ImageScaleBy",
        "ImageScaleToTotalPixels",
    },
)
_ENLARGING = _BETWEEN - {"VAEDecode", "VAEDecodeTiled", "VAEEncode", "VAEEncodeTiled"}
_CARRIED = ("latent_image", "samples", "pixels", "image")


def polish_of(class_type: str) -> Polish | None:
    """What kind of polish a class is; None if it is none."""
    if len(class_type) > 200:
        return None
    return next((kind for kind, known in _CLASSES if known.match(class_type)), None)


def drop_polish(
    workflow: Workflow,
    catalog: Catalog,
    kinds: Collection[Polish] = tuple(Polish),
    *,
    before: str | None = None,
) -> Edit | None:
    """Leave polish out, as far as each node can be left out.

    Args:
        workflow: to change.
        catalog: what the server knows.
        kinds: what to leave out.
        before: only what this node needs, itself included; None for all.

    Returns:
        None if there is none.
    """
    draft = Draft(workflow, catalog)
    running = draft.running()
    near = running if before not in draft.graph else draft.above([str(before)]) & running
    doomed = [node for node in draft.graph if node in near and polish_of(draft.kind(node)) in kinds]
    return _drop(draft, doomed)


def bypass_optional(workflow: Workflow, catalog: Catalog, node_id: str) -> Edit | None:
    """Leave out a node that failed, if the workflow can go without it.

    A loader goes if all that it feeds is polish; a preview goes if something else is saved.

    Returns:
        None if the workflow cannot go without it.
    """
    draft = Draft(workflow, catalog)
    if node_id not in draft.graph:
        return None
    if draft.kind(node_id) in _PREVIEWS:
        return drop_previews(workflow, catalog, node_id)
    if polish_of(draft.kind(node_id)) is not None:
        return _drop(draft, [node_id])
    fed = {use.node for use in draft.uses(node_id)}
    if fed and all(polish_of(draft.kind(node)) is not None for node in fed):
        return _drop(draft, sorted(fed))
    return None


def drop_previews(workflow: Workflow, catalog: Catalog, node_id: str | None = None) -> Edit | None:
    """Leave out previews and what only they need, where something else is saved.

    Returns:
        None if there are none, or nothing else is saved.
    """
    draft = Draft(workflow, catalog)
    doomed = [node for node in draft.of(_PREVIEWS) if node_id in (None, node)]
    words = f"not shown: {listed(draft, doomed)}"
    running = draft.running()
    if all(node in doomed for node in draft.outputs()):
        return None
    for node in doomed:
        if draft.uses(node):
            return None
        del draft.graph[node]
    draft.prune(running)
    return draft.finish("without_previews", words, nodes=doomed)


def drop_second_pass(
    workflow: Workflow, catalog: Catalog, *, before: str | None = None
) -> Edit | None:
    """Leave out a second sampling of an enlarged picture, and the enlarging with it.

    Args:
        workflow: to change.
        catalog: what the server knows.
        before: only what this node needs, itself included; None for all.

    Returns:
        None if there is none. Samplers that only share the steps of one picture are not two passes.
    """
    draft = Draft(workflow, catalog)
    running, dropped = draft.running(), list[str]()
    near = running if before not in draft.graph else draft.above([str(before)]) & running
    for node in draft.of(_SAMPLERS):
        linked = _first_pass(draft, node) if node in near else None
        if linked is not None:
            draft.relink(draft.uses(node), *linked)
            dropped.append(node)
    words = f"the second pass was left out: {listed(draft, dropped)}"
    draft.prune(running)
    return draft.finish("without_second_pass", words, nodes=dropped)


def drop_lora(workflow: Workflow, catalog: Catalog, node_id: str | None = None) -> Edit | None:
    """Leave out LoRAs, which changes the style of the picture: for those who ask for it.

    Returns:
        None if there are none, or so few steps are sampled that a LoRA must make it possible.
    """
    draft = Draft(workflow, catalog)
    if any(steps <= FEW_STEPS for steps in steps_of(draft)):
        return None
    doomed = [
        node
        for node in draft.of(_LORAS)
        if node_id in (None, node) and not _speeds(draft.inputs(node).get("lora_name"))
    ]
    return bypass(
        workflow, catalog, doomed, name="without_lora", words="left out, without its style"
    )


def drop_control(workflow: Workflow, catalog: Catalog, node_id: str | None = None) -> Edit | None:
    """Leave out control nets, which changes the composition: for those who ask for it.

    Returns:
        None if there are none.
    """
    draft = Draft(workflow, catalog)
    doomed = [node for node in draft.of(_CONTROLS) if node_id in (None, node)]
    return bypass(
        workflow, catalog, doomed, name="without_control", words="left out, without its guidance"
    )


def _speeds(name: object) -> bool:
    return isinstance(name, str) and SPEEDING.search(name[:1_000]) is not None


def _drop(draft: Draft, nodes: list[str]) -> Edit | None:
    """Take out those of ``nodes`` that can be."""
    running = draft.running()
    dropped = []
    words = {node: described(draft, node) for node in nodes}
    for node in nodes[:_MOST_DROPPED]:
        trial = Draft(Workflow(draft.graph, draft.before.name), draft.catalog)
        if _leave_out(trial, node) and trial.workflow() is not None:
            draft.graph = trial.graph
            dropped.append(node)
    draft.prune(running)
    told = f"left out: {', '.join(words[node] for node in dropped[:5])}"
    return draft.finish("without_polish", told, nodes=dropped)


def _leave_out(draft: Draft, node: str) -> bool:
    """Take one node of polish out; a clip with fewer frames is shown more slowly."""
    if polish_of(draft.kind(node)) is Polish.INTERPOLATE:
        times = draft.whole(node, "multiplier")
        if times is None or not 1 <= times <= 64:
            return False
        if scale_rates(draft, draft.below([node]), 1 / times) is None:
            return False
    return remove(draft, [node])


def _first_pass(draft: Draft, node: str) -> tuple[str, int] | None:
    """The latent of the sampler before this one, if its picture is enlarged between the two."""
    path, at = set[str](), node
    while at not in path:
        path.add(at)
        found = (draft.source(at, name) for name in _CARRIED)
        linked = next((each for each in found if each is not None), None)
        if linked is None:
            return None
        at = linked[0]
        if draft.kind(at) in _SAMPLERS:
            enlarged = any(draft.kind(each) in _ENLARGING for each in path)
            return linked if enlarged and at not in path else None
        if draft.kind(at) not in _BETWEEN:
            return None
    return None
