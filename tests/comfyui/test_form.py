"""A job's form: what is made stays, what comes is changed, files come in the order of one run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.comfyui.edit import Change
from holdfast.comfyui.form import Form
from holdfast.comfyui.result import OutputFile
from tests.comfyui.graphs import painting

SPLIT = Change("split_batch", "in two runs")
TILED = Change("tiled_vae", "in tiles")


def file(node: str, number: int) -> OutputFile:
    """A file that run number ``number`` made."""
    return OutputFile(f"{node}-{number}.png", node, "x", 1, "", "image/png")


def test_a_job_begins_as_one_run_of_what_was_given():
    form = Form.of(painting())
    assert (form.next, form.made, form.begun, form.losses) == (0, False, False, ())
    assert form.workflow == painting()
    assert form.delivered((file("7", 0),)).made


def test_a_run_that_is_made_stays_when_the_others_change():
    form = Form.of(painting()).changed({0: [painting(1), painting(2)]}, SPLIT)
    form = form.delivered((file("7", 0),))
    form = form.changed({1: [painting(3), painting(4)]}, SPLIT).changed(
        {index: [painting(9)] for index in form.coming}, TILED
    )
    assert [part.workflow for part in form.parts] == [painting(1), painting(9), painting(4)]
    assert form.coming == (1, 2)
    assert form.names == {"split_batch", "tiled_vae"}
    assert form.losses == ("in two runs", "in tiles")


@given(st.lists(st.lists(st.sampled_from(["7", "9", "12"]), max_size=6), min_size=1, max_size=6))
def test_files_come_node_by_node_and_in_the_runs_order(runs):
    form = Form.of(painting()).changed({0: [painting(n) for n in range(len(runs))]}, SPLIT)
    count = 0
    for nodes in runs:
        files = []
        for node in sorted(nodes):  # a run lists its files node by node
            files.append(file(node, count))
            count += 1
        form = form.delivered(tuple(files))
    assert form.made
    assert len(form.files) == count
    order = list(dict.fromkeys(each.node_id for each in form.files))
    for node in order:
        mine = [
            int(each.filename.split("-")[1][:-4]) for each in form.files if each.node_id == node
        ]
        assert mine == sorted(mine)
    grouped = [each.node_id for each in form.files]
    assert grouped == sorted(grouped, key=order.index)
    assert len({each.filename for each in form.files}) == count
