"""What to change next when memory runs out: the cheapest loss first, at the node that failed.

1. What loses nothing to speak of: decoding in tiles, the text encoder on the
   CPU; then windows over a long clip, which keep every frame.
2. The batch in several runs.
3. Fewer bits for the weights.
4. Polish left out.
5. Fewer frames and fewer pixels, in turns, as far as the limits allow.

Each call makes one step from the workflow as it is now. The steps are found
from the workflow itself, so calling again with the result goes on, and comes
to an end. Only shares of the original size cannot be seen in a graph; they are
in the names of the changes made `already`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.edit import Edit
from holdfast.comfyui.surgery.batch import Split, split_batch
from holdfast.comfyui.surgery.frames import fewer_frames
from holdfast.comfyui.surgery.limits import KnobLimits
from holdfast.comfyui.surgery.loaders import (
    lower_precision,
    smaller_text_encoder,
    text_encoder_on_cpu,
)
from holdfast.comfyui.surgery.polish import Polish, drop_polish, drop_second_pass, polish_of
from holdfast.comfyui.surgery.resolution import lower_resolution
from holdfast.comfyui.surgery.tiling import tile
from holdfast.comfyui.surgery.windows import context_windows
from holdfast.comfyui.workflow import Workflow

SHARES = (0.75, 0.5, 0.35, 0.25)
"""Of the original frames and pixels: the rungs of the ladder."""

_MEMORY = (Polish.UPSCALE, Polish.INTERPOLATE, Polish.DETAIL, Polish.RESTORE)

Step = Callable[[], Edit | Split | None]


def next_memory_edit(
    workflow: Workflow,
    catalog: Catalog,
    failing_node: str | None,
    already: Collection[str] = frozenset(),
    limits: KnobLimits | None = None,
) -> Edit | Split | None:
    """The next change that lets a run need less memory.

    Args:
        workflow: as it is now, with all changes that were made.
        catalog: what the server knows.
        failing_node: which node ran out of memory; None or a node that is not there if unknown.
        already: the names of the changes that were made.
        limits: what may be changed, and how far.

    Returns:
        None if nothing more can or may be changed.
    """
    limits = limits or KnobLimits()
    node = failing_node if failing_node in workflow.graph else None
    for step in _steps(workflow, catalog, node, frozenset(already), limits):
        made = step()
        if made is not None and (made.change.keeps_result or not limits.same_result):
            return made
    return None


def memory_steps(
    workflow: Workflow,
    catalog: Catalog,
    failing_node: str | None,
    limits: KnobLimits | None = None,
) -> Iterator[Edit | Split]:
    """Every change the ladder makes, one after the other, each on the result of the one before.

    After a split it goes on with the first of its runs.
    """
    already: frozenset[str] = frozenset()
    for _ in range(MOST_STEPS):
        step = next_memory_edit(workflow, catalog, failing_node, already, limits)
        if step is None:
            return
        yield step
        already |= {step.change.name}
        workflow = step.workflows[0] if isinstance(step, Split) else step.workflow


MOST_STEPS = 100
"""Far more than the ladder has."""


def _steps(
    workflow: Workflow,
    catalog: Catalog,
    node: str | None,
    already: frozenset[str],
    limits: KnobLimits,
) -> Iterator[Step]:
    part = _part("" if node is None else workflow.graph[node]["class_type"])
    yield from _keeping(workflow, catalog, node, part)
    if part != "text":
        yield lambda: split_batch(workflow, catalog)
    if limits.precision:
        yield from _coarser(workflow, catalog, part)
    if part == "unknown":
        yield lambda: tile(workflow, catalog)
    if limits.bypass:
        if part in {"sampler", "vae", "unknown"}:
            yield lambda: drop_second_pass(workflow, catalog, before=node)
        yield lambda: drop_polish(workflow, catalog, _MEMORY, before=node)
    if limits.smaller and part not in {"text", "loader"}:
        yield from _smaller(workflow, catalog, already, limits)


def _keeping(workflow: Workflow, catalog: Catalog, node: str | None, part: str) -> Iterator[Step]:
    """What keeps the size, and the picture or nearly so."""
    if part == "vae":
        yield lambda: tile(workflow, catalog, node)
    if part == "unknown":
        yield lambda: tile(workflow, catalog, smaller=False)
    if part in {"text", "sampler", "loader", "unknown"}:
        yield lambda: text_encoder_on_cpu(workflow, catalog)
    if part in {"sampler", "unknown"}:
        yield lambda: context_windows(workflow, catalog)


def _coarser(workflow: Workflow, catalog: Catalog, part: str) -> Iterator[Step]:
    """The same models with fewer bits."""
    if part in {"sampler", "loader", "unknown"}:
        yield lambda: lower_precision(workflow, catalog)
    if part in {"text", "sampler", "loader", "unknown"}:
        yield lambda: smaller_text_encoder(workflow, catalog)


def _part(kind: str) -> str:
    """What a class does, as far as it matters here."""
    if kind.startswith(("VAEDecode", "VAEEncode")) or kind in {"WanVideoDecode", "WanVideoEncode"}:
        return "vae"
    if "TextEncode" in kind or "CLIPLoader" in kind:
        return "text"
    if "Sampler" in kind:
        return "sampler"
    if "Load" in kind:
        return "loader"
    return "polish" if kind and polish_of(kind) is not None else "unknown"


def _smaller(
    workflow: Workflow, catalog: Catalog, already: frozenset[str], limits: KnobLimits
) -> Iterator[Step]:
    frames, area = _reached("frames", already), _reached("area", already)
    for share in SHARES:
        if share < frames and share >= limits.least_frames:
            yield _named(
                f"frames_{share * 100:.0f}", fewer_frames, workflow, catalog, share / frames
            )
        if share < area and share >= limits.least_area:
            yield _named(
                f"area_{share * 100:.0f}", lower_resolution, workflow, catalog, share / area
            )


def _reached(what: str, already: frozenset[str]) -> float:
    """The smallest share that was come to already."""
    return min((share for share in SHARES if f"{what}_{share * 100:.0f}" in already), default=1.0)


def _named(
    name: str,
    edit: Callable[[Workflow, Catalog, float], Edit | None],
    workflow: Workflow,
    catalog: Catalog,
    share: float,
) -> Step:
    def step() -> Edit | None:
        made = edit(workflow, catalog, share)
        return made and replace(made, change=replace(made.change, name=name))

    return step
