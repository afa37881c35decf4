"""Progress goes forward only, whatever is heard in which order."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast.comfyui import events
from holdfast.comfyui.engines import Settings
from holdfast.comfyui.engines.builders import sd15
from holdfast.comfyui.engines.meter import Meter
from holdfast.comfyui.failures import Failure, FailureKind

WORKFLOW = sd15.build(Settings("a"), {"checkpoint": "x"})
KSAMPLER = next(n for n, each in WORKFLOW.graph.items() if each["class_type"] == "KSampler")
NODES = list(WORKFLOW.graph)


def started(node_id):
    return events.NodeStarted("j", "s", node_id, "Some")


def stepped(node_id, value, most):
    return events.NodeStepped("j", "s", node_id, value, most)


EVENTS = st.one_of(
    st.builds(started, st.sampled_from([*NODES, "99"])),
    st.builds(stepped, st.sampled_from([*NODES, "99"]), st.floats(-1, 100), st.floats(0, 50)),
    st.builds(events.AttemptStarted, st.just("j"), st.just("s"), st.integers(1, 3)),
    st.just(
        events.AttemptFailed("j", "s", 1, Failure(FailureKind.STALLED, "x"), "again", final=False)
    ),
)


@given(st.lists(EVENTS))
def test_it_never_goes_back_and_never_beyond_the_files(heard):
    meter = Meter()
    meter.begin(WORKFLOW)
    before = 0.0
    for event in heard:
        assert meter.hear(event)
        assert before <= meter.share < 1
        before = meter.share


def test_the_sampler_is_most_of_it():
    meter = Meter()
    meter.begin(WORKFLOW)
    meter.hear(started(KSAMPLER))
    at_start = meter.share
    assert meter.hear(stepped(KSAMPLER, 10, 20)) == "step 10 of 20 on s"
    half = meter.share
    meter.hear(stepped(KSAMPLER, 20, 20))
    assert at_start < 0.2
    assert meter.share > 0.8
    assert abs((half - at_start) - (meter.share - half)) < 1e-9


def test_nodes_from_the_cache_count_as_done_when_a_later_one_begins():
    meter = Meter()
    meter.begin(WORKFLOW)
    meter.hear(started(NODES[-1]))
    assert meter.share > 0.9


def test_what_is_not_about_progress_says_nothing():
    assert Meter().hear(events.ServerUp("s")) is None
