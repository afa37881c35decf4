"""A batch is split into runs that lose and reorder nothing, and say whether pictures differ."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.comfyui.surgery import batch_of, split_batch
from holdfast.comfyui.workflow import Workflow, is_link
from holdfast.errors import BadInputError
from tests.comfyui.graphs import node
from tests.comfyui.surgery.graphs import (
    animated,
    catalog,
    flux,
    hires,
    inpainted,
    of,
    repeated,
    sd15,
    sdxl_refined,
    upscaled,
    wan,
    without,
)


def pictures(workflow: Workflow, save: str = "save") -> list[tuple[int, int]]:
    """What a save node would be left with: each picture's seed and place in the noise of it.

    A small ComfyUI: latents are lists, `LatentFromBatch` cuts them, samplers give noise by number.
    """
    graph = workflow.graph

    def run(name: str) -> Any:
        kind, given = graph[name]["class_type"], graph[name]["inputs"]

        def latent(key: str) -> Any:
            return run(given[key][0])

        if kind.startswith("Empty"):
            return [None] * given["batch_size"], None
        if kind == "RepeatLatentBatch":
            items, numbers = latent("samples")
            assert numbers is None
            return items * given["amount"], None
        if kind == "LatentFromBatch":
            items, numbers = latent("samples")
            first = min(len(items) - 1, given["batch_index"])
            end = first + min(len(items) - first, given["length"])
            return items[first:end], (numbers or list(range(len(items))))[first:end]
        if "Sampler" in kind:
            items, numbers = latent("latent_image")
            numbers = numbers or list(range(len(items)))
            seed = given.get("seed", given.get("noise_seed", 0))
            if kind == "SamplerCustomAdvanced":
                seed = graph["noise"]["inputs"]["noise_seed"]
            made = [
                (*(item or ()), seed, number) for item, number in zip(items, numbers, strict=True)
            ]
            return made, numbers
        if kind == "VAEEncode":
            return run(given["pixels"][0])[0], None
        carried = ("samples", "image", "images", "latent_image")
        return run(next(given[key][0] for key in carried if is_link(given.get(key))))

    return run(save)[0]


BATCHES = {
    "sd15": sd15,
    "flux": flux,
    "hires": hires,
    "repeated": lambda count: Workflow(
        repeated().with_inputs({"lat.batch_size": 1, "rep.amount": count}).graph
    ),
}


@given(
    st.sampled_from(sorted(BATCHES)),
    st.integers(2, 60),
    st.lists(st.integers(1, 8), min_size=1, max_size=3),
)
def test_however_it_is_split_and_split_again_the_pictures_are_the_same_in_the_same_order(
    kind, count, sizes
):
    whole = BATCHES[kind](count)
    runs = [whole]
    for size in sizes:
        again: list[Workflow] = []
        for run in runs:
            split = split_batch(run, catalog(), size=size)
            if split is None:
                assert batch_of(run, catalog()) <= size
                again.append(run)
                continue
            assert split.change.keeps_result
            merged = split.merge([{"save": pictures(each)} for each in split.workflows])
            assert merged == {"save": pictures(run)}
            again += split.workflows
        runs = again
    assert [each for run in runs for each in pictures(run)] == pictures(whole)
    assert all(batch_of(run, catalog()) <= max(min(sizes), 1) for run in runs)


@given(st.integers(2, 60), st.integers(1, 60))
def test_without_the_node_that_cuts_there_are_as_many_pictures_and_no_two_alike(count, size):
    known = without("LatentFromBatch")
    split = split_batch(sd15(count), known, size=size)
    if split is None:
        assert size >= count
        return
    made = [each for run in split.workflows for each in pictures(run)]
    assert len(made) == len(set(made)) == count
    assert not split.change.keeps_result
    assert "other seeds" in split.change.words


def test_a_batch_longer_than_the_cutting_node_reaches_gets_other_seeds():
    split = split_batch(sd15(100), catalog(), parts=4)
    assert [run.graph["lat"]["inputs"]["batch_size"] for run in split.workflows] == [25] * 4
    assert [run.graph["ks"]["inputs"]["seed"] for run in split.workflows] == [5, 30, 55, 80]
    assert not split.change.keeps_result


def test_by_default_there_are_two_runs_and_the_change_says_so():
    split = split_batch(sd15(8), catalog())
    assert [batch_of(run, catalog()) for run in split.workflows] == [4, 4]
    assert split.change.name == "split_batch"
    assert split.change.words == (
        "the batch of 8 (node lat (EmptyLatentImage)) in 2 runs of up to 4, "
        "each with the noise it had in the batch"
    )


def test_what_does_not_depend_on_the_batch_is_made_by_the_first_run_only():
    first, second = split_batch(upscaled(2), catalog()).workflows
    assert "peek" in first.graph
    assert "peek" not in second.graph
    assert "img" in second.graph, "the control net still needs it"


@pytest.mark.parametrize(
    ("workflow", "why"),
    [
        (sd15(4, sampler_name="dpmpp_2m_sde"), "it draws noise at every step"),
        (sd15(4, sampler_name="dpm_adaptive"), "its steps depend on the whole batch"),
        (sd15(4, 520, 520), "noise is made in blocks of 16: 4 x 65 x 65 is no multiple"),
        (hires(4, "image"), "pictures forget their number when they are encoded again"),
        (upscaled(4), "a pack's node draws noise of its own"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_where_the_noise_differs_the_result_is_not_said_to_be_kept(workflow, why):
    split = split_batch(workflow, catalog())
    assert split is not None
    assert not split.change.keeps_result, why


def test_samplers_that_share_the_steps_of_a_picture_are_split_together():
    split = split_batch(sdxl_refined(), catalog())
    assert split.change.keeps_result
    assert [run.graph["k2"]["inputs"]["latent_image"] for run in split.workflows] == [["k1", 0]] * 2


def combined() -> Workflow:
    graph = sd15(4).to_api()
    graph["both"] = node("ImageBatch", image1=["dec", 0], image2=["dec", 0])
    graph["save"]["inputs"]["images"] = ["both", 0]
    return of(graph)


def unknown_after() -> Workflow:
    graph = sd15(4).to_api()
    graph["grid"] = node("Some Grid", images=["dec", 0])
    graph["save"]["inputs"]["images"] = ["grid", 0]
    return of(graph)


def two_sizes() -> Workflow:
    graph = sd15(4).to_api()
    graph |= {f"{name}2": each for name, each in sd15(6).to_api().items()}
    graph["ks2"]["inputs"]["latent_image"] = ["lat2", 0]
    graph["dec2"]["inputs"]["samples"] = ["ks2", 0]
    graph["save2"]["inputs"]["images"] = ["dec2", 0]
    return of(graph)


@pytest.mark.parametrize(
    "workflow",
    [sd15(1), animated(), wan(), inpainted(), combined(), unknown_after(), two_sizes()],
    ids=["one picture", "frames", "a clip", "an image", "combined", "unknown", "two sizes"],
)
def test_what_is_not_a_batch_of_pictures_each_for_itself_is_not_split(workflow):
    assert split_batch(workflow, catalog()) is None


def test_merging_asks_for_one_result_of_each_run():
    split = split_batch(sd15(4), catalog(), parts=4)
    with pytest.raises(BadInputError, match=r"runs are 3; the batch was split into 4"):
        split.merge([{}, {}, {}])


@pytest.mark.parametrize("given", [{"parts": 1}, {"parts": 2.5}, {"size": 0}, {"size": True}])
def test_a_number_of_runs_that_is_none_is_refused(given):
    with pytest.raises(BadInputError, match=r"(parts|size) is "):
        split_batch(sd15(4), catalog(), **given)
    with pytest.raises(BadInputError, match="give one of them"):
        split_batch(sd15(4), catalog(), parts=2, size=2)
