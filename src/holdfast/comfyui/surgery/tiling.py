"""Pictures into latents and back, in tiles: the same picture in a fraction of the memory.

`VAEDecode` is replaced in place, under the same id, so that a server which has
just failed in it takes everything before it from its cache. What is tiled
already gets smaller tiles, down to a floor.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.edit import Edit
from holdfast.comfyui.surgery.draft import Draft, described, listed, whole
from holdfast.comfyui.surgery.frames import frames_of
from holdfast.comfyui.workflow import Workflow, is_link

TILED_VAE = "tiled_vae"

TWINS: Mapping[str, str] = MappingProxyType(
    {"VAEDecode": "VAEDecodeTiled", "VAEEncode": "VAEEncodeTiled"}
)
"""Classes that have a twin which does the same in tiles."""

_TILES: tuple[tuple[int, int, int, int], ...] = (
    # Tile and overlap in pixels, tile and overlap in frames.
    (512, 64, 64, 8),
    (256, 64, 32, 8),
    (128, 32, 16, 4),
)
_INPUTS = ("tile_size", "overlap", "temporal_size", "temporal_overlap")


def tile(
    workflow: Workflow, catalog: Catalog, node_id: str | None = None, *, smaller: bool = True
) -> Edit | None:
    """Decode and encode in tiles; where that is done already, in smaller ones.

    Args:
        workflow: to change.
        catalog: what the server knows.
        node_id: only this node; None for all.
        smaller: what is tiled already gets smaller tiles.

    Returns:
        None if there is nothing to tile, or the tiles are as small as they may be.
    """
    draft = Draft(workflow, catalog)
    nodes = [node for node in draft.graph if node_id in (None, node)]
    frames = frames_of(workflow, catalog)
    plain = [node for node in nodes if draft.kind(node) in TWINS and _swap(draft, node)]
    wrapped = [node for node in nodes if _switch_on(draft, node)]
    if plain or wrapped:
        size, _, span, _ = _TILES[0]
        words = f"{_what(draft, [*plain, *wrapped])} in tiles of {size} pixels"
        return draft.finish(TILED_VAE, words, keeps_result=frames is not None and frames <= span)
    return _smaller(draft, nodes) if smaller else None


def _swap(draft: Draft, node: str) -> bool:
    twin = TWINS[draft.kind(node)]
    known = draft.catalog.get(twin)
    if known is None or any(spec.name not in (*_ENDS, *_INPUTS) for spec in known.required):
        return False
    draft.graph[node]["class_type"] = twin
    values = dict(zip(_INPUTS, _TILES[0], strict=True))
    draft.inputs(node).update({name: values[name] for name in _INPUTS if name in known.inputs})
    return True


_ENDS = frozenset({"samples", "pixels", "vae"})


def _smaller(draft: Draft, nodes: list[str]) -> Edit | None:
    tiled = [node for node in nodes if draft.kind(node) in TWINS.values()]
    now = [size for node in tiled if (size := whole(draft.inputs(node).get("tile_size")))]
    if not now:
        return None
    rung = next((rung for rung in _TILES[1:] if rung[0] < max(now)), None)
    if rung is None:
        return None
    shrunk = [node for node in tiled if _shrink(draft, node, rung)]
    words = f"{_what(draft, shrunk)} in tiles of {rung[0]} pixels; seams may show"
    return draft.finish(f"{TILED_VAE}_{rung[0]}", words)


def _shrink(draft: Draft, node: str, rung: tuple[int, int, int, int]) -> bool:
    inputs = draft.inputs(node)
    known = draft.catalog.get(draft.kind(node))
    size = whole(inputs.get("tile_size"))
    if known is None or size is None or size <= rung[0]:
        return False
    for name, value in zip(_INPUTS, rung, strict=True):
        spec = known.inputs.get(name)
        if spec is None or is_link(inputs.get(name)):
            continue
        had = whole(inputs.get(name))
        least = 0 if spec.minimum is None else int(spec.minimum)
        inputs[name] = max(value if had is None else min(had, value), least)
    return True


# Packs that have a switch of their own for it.
_SWITCHES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "WanVideoDecode": {"enable_vae_tiling": True},
        "WanVideoEncode": {"enable_vae_tiling": True},
    }
)


def _switch_on(draft: Draft, node: str) -> bool:
    known = draft.catalog.get(draft.kind(node))
    switched = _SWITCHES.get(draft.kind(node), {})
    changed = False
    for name, value in switched.items():
        if known is not None and name in known.inputs and draft.inputs(node).get(name) is False:
            draft.inputs(node)[name] = value
            changed = True
    return changed


def _what(draft: Draft, nodes: list[str]) -> str:
    verbs = {"Decode": "decodes", "Encode": "encodes"}
    if len(nodes) == 1:
        verb = next((verbs[part] for part in verbs if part in draft.kind(nodes[0])), "works")
        return f"{described(draft, nodes[0])} {verb}"
    return f"{listed(draft, nodes)} work"
