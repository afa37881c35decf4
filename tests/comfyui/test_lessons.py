"""What once did not fit is begun with what then fitted: per server, models and size."""

from __future__ import annotations

from holdfast.comfyui import Workflow
from holdfast.comfyui.lessons import MOST, Lessons, models_of, size_of
from tests.comfyui.graphs import node, painting, picture

NAMES = frozenset({"tiled_vae"})


def test_a_lesson_holds_for_the_same_server_models_and_at_least_the_size():
    lessons = Lessons()
    lessons.learn("a", painting(size=512), NAMES, 512.0 * 512)
    assert lessons.recall("a", painting(seed=9, size=512)) is not None
    assert lessons.recall("a", painting(size=1024)) is not None
    assert lessons.recall("a", painting(size=256)) is None
    assert lessons.recall("b", painting(size=512)) is None
    other = painting(size=512).with_inputs({"ckpt_name": "sdxl.safetensors"})
    assert lessons.recall("a", other) is None


def test_the_least_size_that_needed_it_counts():
    lessons = Lessons()
    for size in (1024, 512, 768):
        lessons.learn("a", painting(size=size), NAMES, 1.0)
    assert lessons.recall("a", painting(size=512)) is not None


def test_a_lesson_tells_what_was_done_and_what_fitted():
    lessons = Lessons()
    lessons.learn("a", painting(batch=8), NAMES, 5.0)
    lesson = lessons.recall("a", painting(batch=8))
    assert lesson is not None
    assert (lesson.names, lesson.fits) == (NAMES, 5.0)


def test_a_lesson_is_forgotten_after_a_while():
    lessons = Lessons()
    lessons.learn("a", painting(), NAMES, 1.0, now=0.0)
    lessons.learn("a", painting(), NAMES, 1.0, now=3000.0)
    assert lessons.recall("a", painting(), 3500.0) is not None
    assert lessons.recall("a", painting(), 3601.0) is None
    assert lessons.recall("a", painting(), 0.0) is None


def test_lessons_are_bounded_and_those_in_use_stay():
    lessons = Lessons()
    lessons.learn("first", painting(), NAMES, 1.0)
    for number in range(MOST):
        lessons.learn(f"s{number}", painting(), NAMES, 1.0)
        lessons.recall("first", painting())
    assert lessons.recall("first", painting()) is not None
    assert lessons.recall("s0", painting()) is None


def test_a_workflows_models_and_size_are_read_from_its_graph():
    assert models_of(painting()) == {"sd15.safetensors"}
    assert models_of(picture()) == frozenset()
    assert size_of(painting(size=256, batch=3)) == 256 * 256 * 3
    video = Workflow.from_api({"1": node("EmptyHunyuanLatentVideo", width=64, height=32, length=9)})
    assert size_of(video) == 64 * 32 * 9
    odd = Workflow.from_api(
        {"1": node("X", width="wide", height=True, length=-3, batch_size=1e300)}
    )
    assert size_of(odd) == 1.0
