"""One batch as several runs, put together again in order.

The empty latent stays as large as it was, for it costs next to nothing, and
each run cuts its own pictures out of it just before the first sampler. So each
gets the noise it would have had in the batch (see `noise`), and the pictures
are the same. On a server without the node for it each run makes a smaller
batch with seeds of its own: as many pictures, but others.

Only graphs in which every picture is made for itself are split. Where frames
of one clip make up the batch, or pictures are put together, nothing is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.edit import Change
from holdfast.comfyui.surgery.draft import Draft, Place, described, whole
from holdfast.comfyui.surgery.frames import frames_of
from holdfast.comfyui.surgery.noise import SAMPLERS, chain, same_noise
from holdfast.comfyui.workflow import SEED_INPUTS, Workflow
from holdfast.errors import BadInputError

T = TypeVar("T")

SPLIT_BATCH = "split_batch"
MOST_PARTS = 64
"""Runs one batch is split into at most."""

_CUT = "LatentFromBatch"
_REPEAT = "RepeatLatentBatch"
_EMPTY = frozenset({"EmptyLatentImage", "EmptySD3LatentImage", "EmptyHunyuanImageLatent"})
_EACH_FOR_ITSELF = frozenset(
    {
        *SAMPLERS,
        "LatentUpscale",
        "LatentUpscaleBy",
        "LatentFlip",
        "LatentRotate",
        "LatentCrop",
        "LatentMultiply",
        "VAEDecode",
        "VAEDecodeTiled",
        "VAEEncode",
        "VAEEncodeTiled",
        "ImageScale",
        "ImageScaleBy",
        "ImageScaleToTotalPixels",
        "ImageUpscaleWithModel",
        "ImageInvert",
        "ImageSharpen",
        "ImageBlur",
        "ImageQuantize",
        "ImageCrop",
        "ImagePadForOutpaint",
        "UltimateSDUpscale",
        "UltimateSDUpscaleNoUpscale",
        "FaceDetailer",
        "SaveImage",
        "PreviewImage",
        "SaveLatent",
        "Image Save",
    },
)
_DRAWING = frozenset({"UltimateSDUpscale", "UltimateSDUpscaleNoUpscale", "FaceDetailer"})
_ACROSS = (
    # A class that begins so mixes pictures, or gives each of a batch something of its own.
    "ADE_",
    "AnimateDiff",
    "BatchPrompt",
    "ImageBatch",
    "ImageFromBatch",
    "LatentBatch",
    "LoadVideo",
    "PromptSchedule",
    "Rebatch",
    "RepeatImageBatch",
    "VHS_",
)


@dataclass(frozen=True, slots=True)
class Split:
    """A batch as several runs."""

    workflows: tuple[Workflow, ...]
    """The runs, in the order of the pictures."""
    change: Change

    def merge(self, runs: Sequence[Mapping[str, Sequence[T]]]) -> dict[str, list[T]]:
        """What one run would have left: for each node, what all runs left there, in order.

        Args:
            runs: for each of `workflows`, in order, what each node left.

        Raises:
            BadInputError: there is not one result for each of the runs.
        """
        if len(runs) != len(self.workflows):
            raise BadInputError(
                f"runs are {len(runs)}; the batch was split into {len(self.workflows)}"
            )
        merged: dict[str, list[T]] = {}
        for run in runs:
            for node, made in run.items():
                merged.setdefault(node, []).extend(made)
        return merged


def batch_of(workflow: Workflow, catalog: Catalog) -> int:
    """How many pictures one run makes at once, as far as can be told; 1 if it cannot."""
    draft = Draft(workflow, catalog)
    return max((_count(draft, node) or 1 for node in _heads(draft)), default=1)


def split_batch(
    workflow: Workflow, catalog: Catalog, *, parts: int | None = None, size: int | None = None
) -> Split | None:
    """Split a batch into several runs.

    Args:
        workflow: to split.
        catalog: what the server knows.
        parts: into how many runs; two if ``size`` is not given either.
        size: how many pictures a run makes.

    Returns:
        None if there is no batch, or its pictures are not each made for itself.

    Raises:
        BadInputError: ``parts`` or ``size`` is not a whole number above 0, or both are given.
    """
    if parts is not None and size is not None:
        raise BadInputError(f"parts is {parts!r} and size is {size!r}; give one of them")
    for name, value, least in (("parts", parts, 2), ("size", size, 1)):
        if value is not None and (whole(value) is None or value < least):
            raise BadInputError(f"{name} is {value!r}; it is a whole number from {least} on")
    draft = Draft(workflow, catalog)
    heads = _heads(draft)
    counts = {_count(draft, node) for node in heads}
    count = next(iter(counts)) if len(counts) == 1 else None
    if count is None or count < 2 or not _divisible(draft, heads):
        return None
    pieces = _pieces(count, size or -(-count // min(parts or 2, count)))
    if not 2 <= len(pieces) <= MOST_PARTS:
        return None
    change = _kept(draft, heads, pieces)
    runs = _runs(draft, heads, pieces, _cut)
    if runs is None:
        change = _change(draft, heads, pieces, "with other seeds, so the pictures are others")
        runs = _runs(draft, heads, pieces, _make_fewer)
    return None if runs is None else Split(runs, change)


def _pieces(count: int, size: int) -> list[tuple[int, int]]:
    """First picture and number of pictures of each run."""
    if count > size * MOST_PARTS:
        return []
    return [(start, min(size, count - start)) for start in range(0, count, size)]


def _heads(draft: Draft) -> list[str]:
    """The nodes that the batch of what follows comes from: the last that make it or change it."""
    running = draft.running()
    known = {node for node in draft.of([*_EMPTY, _REPEAT, _CUT]) if node in running}
    followed = draft.above(source for node in known for source in draft.sources(node))
    return [node for node in draft.graph if node in known - followed and _count(draft, node) != 1]


def _count(draft: Draft, node: str) -> int | None:
    """How many pictures a node's latent holds; None if that cannot be told."""
    *after, begin = chain(draft, node)
    if draft.kind(begin) not in _EMPTY:
        return None
    count = draft.whole(begin, "batch_size")
    for each in reversed(after):
        if count is None:
            return None
        if draft.kind(each) == _REPEAT:
            amount = draft.whole(each, "amount")
            count = None if amount is None else count * amount
        elif draft.kind(each) == _CUT:
            first, length = draft.whole(each, "batch_index"), draft.whole(each, "length")
            if first is None or length is None:
                return None
            count = min(length, count - min(first, count - 1))
    return count if count is not None and 1 <= count <= 2**20 else None


