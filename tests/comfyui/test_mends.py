"""What is offered for a failure, in which order, and what strictness leaves of it."""

from __future__ import annotations

import pytest

from holdfast.comfyui import Allowed, Workflow
from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.comfyui.form import Form
from holdfast.comfyui.lessons import Lesson, size_of
from holdfast.comfyui.mends import RESEEDED, SIMPLER, Mend, next_mend, relived
from holdfast.errors import BadInputError, ErrorCategory
from tests.comfyui.graphs import painting, picture

INFO = Catalog.load("tests/data/object_info.json.gz")


def known() -> Workflow:
    """A painting whose model the catalog lists."""
    (checkpoint,) = INFO["CheckpointLoaderSimple"].inputs["ckpt_name"].choices[:1]
    return painting(batch=4, size=1024).with_inputs({"ckpt_name": checkpoint})


def failure(kind: FailureKind, node_id: str | None = None, **fields) -> Failure:
    """A failure of this kind at this node."""
    graph = painting().graph
    node_type = graph[node_id]["class_type"] if node_id in graph else None
    return Failure(kind, "boom", "a", node_id, node_type, **fields)


def offered(
    failed: Failure, form: Form, allowed: Allowed | None = None, *, strict: bool = False
) -> Mend | None:
    """The next change."""
    return next_mend(failed, form, INFO, allowed or Allowed(), strict=strict)


def names(failed: Failure, form: Form, **settings) -> list[str]:
    """The kinds of all changes, one after another, until none is left."""
    found = []
    while (mend := offered(failed, form, **settings)) is not None:
        found.append(mend.change.name)
        form = mend.form
        assert len(found) < 40
    return found


def test_a_decode_is_tiled_first_and_that_is_early_and_local():
    mend = offered(failure(FailureKind.OUT_OF_MEMORY, "6"), Form.of(known()))
    assert mend is not None
    assert mend.change.name == "tiled_vae"
    assert (mend.offer.early, mend.offer.local) == (True, True)


def test_a_sampler_gets_the_batch_in_parts_before_fewer_pixels():
    found = names(failure(FailureKind.OUT_OF_MEMORY, "5"), Form.of(known()))
    assert found[0] == "split_batch"
    assert found.index("split_batch") < found.index("area_75")


def test_a_split_applies_to_every_run_as_large_and_to_none_that_is_made():
    form = Form.of(known())
    failed = failure(FailureKind.OUT_OF_MEMORY, "5")
    first = offered(failed, form)
    assert first is not None
    assert len(first.form.parts) == 2
    made = first.form.delivered(())
    second = offered(failed, made)
    assert second is not None
    assert second.form.parts[0].files == ()
    assert len(second.form.parts) == 3


def test_strictness_leaves_what_keeps_the_result():
    form = Form.of(known())
    for node_id in ("5", "6"):
        failed = failure(FailureKind.OUT_OF_MEMORY, node_id)
        while (mend := offered(failed, form, strict=True)) is not None:
            assert mend.change.keeps_result
            form = mend.form


def test_a_dead_server_offers_less_memory_and_never_another_workflow():
    allowed = Allowed(simpler=[picture()])
    found = names(failure(FailureKind.SERVER_DIED, "5"), Form.of(known()), allowed=allowed)
    assert SIMPLER not in found


def test_simpler_workflows_come_last_one_after_another():
    allowed = Allowed(simpler=[picture(1), picture(2)])
    found = names(failure(FailureKind.NODE_ERROR, "5"), Form.of(known()), allowed=allowed)
    assert found == [SIMPLER, SIMPLER]


def test_no_simpler_workflow_replaces_what_is_half_made():
    form = Form.of(known())
    split = offered(failure(FailureKind.OUT_OF_MEMORY, "5"), form)
    assert split is not None
    half = split.form.delivered(())
    allowed = Allowed(simpler=[picture()])
    assert offered(failure(FailureKind.NODE_ERROR, "5"), half, allowed) is None


def test_a_damaged_model_takes_the_declared_one_at_the_node_that_failed():
    checkpoint = known().graph["1"]["inputs"]["ckpt_name"]
    other = INFO["CheckpointLoaderSimple"].inputs["ckpt_name"].choices[-1]
    damaged = failure(FailureKind.NODE_ERROR, "1", category=ErrorCategory.MODEL)
    allowed = Allowed(fallbacks={checkpoint: [other]})
    mend = offered(damaged, Form.of(known()), allowed)
    assert (mend is None) == (other == checkpoint)


def test_another_seed_is_offered_as_often_as_allowed():
    failed = failure(FailureKind.SUSPECT, "7")
    assert names(failed, Form.of(known())) == []
    found = names(failed, Form.of(known()), allowed=Allowed(reseeds=2))
    assert found == [RESEEDED, RESEEDED]


@pytest.mark.parametrize("kind", [FailureKind.LOST, FailureKind.INTERRUPTED, FailureKind.STALLED])
def test_what_no_change_of_the_workflow_mends_offers_none(kind):
    assert offered(failure(kind, "5"), Form.of(known())) is None


def test_a_lesson_is_relived_up_to_what_fitted_and_no_further():
    whole = known()
    lesson = Lesson(1.0, size_of(whole) / 4, frozenset({"split_batch"}), "KSampler")
    form = relived(lesson, Form.of(whole), INFO, Allowed(), strict=False)
    assert len(form.parts) == 4
    assert form.names == {"split_batch"}


def test_a_lesson_is_no_licence_for_what_is_not_allowed():
    lesson = Lesson(1.0, 1.0, frozenset({"area_75"}), "KSampler")
    form = relived(lesson, Form.of(painting()), INFO, Allowed(smaller=False), strict=False)
    assert form.names == frozenset()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("least_area", 0),
        ("least_area", float("nan")),
        ("least_frames", 1.5),
        ("reseeds", -1),
        ("fallbacks", {"a": "b"}),
        ("fallbacks", {"a": None}),
        ("fallbacks", ["a"]),
        ("least_area", "x"),
        ("reseeds", "2"),
        ("simpler", picture()),
        ("simpler", ["x"]),
    ],
)
def test_settings_out_of_range_are_refused_by_name(field, value):
    with pytest.raises(BadInputError, match=field):
        Allowed(**{field: value})