def _divisible(draft: Draft, heads: Iterable[str]) -> bool:
    """Whether every picture is made for itself from ``heads`` on."""
    running = draft.running()
    if any(draft.kind(node).startswith(_ACROSS) for node in running):
        return False
    if frames_of(Workflow(draft.graph), draft.catalog) != 1:
        return False
    after = (draft.below(heads) - set(heads)) & running
    return all(draft.kind(node) in _EACH_FOR_ITSELF for node in after)


def _runs(
    whole_batch: Draft,
    heads: list[str],
    pieces: list[tuple[int, int]],
    restrict: Callable[[Draft, list[str], int, int], bool],
) -> tuple[Workflow, ...] | None:
    """The runs, each restricted to its pictures; None if one of them cannot be."""
    made: list[Workflow] = []
    for number, (start, length) in enumerate(pieces):
        draft = Draft(whole_batch.before, whole_batch.catalog)
        running, after = draft.running(), draft.below(heads)
        if not restrict(draft, heads, start, length):
            return None
        if number:
            # What does not depend on the batch was left by the first run already.
            for node in draft.outputs():
                if node not in after and not draft.uses(node):
                    del draft.graph[node]
            draft.prune(running)
        run = draft.workflow()
        if run is None:
            return None
        made.append(run)
    return tuple(made)


def _cut(draft: Draft, heads: list[str], start: int, length: int) -> bool:
    """Let only some pictures of the batch through."""
    for node in heads:
        if draft.kind(node) == _CUT:
            first = whole(draft.inputs(node).get("batch_index"))
            if first is None or whole(draft.inputs(node).get("length")) is None:
                return False
            draft.inputs(node).update(batch_index=first + start, length=length)
            continue
        uses = draft.uses(node)
        added = draft.add(_CUT, samples=[node, 0], batch_index=start, length=length)
        if added is None:
            return False
        draft.relink([use for use in uses if use.slot == 0], added)
    return True


def _make_fewer(draft: Draft, heads: list[str], start: int, length: int) -> bool:
    """Make a smaller batch with other seeds."""
    for node in heads:
        name = "batch_size" if draft.kind(node) in _EMPTY else "amount"
        each = _count(draft, node)
        place = draft.place(node, name)
        if draft.kind(node) == _CUT or place is None or each != whole(draft.value(place)):
            return False
        # A number that something else is told as well must stay what it is.
        if place.node != node:
            return False
        draft.put(place, length)
    return _move_seeds(draft, start)


def _move_seeds(draft: Draft, start: int) -> bool:
    places = set[Place]()
    for node in draft.graph:
        for name in SEED_INPUTS:
            place = draft.place(node, name) if name in draft.inputs(node) else None
            if place is not None and type(draft.value(place)) is int:
                places.add(place)
    for place in places:
        spec = draft.spec(*place)
        most = 2**64 - 1 if spec is None or spec.maximum is None else int(spec.maximum)
        draft.put(place, (draft.value(place) + start) % (most + 1))
    return bool(places)


def _kept(draft: Draft, heads: list[str], pieces: list[tuple[int, int]]) -> Change:
    samplers = [node for node in _after(draft, heads) if _may_draw(draft, node)]
    if same_noise(draft, samplers) and all(
        set(chain(draft, node)) & set(heads) for node in samplers
    ):
        return _change(draft, heads, pieces, "each with the noise it had in the batch", keeps=True)
    words = "begun with the noise they had in the batch, but what is drawn later is not the same"
    return _change(draft, heads, pieces, words)


def _after(draft: Draft, heads: list[str]) -> list[str]:
    after = draft.below(heads) - set(heads)
    return sorted(after & draft.running())


def _may_draw(draft: Draft, node: str) -> bool:
    """Whether a node may draw noise: it samples, or is of a pack that does."""
    return draft.kind(node) in SAMPLERS or draft.kind(node) in _DRAWING


def _change(
    draft: Draft,
    heads: list[str],
    pieces: list[tuple[int, int]],
    how: str,
    *,
    keeps: bool = False,
) -> Change:
    count, most = sum(length for _, length in pieces), max(length for _, length in pieces)
    what = ", ".join(described(draft, node) for node in heads)
    words = f"the batch of {count} ({what}) in {len(pieces)} runs of up to {most}, {how}"
    return Change(SPLIT_BATCH, words, tuple(heads), keeps)
